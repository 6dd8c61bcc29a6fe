package authcore_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/authtest"
	"latchkey/authcore/store"
	"latchkey/authcore/store/memory"
	"latchkey/authcore/store/storetest"
)

// netted are two nodes over one store: the stage's own, where administrators are, and one whose sessions are under a net
// below a bus that loses what the test says.
type netted struct {
	*stage
	node    *authcore.Core
	bus     *storetest.LossyBus
	records *storetest.Faulty // as the node reads them

	mu    sync.Mutex
	told  []authcore.Revocation // guarded by mu
	fails bool                  // the node cannot read what was revoked; guarded by mu
	blind bool                  // the node cannot list what was revoked; guarded by mu
	reads int                   // of the record "revoked"; guarded by mu
	lists int                   // of what was revoked; guarded by mu
}

func (n *netted) take() []authcore.Revocation {
	synctest.Wait()
	n.mu.Lock()
	defer n.mu.Unlock()
	l := n.told
	n.told = nil
	return l
}

func (n *netted) fail(is bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.fails = is
}

func inNet(t *testing.T, period time.Duration, f func(t *testing.T, n *netted)) {
	bus := &storetest.LossyBus{Bus: memory.NewBus()}
	inBubble(t, func(o *authcore.Options) { o.Bus = bus }, func(t *testing.T, s *stage) {
		n := &netted{stage: s, bus: bus, records: &storetest.Faulty{Records: s.options.Records}}
		n.records.OnGet = func(k store.Key) error {
			n.mu.Lock()
			defer n.mu.Unlock()
			if k.Name == "revoked" {
				n.reads++
				if n.fails {
					return store.ErrUnavailable
				}
			}
			return nil
		}
		n.records.OnList = func(_ string, q store.Query) error {
			n.mu.Lock()
			defer n.mu.Unlock()
			if q.Prefix == "revoked/" {
				n.lists++
				if n.blind {
					return errors.New("no")
				}
			}
			return nil
		}
		o := s.options
		o.Records, o.Node, o.Recheck = n.records, "netted", period
		n.node = authcore.New(o)
		ctx, cancel := context.WithCancel(context.Background())
		var beside sync.WaitGroup
		beside.Go(func() { _ = n.node.Run(ctx) })
		beside.Go(func() {
			for r := range n.node.Revocations(ctx) {
				n.mu.Lock()
				n.told = append(n.told, r)
				n.mu.Unlock()
			}
		})
		defer beside.Wait()
		defer cancel()
		f(t, n)
	})
}

// open opens a session on the node.
func (n *netted) open(t *testing.T, state, secret string) authcore.Standing {
	t.Helper()
	a := authtest.Attempt("imap", n.address(state), secret)
	d, err := n.node.Authenticate(t.Context(), a)
	if err != nil || !d.Allowed() {
		t.Fatalf("%s: %v, %v", state, d.Reason, err)
	}
	return d.Standing(a)
}

func matching(l []authcore.Revocation, s authcore.Standing) (some []authcore.Revocation) {
	return slices.DeleteFunc(slices.Clone(l), func(r authcore.Revocation) bool { return !r.Matches(s) })
}

func (n *netted) suspend(t *testing.T, state string) {
	t.Helper()
	if _, err := n.Suspend(t.Context(), authtest.Operator(), n.address(state)); err != nil {
		t.Fatal(err)
	}
}

const period = 500 * time.Millisecond

// A revocation whose message is lost without a trace is found within one period, and only the member it is about is asked for.
func TestNetFindsWhatTheBusLost(t *testing.T) {
	inNet(t, period, func(t *testing.T, n *netted) {
		his, other := n.open(t, "account", n.account("account")), n.open(t, "opted-in", n.app("opted-in"))
		time.Sleep(2 * period)
		if l := n.take(); len(matching(l, his)) == 0 {
			t.Errorf("a domain that is new to the net is not looked at: %+v", l)
		}
		n.bus.Drops.Store(true)
		for range 3 {
			n.suspend(t, "account")
			began := time.Now()
			time.Sleep(period)
			l := n.take()
			if len(matching(l, his)) == 0 || len(matching(l, other)) > 0 {
				t.Fatalf("told %+v after %v", l, time.Since(began))
			}
			if is, err := n.node.Stands(t.Context(), his); is || err != nil {
				t.Fatalf("stands %v, %v", is, err)
			}
		}
		time.Sleep(10 * period)
		if l := n.take(); len(l) > 0 {
			t.Errorf("nothing was revoked, and told is %+v", l)
		}
	})
}

// After a gap of the bus nothing waits for the period.
func TestGapIsLookedBehindAtOnce(t *testing.T) {
	inNet(t, time.Hour, func(t *testing.T, n *netted) {
		his := n.open(t, "account", n.account("account"))
		time.Sleep(time.Hour + time.Minute)
		n.take()
		n.bus.Drops.Store(true)
		n.suspend(t, "account")
		if l := n.take(); len(l) > 0 {
			t.Fatalf("nothing is lost: %+v", l)
		}
		n.bus.Gap()
		if l := n.take(); len(matching(l, his)) == 0 {
			t.Errorf("told %+v", l)
		}
	})
}

// While the records cannot be read the lease runs from the last time that they were, not from the first failure; when
// they can, what was revoked meanwhile is told before that ends, and of nobody else anything.
func TestUnreadRunsFromTheLastGoodRead(t *testing.T) {
	inNet(t, period, func(t *testing.T, n *netted) {
		his, other := n.open(t, "account", n.account("account")), n.open(t, "opted-in", n.app("opted-in"))
		time.Sleep(10*period + period/2)
		n.take()
		good := time.Now().Add(-period / 2)
		n.fail(true)
		n.bus.Drops.Store(true)
		n.suspend(t, "account")
		time.Sleep(20 * period)
		l := n.take()
		if len(l) != 1 || l[0].Domain != his.Domain || !l[0].Unread.Equal(good) || l[0].Matches(his) {
			t.Errorf("told %+v, want the lease of %s since %v", l, his.Domain, good)
		}
		if s := n.node.Stats(); s.RecheckLate != 1 || s.RecheckAge < 19*period {
			t.Errorf("the figures are %+v", s)
		}
		n.fail(false)
		time.Sleep(period)
		l = n.take()
		if len(l) != 2 || len(matching(l[:1], his)) != 1 || !l[1].Reread || len(matching(l, other)) > 0 {
			t.Errorf("told %+v", l)
		}
		time.Sleep(period)
		if s := n.node.Stats(); s.RecheckLate != 0 || s.RecheckAge > 2*period {
			t.Errorf("the figures are %+v", s)
		}
	})
}

// What cannot be told one by one is told of the whole domain: after a long silence, and when the records that say whom are
// not to be had.
func TestWhomIsNotKnown(t *testing.T) {
	for name, f := range map[string]func(n *netted){
		"after a long silence": func(n *netted) { n.fail(true); time.Sleep(4 * time.Minute); n.fail(false) },
		"nothing is listed": func(n *netted) {
			n.mu.Lock()
			defer n.mu.Unlock()
			n.blind = true
		},
	} {
		t.Run(name, func(t *testing.T) {
			inNet(t, period, func(t *testing.T, n *netted) {
				his, other := n.open(t, "account", n.account("account")), n.open(t, "opted-in", n.app("opted-in"))
				time.Sleep(2 * period)
				n.take()
				n.bus.Drops.Store(true)
				n.suspend(t, "account")
				f(n)
				time.Sleep(2 * period)
				if l := n.take(); len(matching(l, his)) == 0 || len(matching(l, other)) == 0 {
					t.Errorf("told %+v", l)
				}
			})
		})
	}
}

// The web sessions of a node end too, though the message that its cached member has changed was lost.
func TestNetEndsWebSessions(t *testing.T) {
	inNet(t, period, func(t *testing.T, n *netted) {
		r, err := n.node.SignIn(t.Context(), authtest.Client(), n.address("account"), n.People["account"].Account)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := n.node.Session(t.Context(), r.Token, authtest.Client()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * period)
		n.bus.Drops.Store(true)
		n.suspend(t, "account")
		time.Sleep(period)
		synctest.Wait()
		if _, err := n.node.Session(t.Context(), r.Token, authtest.Client()); err == nil {
			t.Error("a suspended member is signed in")
		}
	})
}

// cost answers what the net has read since the last time.
func (n *netted) cost() (reads, lists int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	defer func() { n.reads, n.lists = 0, 0 }()
	return n.reads, n.lists
}

// A domain that nobody uses any more is not read, and one where nothing is revoked costs a read a period and no list.
func TestNetCostsOneReadADomain(t *testing.T) {
	inNet(t, period, func(t *testing.T, n *netted) {
		his := n.open(t, "account", n.account("account"))
		time.Sleep(2*period + period/2)
		n.cost()
		time.Sleep(10 * period)
		if reads, lists := n.cost(); reads != 10 || lists != 0 {
			t.Errorf("%d reads and %d lists in ten periods", reads, lists)
		}
		n.node.Ended(t.Context(), his.Session, authcore.End{})
		time.Sleep(2 * period)
		n.cost()
		time.Sleep(10 * period)
		if reads, _ := n.cost(); reads != 0 {
			t.Errorf("%d reads with no session", reads)
		}
	})
}

// Without a net nothing is read.
func TestNoNetInAProcessAlone(t *testing.T) {
	inNet(t, 0, func(t *testing.T, n *netted) {
		n.open(t, "account", n.account("account"))
		if l := n.take(); len(l) != 1 || !l[0].Resync {
			t.Errorf("at the start %+v", l)
		}
		time.Sleep(time.Minute)
		if reads, lists := n.cost(); reads+lists != 0 {
			t.Errorf("%d reads, %d lists", reads, lists)
		}
		n.bus.Gap()
		if l := n.take(); len(l) != 1 || !l[0].Resync {
			t.Errorf("after a gap %+v", l)
		}
	})
}
