package main

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/apppass"
	"latchkey/authcore/sample"
	"latchkey/authcore/store/redistest"
)

// Three processes of the program on one Redis, idle TLS sessions at all of them, and an operator at the first who deletes
// app passwords, suspends members and closes a domain: how long until each client's connection ends.

// The three kinds of revocation share the sessions equally.
const (
	byAppPassword = iota
	bySuspension
	byClosedDomain
	revocationKinds
)

const sessionsOfOne = 10 // of one member, on all nodes

// revoking is one drill.
type revoking struct {
	t     *testing.T
	nodes []*stage
	redis *redistest.Server
	api   *apiClient

	mu     sync.Mutex
	began  map[string]time.Time // of the revocation, by address; guarded by mu
	ended  map[*talk]time.Time  // guarded by mu
	owners map[*talk]string     // addresses; guarded by mu
}

// revocable is a member who is going to lose his sessions.
type revocable struct {
	address, domain, app, secret string
	kind                         int
}

func TestDrillRevocationOverProcesses(t *testing.T) {
	redistest.Need(t, "redis-server")
	sessions, rounds, bound := 180, 1, 5*time.Second
	if drillsAreLong() {
		sessions, rounds, bound = 3000, 3, time.Second
	}
	for name, harmed := range map[string]bool{"the bus is well": false, "its connections are killed every 2 s": true} {
		t.Run(name, func(t *testing.T) {
			d := newRevoking(t)
			people := d.people(rounds, sessions/revocationKinds/sessionsOfOne)
			d.serve()
			ctx, cancel := context.WithCancel(t.Context())
			var killing sync.WaitGroup
			defer killing.Wait()
			defer cancel()
			if harmed {
				killing.Go(func() { d.killTheBus(ctx) })
			}
			var l []time.Duration
			for i, p := range people {
				l = append(l, d.round(p, time.Duration(i)*437*time.Millisecond)...)
			}
			slices.Sort(l)
			t.Logf("%s, %d rounds\n%s", name, rounds, steps(l))
			if p99 := l[(len(l)-1)*99/100]; p99 > bound {
				t.Errorf("p99 is %v, want %v at most", p99, bound)
			}
		})
	}
}

func newRevoking(t *testing.T) *revoking {
	d := &revoking{t: t, redis: redistest.Standalone(t)}
	quiet := startFault(t, quietIMAP)
	for i := range 3 {
		s := bareStage(t)
		s.behind["imap"] = quiet.ln.Addr().String()
		s.configure(func(text string) string {
			text = strings.Replace(text, "log: {level: debug}", "log: {level: info}", 1)
			text = strings.Replace(text, "limits: {", "limits: {per_source: 10000, per_member_and_door: 1000, api_per_member: 100000, api_per_source: 100000, ", 1)
			return text + fmt.Sprintf("node: mx%d\nstore: {engine: redis, redis: {%s}}\n", i+1, standalone(d.redis))
		})
		d.nodes = append(d.nodes, s)
	}
	d.nodes[0].seed()
	for _, s := range d.nodes[1:] {
		s.copyFrom(d.nodes[0], "keys.json", "keys.json")
	}
	return d
}

// quietIMAP lets everybody in and has no news.
func quietIMAP(c *net.TCPConn) {
	_, _ = io.WriteString(c, "* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] ready\r\n")
	r := bufio.NewReaderSize(c, 512)
	for {
		line, err := r.ReadString('\n')
		words := strings.Fields(line)
		if err != nil || len(words) < 2 {
			return
		}
		switch strings.ToUpper(words[1]) {
		case "IDLE":
			line = "+ idling\r\n"
		case "CAPABILITY":
			line = "* CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN\r\n" + words[0] + " OK done\r\n"
		default:
			line = words[0] + " OK done\r\n"
		}
		if _, err := io.WriteString(c, line); err != nil {
			return
		}
	}
}

// people makes, for each round, so many members of each kind with an app password each. Those whose domain is closed have
// one of their own in each round.
func (d *revoking) people(rounds, each int) (all [][]revocable) {
	d.nodes[0].inStore(func(ctx context.Context, w works) error {
		a := authcore.CommandActor("drill")
		for round := range rounds {
			closing := fmt.Sprintf("closing%d.example", round)
			if _, err := w.core.CreateDomain(ctx, a, authcore.NewDomain{Name: closing}); err != nil {
				return err
			}
			var l []revocable
			for i := range each * revocationKinds {
				p := revocable{domain: sample.New, kind: i % revocationKinds}
				if p.kind == byClosedDomain {
					p.domain = closing
				}
				p.address = fmt.Sprintf("r%d-%d@%s", round, i, p.domain)
				if _, _, err := w.core.CreateMember(ctx, a, p.domain, authcore.NewMember{Address: p.address}); err != nil {
					return err
				}
				made, plain, err := w.core.CreateAppPasswordFor(ctx, a, p.address, apppass.Wish{Name: "Drill"})
				if err != nil {
					return err
				}
				p.app, p.secret = made.ID, plain.Reveal()
				l = append(l, p)
			}
			all = append(all, l)
		}
		return nil
	})
	return all
}

func (d *revoking) serve() {
	for _, s := range d.nodes {
		start{args: []string{"serve", "-config", s.file}, sockets: s.sockets, binary: s.floodBinary()}.begin(d.t).says("latchkey serves")
	}
	d.api = d.nodes[0].api()
	if err := d.api.signIn(d.nodes[0].people["operator"]); err != nil {
		d.t.Fatal(err)
	}
}

func (d *revoking) killTheBus(ctx context.Context) {
	for idle(ctx, 2*time.Second) {
		if _, err := d.redis.Command("client", "kill", "type", "pubsub"); err != nil {
			d.t.Error(err)
		}
	}
}

// round opens the sessions of all, lets them idle, ends them, and answers how long each took from the request that did.
func (d *revoking) round(people []revocable, while time.Duration) (took []time.Duration) {
	d.t.Helper()
	d.began, d.ended, d.owners = map[string]time.Time{}, map[*talk]time.Time{}, map[*talk]string{}
	var waiting sync.WaitGroup
	d.open(people, &waiting)
	<-time.After(1500*time.Millisecond + while)
	d.mu.Lock()
	if len(d.ended) > 0 {
		d.t.Errorf("%d sessions ended before anything was revoked", len(d.ended))
	}
	d.mu.Unlock()
	d.revoke(people)
	waiting.Wait()
	for k, address := range d.owners {
		took = append(took, d.ended[k].Sub(d.began[address]))
	}
	if want := len(people) * sessionsOfOne; len(took) != want {
		d.t.Fatalf("%d sessions, want %d", len(took), want)
	}
	return took
}

// open opens the sessions; waiting ends when all of them have.
func (d *revoking) open(people []revocable, waiting *sync.WaitGroup) {
	type one struct {
		of   revocable
		node *stage
	}
	todo := make(chan one)
	var openers sync.WaitGroup
	for range 16 {
		openers.Go(func() {
			for o := range todo {
				k, answer, err := o.node.door("imap").enter(o.node.tls, o.of.address, o.of.secret)
				for tries := 0; tries < 3 && strings.HasPrefix(answer, temporary["imap"]); tries++ { // as a program does
					_ = k.Close()
					<-time.After(time.Second)
					k, answer, err = o.node.door("imap").enter(o.node.tls, o.of.address, o.of.secret)
				}
				if err == nil && strings.HasPrefix(answer, good["imap"]) {
					_, err = k.ask("b IDLE", "+")
				}
				if err != nil || !strings.HasPrefix(answer, good["imap"]) {
					d.t.Errorf("a session of %s: %q, %v", o.of.address, answer, err)
					continue
				}
				d.mu.Lock()
				d.owners[k] = o.of.address
				d.mu.Unlock()
				waiting.Go(func() { d.wait(k) })
			}
		})
	}
	for i := range sessionsOfOne {
		for _, p := range people {
			todo <- one{p, d.nodes[i%len(d.nodes)]}
		}
	}
	close(todo)
	openers.Wait()
}

// wait notes when the server ended a connection.
func (d *revoking) wait(k *talk) {
	defer k.Close()
	_ = k.SetDeadline(time.Now().Add(2 * patience))
	if _, err := io.Copy(io.Discard, k.r); err != nil {
		d.t.Errorf("a session does not end: %v", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ended[k] = time.Now()
}

// revoke ends all sessions, by one request for each member or domain.
func (d *revoking) revoke(people []revocable) {
	d.t.Helper()
	closed := false
	for _, p := range people {
		d.mu.Lock()
		for _, other := range people {
			if p.kind != byClosedDomain && other.address == p.address || p.kind == byClosedDomain && other.kind == p.kind && !closed {
				d.began[other.address] = time.Now()
			}
		}
		d.mu.Unlock()
		var status int
		var err error
		switch {
		case p.kind == byAppPassword:
			status, err = d.api.do("DELETE", "/members/"+p.address+"/app-passwords/"+p.app, nil, nil)
		case p.kind == bySuspension:
			status, err = d.api.do("POST", "/members/"+p.address+"/suspend", nil, nil)
		case !closed:
			closed = true
			status, err = d.api.do("PATCH", "/domains/"+p.domain, map[string]any{"closed": true}, nil)
		}
		if err != nil || status >= http.StatusBadRequest {
			d.t.Errorf("revoke %s: %d, %v", p.address, status, err)
		}
	}
}

// steps shows times in steps of a tenth of a second.
func steps(l []time.Duration) string {
	const step = 100 * time.Millisecond
	counts := map[time.Duration]int{}
	for _, d := range l {
		counts[d/step]++
	}
	var b strings.Builder
	for i := time.Duration(0); i <= l[len(l)-1]/step; i++ {
		fmt.Fprintf(&b, "%5d ms %6d %s\n", (i+1)*step/time.Millisecond, counts[i], strings.Repeat("#", (counts[i]*60+len(l)-1)/len(l)))
	}
	at := func(p int) time.Duration {
		return cmp.Or(l[(len(l)-1)*p/100].Round(time.Millisecond), time.Millisecond)
	}
	fmt.Fprintf(&b, "%d sessions: p50 %v, p99 %v, the last %v", len(l), at(50), at(99), l[len(l)-1].Round(time.Millisecond))
	return b.String()
}
