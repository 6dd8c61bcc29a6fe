package main

import (
	"context"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/apppass"
	"latchkey/authcore/sample"
	"latchkey/authcore/store/redistest"
	"latchkey/configs"
	"latchkey/policy"
)

// Three nodes, driven over the API and the doors while Redis fails beneath them. The ledger says what every answer has to
// be; each fault is one line of the table.

// fleetDrill is the nodes and who acts on them.
type fleetDrill struct {
	t        *testing.T
	nodes    []*drilled
	running  []*process
	ways     []*redistest.Proxy // of each node to Redis; nil with Sentinel
	subjects []subject
	steady   *claim            // nobody changes it
	only     *drilled          // nil: any node is asked
	app      map[string]string // the secret of each at the doors
	operator string            // token
	now      atomic.Value      // the fault, by name
	*ledger

	worst       atomic.Int64 // slowest of the faults before
	longestBack time.Duration
}

// any is the node that is asked next.
func (f *fleetDrill) any() *drilled {
	if f.only != nil {
		return f.only
	}
	return f.nodes[mathrand.IntN(len(f.nodes))]
}

func (f *fleetDrill) appSecret(address string) string { return f.app[address] }

// drillPeople are those beside the sample's; the servers behind the doors know them.
var drillPeople = []string{
	"keeper-1@new.example", "keeper-2@new.example", "convict-1@new.example", "convict-2@new.example", "barred@new.example", "steady@new.example",
	"guessed-1@old.example", "guessed-2@old.example", "guessed-3@old.example", "guessed-4@old.example",
}

// newFleetDrill starts three nodes; redis says how node i reaches the store.
func newFleetDrill(t *testing.T, redis func(i int) string) *fleetDrill {
	t.Helper()
	f := &fleetDrill{t: t, app: map[string]string{}}
	f.ledger = &ledger{fleet: f, stood: redistest.Standstill(t)}
	f.now.Store("at first")
	for i, s := range newFleetAt(t, 3, redis) {
		tr := &http.Transport{TLSClientConfig: s.tls.Clone(), MaxIdleConnsPerHost: 8}
		t.Cleanup(tr.CloseIdleConnections)
		f.nodes = append(f.nodes, &drilled{stage: s, name: fmt.Sprintf("mx%d", i+1), tls: s.tls.Clone(), http: &http.Client{Transport: tr, Timeout: patience / 4}})
	}
	f.enrol()
	for _, n := range f.nodes {
		f.running = append(f.running, n.serve())
	}
	f.cast()
	return f
}

// enrol makes the people; all have the same account password.
func (f *fleetDrill) enrol() {
	f.t.Helper()
	work := storeWork{"enrol", func(ctx context.Context, w works, _ []string, _ io.Reader, _ io.Writer) error {
		a := authcore.CommandActor("drill")
		p := policy.Default()
		p.Password.MaxFailures = guesses
		if _, err := w.core.SetPolicy(ctx, a, sample.Old, p, -1); err != nil {
			return err
		}
		for _, address := range drillPeople {
			_, domain, _ := strings.Cut(address, "@")
			if _, _, err := w.core.CreateMember(ctx, a, domain, authcore.NewMember{Address: address, Password: f.nodes[0].people["app-only"].Account}); err != nil {
				return err
			}
			f.app[address] = f.nodes[0].people["app-only"].Account.Reveal()
			if domain == sample.New {
				_, plain, err := w.core.CreateAppPasswordFor(ctx, a, address, apppass.Wish{Name: "Steady"})
				if err != nil {
					return err
				}
				f.app[address] = plain.Reveal()
			}
		}
		return nil
	}}
	cfg, err := configs.Load(f.nodes[0].file)
	if err == nil {
		err = inStore(f.t.Context(), cfg, program{err: io.Discard}, work, nil, nil, io.Discard)
	}
	if err != nil {
		f.t.Fatal(err)
	}
}

// cast gives each his part.
func (f *fleetDrill) cast() {
	f.t.Helper()
	token := func(address string) string {
		c := f.any().api()
		if err := c.signIn(sample.Person{Address: address, Account: f.nodes[0].people["app-only"].Account}); err != nil {
			f.t.Fatal(err)
		}
		return c.token
	}
	op := f.any().api()
	if err := op.signIn(f.nodes[0].people["operator"]); err != nil {
		f.t.Fatal(err)
	}
	f.operator = op.token
	at := func(address string) *claim { return &claim{address: address, secret: f.app[address], want: enters} }
	g := &guessed{token: f.operator}
	for _, address := range drillPeople {
		switch part, _, _ := strings.Cut(address, "-"); part {
		case "keeper":
			f.subjects = append(f.subjects, &keeper{address: address, token: token(address), ids: map[*claim]string{}})
		case "convict":
			f.subjects = append(f.subjects, &switched{claim: at(address), token: f.operator, in: lifted, out: suspended})
		case "guessed":
			g.people = append(g.people, at(address))
		case "barred@new.example":
			f.subjects = append(f.subjects, &switched{claim: at(address), token: f.operator, in: doorOpen, out: doorClosed})
		default:
			f.steady = at(address)
		}
	}
	f.subjects = append(f.subjects, g, &newcomers{token: f.operator})
}

// under drives all subjects while a fault comes and goes, then looks at everything once more. It prints one line.
func (f *fleetDrill) under(t *testing.T, name string, fault func()) {
	t.Helper()
	f.now.Store(name)
	was := f.figures()
	f.worst.Store(max(f.worst.Load(), f.slowest.Swap(0)))
	over := make(chan struct{})
	var all sync.WaitGroup
	for _, s := range f.subjects {
		all.Go(func() {
			for !ended(over) {
				s.change(t, f.ledger, over)
			}
		})
	}
	for i, n := range f.nodes {
		all.Go(func() { f.probe(t, n, fmt.Sprintf("127.200.0.%d", i+1), over) })
	}
	meanwhile(over, 300*time.Millisecond)
	fault()
	back := f.back(t)
	<-time.After(300 * time.Millisecond)
	for end := time.Now().Add(time.Minute); !f.enough() && time.Now().Before(end); { // a busy machine takes longer
		<-time.After(10 * time.Millisecond)
	}
	close(over)
	all.Wait()
	f.settle(t)
	f.longestBack = max(f.longestBack, back)
	f.line(t, name, was, back)
}

func ended(over <-chan struct{}) bool {
	select {
	case <-over:
		return true
	default:
		return false
	}
}

// probe signs in with one claim after the other.
func (f *fleetDrill) probe(t *testing.T, n *drilled, source string, over <-chan struct{}) {
	for !ended(over) {
		claims := []*claim{f.steady}
		for _, s := range f.subjects {
			claims = append(claims, s.claims()...)
		}
		mathrand.Shuffle(len(claims), func(i, j int) { claims[i], claims[j] = claims[j], claims[i] })
		for _, c := range claims[:min(4, len(claims))] {
			if w, _ := c.now(); w == shutOut {
				f.try(t, c, n, f.fresh())
			} else if w == enters {
				f.try(t, c, n, source)
			}
		}
		meanwhile(over, 20*time.Millisecond)
	}
}

// back waits until every node lets the steady one in again, and answers how long that took.
func (f *fleetDrill) back(t *testing.T) time.Duration {
	t.Helper()
	began := time.Now()
	for _, n := range f.nodes {
		for f.try(t, f.steady, n, "127.200.1.1") != letIn {
			if time.Since(began) > 30*time.Second {
				t.Fatalf("%v: %s lets nobody in 30 s after the fault", f.now.Load(), n.name)
			}
			<-time.After(20 * time.Millisecond)
		}
	}
	return time.Since(began)
}

// settle looks whether everything that was acknowledged is there.
func (f *fleetDrill) settle(t *testing.T) {
	t.Helper()
	for _, s := range f.subjects {
		for _, c := range s.claims() {
			if w, _ := c.now(); w == unsure {
				continue
			}
			for deadline := time.Now().Add(10 * time.Second); ; {
				w, _ := c.now()
				source := "127.200.1.2"
				if w == shutOut {
					source = f.fresh()
				}
				got := f.try(t, c, f.any(), source)
				if got != later {
					break
				}
				if time.Now().After(deadline) {
					t.Errorf("%v: no answer for %s", f.now.Load(), c.address)
					break
				}
				<-time.After(100 * time.Millisecond)
			}
		}
		if m, ok := s.(*newcomers); ok {
			f.all(t, m)
		}
	}
}

func (f *fleetDrill) all(t *testing.T, m *newcomers) {
	t.Helper()
	for _, address := range m.made[max(0, len(m.made)-20):] {
		status, err := 0, error(nil)
		for range 50 {
			if status, err = f.any().call(m.token, "GET", "/members/"+address, "", nil, nil); err == nil && status != http.StatusServiceUnavailable {
				break
			}
			<-time.After(50 * time.Millisecond)
		}
		if status != http.StatusOK {
			f.lost.Add(1)
			t.Errorf("%v: %s was acknowledged and is lost: %d (%v)", f.now.Load(), address, status, err)
		}
	}
}

func (l *ledger) figures() []int64 {
	return []int64{l.acknowledged.Load(), l.lost.Load(), l.noticed.Load(), l.resurrected.Load(), l.unlocked.Load(), l.wronglyTold.Load(), l.answers.Load()}
}

// tableHead names the columns of line.
const tableHead = "| fault | changes acknowledged | lost | lost and noticed | resurrected | unlocked | told as wrong | sign-ins | slowest answer | back after |"

func (f *fleetDrill) line(t *testing.T, name string, was []int64, back time.Duration) {
	t.Helper()
	var b strings.Builder
	for i, n := range f.figures() {
		fmt.Fprintf(&b, " %d |", n-was[i])
	}
	t.Logf("| %s |%s %.1f s | %.1f s |", name, b.String(), time.Duration(f.slowest.Load()).Seconds(), back.Seconds())
}

// newFleetAt is newFleet whose nodes reach Redis each by a way of its own.
func newFleetAt(t *testing.T, n int, redis func(i int) string) []*stage {
	t.Helper()
	var nodes []*stage
	for i := range n {
		s := bareStage(t)
		s.onRedis(fmt.Sprintf("mx%d", i+1), redis(i))
		nodes = append(nodes, s)
	}
	nodes[0].seed()
	for _, s := range nodes[1:] {
		s.copyFrom(nodes[0], "keys.json", "keys.json")
		s.people = nodes[0].people
	}
	return nodes
}

// rounds is how often each fault comes.
func rounds(long int) int {
	if longDrills() {
		return long
	}
	return 1
}

// trouble is what is done to a fleet; it ends healed.
type trouble struct {
	name  string
	do    func()
	short bool // also in the short form
}

// standaloneDrill is a fleet on one server, each node behind a proxy.
func standaloneDrill(t *testing.T, more string, conf ...string) (*fleetDrill, *redistest.Server) {
	t.Helper()
	s := redistest.Standalone(t, conf...)
	var ways []*redistest.Proxy
	for range 3 {
		ways = append(ways, redistest.NewProxy(t, s.Addr))
	}
	f := newFleetDrill(t, func(i int) string { return "addresses: ['" + ways[i].Addr + "'], replicas: 0" + more })
	f.ways = ways
	return f, s
}

func (f *fleetDrill) eachWay(broken func(p *redistest.Proxy), d time.Duration) func() {
	return func() {
		for _, p := range f.ways {
			broken(p)
		}
		<-time.After(d)
		for _, p := range f.ways {
			p.Heal()
		}
	}
}

func (f *fleetDrill) faults(t *testing.T, s *redistest.Server) []trouble {
	d := 1500 * time.Millisecond
	if longDrills() {
		d = 5 * time.Second
	}
	i := mathrand.IntN(len(f.nodes))
	return []trouble{
		{"killed and restarted", func() { s.Kill(t); meanwhile(nil, d); s.Restart(t) }, true},
		{"stopped", func() { s.Pause(t); <-time.After(d); s.Resume(t) }, true},
		{"answers cut", func() {
			for range 10 {
				f.ways[i].CutAnswers(mathrand.IntN(8))
				meanwhile(nil, 200*time.Millisecond)
				f.ways[i].Heal()
			}
		}, true},
		{"reset", f.eachWay((*redistest.Proxy).Reset, d), false},
		{"refused", func() {
			for _, p := range f.ways {
				p.Refuse()
			}
			<-time.After(d)
			for _, p := range f.ways {
				p.Accept()
			}
		}, false},
		{"one node cut off", func() { f.ways[i].Partition(); <-time.After(d); f.ways[i].Heal() }, true},
		{"all nodes cut off", f.eachWay((*redistest.Proxy).Partition, d), false},
		{"slow", f.eachWay(func(p *redistest.Proxy) { p.Latency(300 * time.Millisecond) }, d), false},
		{"a node killed and restarted", func() { f.restart(i) }, true},
	}
}

// restart kills a node and starts it again.
func (f *fleetDrill) restart(i int) {
	n := f.nodes[i]
	n.downs.Add(1)
	f.running[i].kill()
	f.running[i] = n.serve()
	n.downs.Add(1)
}

// Under the settings that promise it nothing acknowledged is lost, whatever becomes of Redis and of nodes.
func TestDrillFleetStandalone(t *testing.T) {
	f, s := standaloneDrill(t, "")
	t.Log(tableHead)
	for range rounds(3) {
		for _, c := range f.faults(t, s) {
			if c.short || longDrills() {
				f.under(t, c.name, c.do)
			}
		}
	}
	f.sum(t)
}

// enough has happened for a drill to say something.
func (f *fleetDrill) enough() bool { return f.acknowledged.Load() >= 20 && f.answers.Load() >= 100 }

func (f *fleetDrill) sum(t *testing.T) {
	t.Helper()
	f.slowest.Store(max(f.worst.Load(), f.slowest.Load()))
	f.line(t, "all", make([]int64, 7), f.longestBack)
	if !f.enough() {
		t.Error("hardly anything happened")
	}
	for i, p := range f.running {
		if slices.ContainsFunc(strings.Split(p.err.String(), "\n"), func(l string) bool { return strings.Contains(l, "panic") }) {
			t.Errorf("node %d: a panic:\n%s", i+1, p.err)
		}
	}
}
