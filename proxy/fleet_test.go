package proxy_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/authtest"
	"latchkey/authcore/store"
	"latchkey/authcore/store/memory"
	"latchkey/authcore/store/storetest"
	"latchkey/proxy"
)

// slowRecords answer after the way over a network.
type slowRecords struct {
	store.Records
	way time.Duration
}

func (s slowRecords) Get(ctx context.Context, k store.Key) (store.Record, error) {
	time.Sleep(s.way)
	return s.Records.Get(ctx, k)
}

func (s slowRecords) List(ctx context.Context, p string, q store.Query) ([]store.Record, error) {
	time.Sleep(s.way)
	return s.Records.List(ctx, p, q)
}

// fleet is some nodes with their live sessions over one store.
type fleet struct {
	*authtest.Core // where the administrators are: the first node
	nodes          []node
}

type node struct {
	core *authcore.Core
	live *proxy.Live
}

// newFleet starts n nodes. change alters the options of each.
func newFleet(t *testing.T, n int, change func(o *authcore.Options)) (f *fleet, stop func()) {
	t.Helper()
	f = &fleet{}
	var options authcore.Options
	ahead := time.Until(time.Date(2026, 5, 4, 9, 0, 0, 0, time.UTC)) // the sample was made by then
	f.Core = authtest.New(t, func(o *authcore.Options) {
		o.Now = func() time.Time { return time.Now().Add(ahead) }
		o.Records, o.Ephemeral = memory.NewRecords(memory.Options{Now: o.Now}), memory.NewEphemeral(memory.Options{Now: o.Now})
		o.Recheck, o.PerDoor, o.Node = 500*time.Millisecond, 100_000, "0"
		options = *o
		change(o)
	})
	ctx, cancel := context.WithCancel(context.Background())
	var beside sync.WaitGroup
	for i := range n {
		c := f.Core.Core
		if i > 0 {
			o := options
			o.Node = fmt.Sprint(i)
			change(&o)
			c = authcore.New(o)
			beside.Go(func() { _ = c.Run(ctx) })
		}
		l := proxy.NewLive()
		beside.Go(func() { l.Watch(ctx, c, c.Revocations(ctx)) })
		f.nodes = append(f.nodes, node{c, l})
	}
	return f, func() {
		cancel()
		beside.Wait()
		for _, n := range f.nodes {
			n.live.Close()
		}
	}
}

// idle is a session that notes when it was cut.
type idle struct {
	cutter
	standing authcore.Standing
	entry    *proxy.Entry
	leave    func()
}

// open opens idle sessions of a member of the sample on all nodes.
func (f *fleet) open(t *testing.T, state string, n int) (all []*idle) {
	t.Helper()
	p := f.People[state]
	a := authtest.Attempt("imap", p.Address, p.AppPasswords[0].Secret.Reveal())
	for i := range n {
		at := f.nodes[i%len(f.nodes)]
		var d authcore.Decision
		err := patiently(func() (err error) {
			d, err = at.core.Authenticate(t.Context(), a)
			return err
		})
		if err != nil || !d.Allowed() {
			t.Fatalf("session %d: %v, %v", i, d.Reason, err)
		}
		s := &idle{standing: d.Standing(a)}
		s.leave = func() { at.core.Ended(context.WithoutCancel(t.Context()), d.Session, authcore.End{}) }
		s.entry = at.live.Enter(proxy.OpenOf(a, d), s.standing, s)
		all = append(all, s)
	}
	return all
}

// patiently does it anew while the store is unavailable, as clients do who are told to come again: the answers of a machine that
// stands still come too late.
func patiently(do func() error) error {
	for late := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if err := do(); !errors.Is(err, store.ErrUnavailable) || time.Now().After(late) {
			return err
		}
	}
}

// spent are the times from the revocation to the cut of each.
func spent(t *testing.T, all []*idle, since time.Time) []time.Duration {
	t.Helper()
	var l []time.Duration
	for i, s := range all {
		if s.cut() != proxy.ErrRevoked {
			t.Fatalf("session %d: cut with %v", i, s.cut())
		}
		l = append(l, s.when.Sub(since))
		s.entry.Leave()
		s.leave()
	}
	slices.Sort(l)
	return l
}

// histogram shows times in steps of a tenth of a second.
func histogram(l []time.Duration) string {
	const step = 100 * time.Millisecond
	counts := map[time.Duration]int{}
	for _, d := range l {
		counts[d/step]++
	}
	var b strings.Builder
	for i := time.Duration(0); i <= l[len(l)-1]/step; i++ {
		fmt.Fprintf(&b, "%5d ms %6d %s\n", (i+1)*step/time.Millisecond, counts[i], strings.Repeat("#", (counts[i]*60+len(l)-1)/len(l)))
	}
	at := func(p int) time.Duration { return l[(len(l)-1)*p/100].Round(time.Millisecond) }
	fmt.Fprintf(&b, "%d sessions: p50 %v, p99 %v, the last %v", len(l), at(50), at(99), l[len(l)-1].Round(time.Millisecond))
	return b.String()
}

// A revocation reaches the last of 3 000 sessions on three nodes within a second, whatever the bus does, over a store that
// takes two milliseconds to answer.
func TestRevocationReachesAllNodes(t *testing.T) {
	const sessions, rounds = 3000, 5
	for name, harm := range map[string]func(ctx context.Context, bus *storetest.LossyBus){
		"the bus is well":         func(context.Context, *storetest.LossyBus) {},
		"every message is lost":   func(_ context.Context, bus *storetest.LossyBus) { bus.Drops.Store(true) },
		"the bus cannot be heard": func(_ context.Context, bus *storetest.LossyBus) { bus.Deaf.Store(true); bus.Gap() },
		"a gap every 300 ms": func(ctx context.Context, bus *storetest.LossyBus) {
			for ctx.Err() == nil {
				time.Sleep(300 * time.Millisecond)
				bus.Gap()
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				bus := &storetest.LossyBus{Bus: memory.NewBus()}
				f, stop := newFleet(t, 3, func(o *authcore.Options) {
					o.Bus, o.Records = bus, slowRecords{o.Records, 2 * time.Millisecond}
				})
				defer stop()
				ctx, cancel := context.WithCancel(t.Context())
				var harming sync.WaitGroup
				defer harming.Wait()
				defer cancel()
				var l []time.Duration
				for round := range rounds {
					all := f.open(t, "app-only", sessions)
					if round == 0 {
						harming.Go(func() { harm(ctx, bus) })
					}
					time.Sleep(3*time.Second + time.Duration(round)*137*time.Millisecond)
					for i, s := range all {
						if s.cut() != nil {
							t.Fatalf("session %d was cut with %v before anything was revoked", i, s.cut())
						}
					}
					began := time.Now()
					if _, err := f.SignOutEverywhere(t.Context(), authtest.Operator(), f.People["app-only"].Address); err != nil {
						t.Fatal(err)
					}
					time.Sleep(2 * time.Second)
					l = append(l, spent(t, all, began)...)
				}
				slices.Sort(l)
				t.Logf("%s\n%s", name, histogram(l))
				if last := l[len(l)-1]; last > time.Second {
					t.Errorf("the last one was cut after %v", last)
				}
			})
		})
	}
}
