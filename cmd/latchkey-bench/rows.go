package main

import (
	"fmt"
	"slices"
	"strings"
)

// Who is compared.
const (
	latchkeyName = "Latchkey"
	nginxName    = "nginx"
	dovecotName  = "Dovecot"
)

// A row is one thing that is measured, of several servers.
type row struct {
	name, title string
	entries     []entry
	job         func(scale) job
	// fresh: each measurement has a server that was just started, for memory remembers; and nginx's auth service, which
	// holds nothing for a session, is not in it.
	fresh   bool
	figures []figure
}

// An entry is one server in a row, at one of its services.
type entry struct {
	server, service string
	variant         string // empty: the server as it is
	information     bool   // shown, and no ratio is taken to it
	change          func(*job)
}

func (e entry) who() string {
	if e.variant == "" {
		return e.server
	}
	return e.server + ", " + e.variant
}

// A figure is one number of a row.
type figure struct {
	key, title, unit string
	digits           int
	more             bool // more is better
}

// scale is what part of everything a run does.
type scale float64

const (
	wholeScale scale = 1
	shortScale scale = 0.1
)

func (s scale) seconds(whole float64) float64 { return max(0.1, whole*float64(s)) }

func (s scale) count(whole int) int { return max(1, int(float64(whole)*float64(s))) }

// What many rows have.
var (
	perSecond = figure{"per_second", "each second", "", 0, true}
	cpu1000   = figure{"cpu_1000", "CPU for 1000", "s", 3, false}
	p50       = figure{"p50_ms", "median", "ms", 2, false}
	p99       = figure{"p99_ms", "99th percentile", "ms", 1, false}
	cpuGB     = figure{"cpu_gb", "CPU for a GB", "s", 2, false}
	cpuNoop   = figure{"cpu_1000", "CPU for 1000", "s", 4, false}
	kibAfter  = figure{"kib_after", "PSS each after 1 MB", "KiB", 1, false}
	mbSecond  = figure{"mb_per_second", "each second", "MB", 0, true}
	kib       = figure{"kib", "PSS each", "KiB", 1, false}
)

// all three at the same service.
func all(service string) []entry {
	return []entry{{server: latchkeyName, service: service}, {server: nginxName, service: service}, {server: dovecotName, service: service}}
}

func alone(service string) []entry { return []entry{{server: latchkeyName, service: service}} }

// believed: in the clear Latchkey takes passwords only behind a load balancer that says that TLS ended there.
func believed(l []entry) []entry {
	for i := range l {
		if l[i].server == latchkeyName {
			l[i].change = func(j *job) { j.Door.Header = true }
		}
	}
	return l
}

// buffers: what nginx reads at once is a page, unless it is told otherwise.
func buffers(service string, more ...entry) []entry {
	return append([]entry{
		{server: latchkeyName, service: service},
		{server: nginxName, service: service + "64", variant: "64 KB buffers"},
		{server: nginxName, service: service, variant: "default buffers", information: true},
	}, more...)
}

// at answers a loop of so many at the same time for so long.
func at(kind string, concurrency int, seconds float64) func(scale) job {
	return func(s scale) job { return job{Kind: kind, Concurrency: concurrency, Seconds: s.seconds(seconds)} }
}

// bulk is two sessions that fetch so many messages of so many MiB.
func bulk(times, megabytes int) func(scale) job {
	return func(s scale) job {
		return job{Kind: "bulk", Concurrency: 2, Times: s.count(times), Megabytes: min(megabytes, s.count(10*megabytes))}
	}
}

func crowdOf(kind string, sessions, megabytes int) func(scale) job {
	return func(s scale) job {
		return job{Kind: kind, Sessions: s.count(sessions), Megabytes: megabytes, Settle: max(0.3, s.seconds(settleTime.Seconds()))}
	}
}

func path(p string) func(*job) { return func(j *job) { j.Path = p } }

// rows is everything that is measured, in this order.
func rows() []row {
	signIns, bulks := []figure{perSecond, cpu1000, p50, p99}, []figure{cpuGB, mbSecond}
	dav := []entry{
		{server: latchkeyName, service: "dav", change: path("/")},
		{server: nginxName, service: "dav", variant: "auth_request", change: path("/request/")},
	}
	idlers := all("imaps")
	idlers[2].change = func(j *job) { j.Megabytes = 0 } // Dovecot takes eight times as long for bulk, and no target asks for it
	lessOfDovecot := entry{server: dovecotName, service: "imaps", change: func(j *job) { j.Times = max(1, j.Times/4) }}
	basic := entry{server: nginxName, service: "dav", variant: "auth_basic {SHA}", information: true, change: path("/basic/")}
	return []row{
		{name: "signin64", title: "TLS sign-ins, 64 at a time", entries: all("imaps"), job: at("signin", 64, 3), figures: signIns},
		{name: "signin16", title: "TLS sign-ins, 16 at a time", entries: all("imaps"), job: at("signin", 16, 3), figures: signIns},
		{name: "signin1", title: "TLS sign-ins, one at a time", entries: all("imaps"), job: at("signin", 1, 2), figures: []figure{p50, p99}},
		{name: "pop3", title: "TLS sign-ins at POP3, 16 at a time", entries: all("pop3s"), job: at("pop3", 16, 2), figures: signIns[:2]},
		{name: "plain", title: "plain sign-ins, 16 at a time", entries: believed(all("imap")), job: at("signin", 16, 2), figures: signIns[:2]},
		{name: "noop", title: "NOOP over TLS, 16 at a time", entries: all("imaps"), job: at("noop", 16, 2), figures: []figure{perSecond, cpuNoop}},
		{name: "message", title: "10 KB messages over TLS, 16 at a time", entries: all("submissions"), job: at("message", 16, 3), figures: signIns[1:]},
		{name: "propfind", title: "PROPFIND over TLS, 16 at a time", entries: append(dav, basic), job: at("propfind", 16, 2), figures: signIns[:2]},
		{name: "bulk", title: "bulk over TLS", entries: buffers("imaps", lessOfDovecot), job: bulk(8, 64), figures: bulks},
		{name: "plainbulk", title: "plain bulk", entries: believed(buffers("imap")), job: bulk(16, 64), figures: bulks},
		{name: "idle", title: "idle TLS sessions", entries: idlers, fresh: true, job: crowdOf("idle", 5000, 1), figures: []figure{kib, kibAfter}},
		{name: "plainidle", title: "idle plain sessions", entries: believed(all("imap")), fresh: true, job: crowdOf("idle", 5000, 0), figures: []figure{kib}},
		{name: "keep", title: "idle HTTPS connections", entries: dav[:2:2], fresh: true, job: keepers, figures: []figure{kib}},
		{name: "revoke", title: "5000 idle TLS sessions, whose domain is closed", entries: alone("imaps"), fresh: true, job: crowdOf("revoke", 5000, 0),
			figures: []figure{{"last_s", "the last client's end", "s", 2, false}, {"answer_s", "the API's answer", "s", 2, false}}},
		{name: "flood", title: "1000 wrong passwords a second", entries: alone("imaps-balancer"), fresh: true, job: floodOf,
			figures: []figure{
				{"refused_per_second", "answered each second", "", 0, true},
				{"p50_ms", "right sign-ins, median", "ms", 1, false}, {"p99_ms", "right sign-ins, 99th percentile", "ms", 0, false},
				{"peak_mib", "peak RSS", "MiB", 0, false},
			}},
	}
}

// keepers come from many addresses.
func keepers(s scale) job {
	j := crowdOf("keep", 4000, 0)(s)
	j.Door.Spread = true
	return j
}

func floodOf(s scale) job {
	return job{Kind: "flood", Seconds: s.seconds(5), Rate: s.count(1000), Victims: victims(), Door: door{Header: true}}
}

// chooseRows by names with commas.
func chooseRows(names string) ([]row, error) {
	known := rows()
	if names == "" {
		return known, nil
	}
	var chosen []row
	for name := range strings.SplitSeq(names, ",") {
		i := slices.IndexFunc(known, func(r row) bool { return r.name == name })
		if i < 0 {
			return nil, fmt.Errorf("no row %q: latchkey-bench -h lists them", name)
		}
		chosen = append(chosen, known[i])
	}
	return chosen, nil
}
