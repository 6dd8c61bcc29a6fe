package main

import (
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"latchkey/configs"
)

// What the host lacks for the connections that limits.connections promises. Where that is 0 nothing was promised, and
// only what is short by itself is told. docs/scale.md has the reckoning.

const (
	descriptorsEach = 2   // of a connection: the client's and the upstream's
	descriptorsKept = 256 // for the store, the API, what is dialled to others
	// fewDescriptors: a process that may not have more was started without a thought of it (the usual 1024).
	fewDescriptors = 4096
	// returnTime is how quickly clients come back that another node has lost: within half a minute.
	returnTime = 30
	// nearlyFull of what the whole host shares, in percent.
	nearlyFull = 80
)

// hostFinding is something to mend on the host.
type hostFinding struct{ what, mend string }

// hostLimits looks at one host for one process.
type hostLimits struct {
	root     fs.FS  // what is below / of the host
	process  string // its folder in /proc: "self" or a number
	cfg      *configs.Config
	findings []hostFinding
}

// lookAtHost answers what is too small, in the order in which it would be met.
func lookAtHost(root fs.FS, process string, cfg *configs.Config) []hostFinding {
	h := &hostLimits{root: root, process: process, cfg: cfg}
	h.descriptors()
	h.ports()
	h.tracked()
	h.queues()
	h.socketMemory()
	return h.findings
}

func (h *hostLimits) say(what, mend string, a ...any) {
	h.findings = append(h.findings, hostFinding{fmt.Sprintf(what, a...), mend})
}

// expected is how many connections were promised; 0: nothing was.
func (h *hostLimits) expected() int { return h.cfg.Limits.Connections }

// numbers reads a file of numbers; nil: it is not there, so this limit does not exist.
func (h *hostLimits) numbers(file string) []int {
	p, err := fs.ReadFile(h.root, file)
	if err != nil {
		return nil
	}
	var l []int
	for _, word := range strings.Fields(string(p)) {
		n, err := strconv.ParseInt(word, 10, 64)
		if err != nil {
			n = math.MaxInt64 // the kernel counts beyond that, as without a limit
		}
		l = append(l, int(n))
	}
	return l
}

// number reads the first; -1: it is not there.
func (h *hostLimits) number(file string) int {
	if l := h.numbers(file); len(l) > 0 {
		return l[0]
	}
	return -1
}

// openFiles answers the soft and the hard limit of the process; -1: they cannot be read.
func (h *hostLimits) openFiles() (soft, hard int) {
	p, err := fs.ReadFile(h.root, "proc/"+h.process+"/limits")
	if err != nil {
		return -1, -1
	}
	for line := range strings.Lines(string(p)) {
		rest, ok := strings.CutPrefix(line, "Max open files")
		if f := strings.Fields(rest); ok && len(f) >= 2 {
			return limitOf(f[0]), limitOf(f[1])
		}
	}
	return -1, -1
}

func limitOf(word string) int {
	n, err := strconv.Atoi(word)
	if err != nil {
		return math.MaxInt // "unlimited"
	}
	return n
}

func (h *hostLimits) descriptors() {
	soft, hard := h.openFiles()
	need := descriptorsEach*h.expected() + descriptorsKept
	switch {
	case soft < 0:
		return
	case h.expected() == 0 && soft < fewDescriptors:
		h.say("the process may open %d files, room for %d connections", "set LimitNOFILE in its unit (ulimit -n): two for each connection, and 256",
			soft, max(0, soft-descriptorsKept)/descriptorsEach)
		return
	case h.expected() == 0:
		return
	case need > soft:
		h.say("limits.connections is %d, for which %d descriptors are needed: the process may open %d (hard limit %d)",
			fmt.Sprintf("set LimitNOFILE=%d in its unit (ulimit -n), or limits.connections to %d", need, max(0, soft-descriptorsKept)/descriptorsEach),
			h.expected(), need, soft, hard)
	}
	if most := h.number("proc/sys/fs/nr_open"); most >= 0 && need > most {
		h.say("%d descriptors are needed, and no process may have more than %d (fs.nr_open)", fmt.Sprintf("sysctl -w fs.nr_open=%d", roundUp(need)), need, most)
	}
	if most := h.number("proc/sys/fs/file-max"); most >= 0 && need > most/100*nearlyFull {
		h.say("%d descriptors are needed, and the whole host may have %d (fs.file-max)", fmt.Sprintf("sysctl -w fs.file-max=%d", roundUp(2*need)), need, most)
	}
}

// roundUp answers a figure that can be remembered.
func roundUp(n int) int {
	p := 1024
	for p < n {
		p *= 2
	}
	return p
}

// ports compares what may be led to one address of an upstream with the ports toward it. An address that is down leaves
// its members to the others.
func (h *hostLimits) ports() {
	r := h.numbers("proc/sys/net/ipv4/ip_local_port_range")
	if h.expected() == 0 || len(r) < 2 || r[1] < r[0] {
		return
	}
	each := r[1] - r[0] + 1
	for _, name := range slices.Sorted(maps.Keys(h.cfg.Upstreams)) {
		u := h.cfg.Upstreams[name]
		if u.Protocol == "http" {
			continue // connections are shared
		}
		led := (h.expected() + len(u.Addresses) - 1) / max(1, len(u.Addresses))
		for _, a := range u.Addresses {
			sources := max(1, sourcesToward(a, u.SourceAddresses))
			if strings.HasPrefix(a, "unix:") || led <= each*sources {
				continue
			}
			need := (led + each - 1) / each
			h.say("toward %s of upstream %s there are %d ports (net.ipv4.ip_local_port_range %d to %d, from %d of our addresses), and up to %d connections may be led there",
				fmt.Sprintf("name %d source_addresses, or more addresses of the upstream, or sysctl -w net.ipv4.ip_local_port_range='1024 65535' "+
					"(with net.ipv4.ip_local_reserved_ports for what listens)", need), a, name, each*sources, r[0], r[1], sources, led)
		}
	}
}

// sourcesToward counts the sources that an address can be reached from.
func sourcesToward(address string, sources []string) (n int) {
	host, _, _ := net.SplitHostPort(address)
	to, err := netip.ParseAddr(host)
	for _, s := range sources {
		if from, bad := netip.ParseAddr(s); bad == nil && (err != nil || from.Unmap().Is4() == to.Unmap().Is4()) {
			n++
		}
	}
	return n
}

// tracked looks at the table of a firewall that follows connections: beyond it new ones are dropped without a word.
func (h *hostLimits) tracked() {
	most := h.number("proc/sys/net/netfilter/nf_conntrack_max")
	if most <= 0 {
		return
	}
	mend := func(n int) string {
		return fmt.Sprintf("sysctl -w net.netfilter.nf_conntrack_max=%d, or do not follow the doors' connections (notrack)", roundUp(n))
	}
	if need := descriptorsEach * h.expected(); need > most {
		h.say("the firewall follows %d connections (net.netfilter.nf_conntrack_max), and %d are two for each session", mend(2*need), most, need)
		return
	}
	if now := h.number("proc/sys/net/netfilter/nf_conntrack_count"); now > most/100*nearlyFull {
		h.say("the firewall follows %d connections of at most %d (net.netfilter.nf_conntrack_max): beyond, new ones are dropped", mend(2*now), now, most)
	}
}

// queues looks at those in which new connections wait: when another node dies, its clients come within half a minute.
func (h *hostLimits) queues() {
	burst := h.expected() / returnTime
	for _, q := range []struct{ file, name, what string }{
		{"proc/sys/net/core/somaxconn", "net.core.somaxconn", "are accepted"},
		{"proc/sys/net/ipv4/tcp_max_syn_backlog", "net.ipv4.tcp_max_syn_backlog", "have shaken hands"},
	} {
		if most := h.number(q.file); most >= 0 && most < burst {
			h.say("%d connections may wait until they %s (%s), and %d a second come when the clients of a dead node return", fmt.Sprintf("sysctl -w %s=%d, and restart",
				q.name, roundUp(burst)), most, q.what, q.name, burst)
		}
	}
}

// socketMemory: the kernel squeezes every socket once all of them hold more pages than the second figure of tcp_mem.
func (h *hostLimits) socketMemory() {
	l := h.numbers("proc/sys/net/ipv4/tcp_mem")
	sockets := descriptorsEach * h.expected()
	if len(l) < 3 || l[1] >= sockets {
		return
	}
	h.say("TCP may hold %d pages before the kernel squeezes all of it (net.ipv4.tcp_mem), less than one for each of %d sockets",
		fmt.Sprintf("sysctl -w net.ipv4.tcp_mem='%d %d %d', with memory for it", sockets, 2*sockets, 3*sockets), l[1], sockets)
}

// doctorHost looks at the host for the server that runs, or for one that would be started from here.
func doctorHost(out io.Writer, root fs.FS, cfg *configs.Config) {
	process, of := "self", " (of a server started from this shell; none runs)"
	if pid := serverPID(cfg); pid > 0 {
		process, of = strconv.Itoa(pid), ""
	}
	for _, f := range lookAtHost(root, process, cfg) {
		fmt.Fprintf(out, "warning  host: %s%s\n         mend: %s\n", f.what, of, f.mend)
	}
}

// serverPID answers the process that listens for commands; 0: none does, or it cannot be asked.
func serverPID(cfg *configs.Config) int {
	c, err := net.Dial("unix", controlPath(cfg))
	if err != nil {
		return 0
	}
	defer c.Close()
	cred, err := peerOf(c.(*net.UnixConn))
	if err != nil {
		return 0
	}
	return int(cred.Pid)
}

// warnOfHost tells the log what doctor would tell of this process.
func (h *house) warnOfHost(root fs.FS) {
	for _, f := range lookAtHost(root, "self", h.snapshot().cfg) {
		h.log.Warn("this host is small", "lack", f.what, "mend", f.mend)
	}
}
