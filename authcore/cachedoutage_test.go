package authcore_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/audit"
	"latchkey/authcore/authtest"
	"latchkey/authcore/spool"
	"latchkey/authcore/store"
)

// node is one of a fleet whose records can be taken from it.
type node struct {
	*authcore.Core
	s    *stage
	gone atomic.Pointer[error] // what every call to the records ends with; nil: they are there
	bus  *cuttable
}

type takenAway struct {
	store.Records
	n *node
}

func (r takenAway) err() error {
	if e := r.n.gone.Load(); e != nil {
		return *e
	}
	return nil
}

func (r takenAway) Get(ctx context.Context, k store.Key) (store.Record, error) {
	if err := r.err(); err != nil {
		return store.Record{}, err
	}
	return r.Records.Get(ctx, k)
}

func (r takenAway) List(ctx context.Context, p string, q store.Query) ([]store.Record, error) {
	if err := r.err(); err != nil {
		return nil, err
	}
	return r.Records.List(ctx, p, q)
}

func (r takenAway) Apply(ctx context.Context, p string, ops ...store.Op) (int64, error) {
	if err := r.err(); err != nil {
		return 0, err
	}
	return r.Records.Apply(ctx, p, ops...)
}

// cuttable is a bus that a node can be cut off from.
type cuttable struct {
	store.Bus
	cut   atomic.Bool
	ends  context.CancelFunc
	until context.Context
}

func (b *cuttable) Subscribe(ctx context.Context, topic string) (<-chan []byte, error) {
	if b.cut.Load() {
		return nil, errRefused
	}
	both, cancel := context.WithCancel(ctx)
	context.AfterFunc(b.until, cancel)
	return b.Bus.Subscribe(both, topic)
}

func (b *cuttable) Publish(ctx context.Context, topic string, msg []byte) error {
	if b.cut.Load() {
		return errRefused
	}
	return b.Bus.Publish(ctx, topic, msg)
}

func (b *cuttable) mend() {
	b.until, b.ends = context.WithCancel(context.Background())
	b.cut.Store(false)
}

// node starts one over what the stage keeps, which serves cached sign-ins unless change says otherwise.
func (s *stage) node(t *testing.T, change func(*authcore.Options)) *node {
	t.Helper()
	n := &node{s: s, bus: &cuttable{Bus: s.options.Bus}}
	n.bus.mend()
	o := s.options
	o.Records, o.Bus, o.Node = takenAway{o.Records, n}, n.bus, fmt.Sprintf("node-%p", n)
	o.ServeCached, o.StoreTime = true, authcore.DefaultStoreTime
	o.Spool = spool.New(spool.Options{Dir: t.TempDir()})
	if change != nil {
		change(&o)
	}
	n.Core = authcore.New(o)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		n.bus.ends()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if o.Spool != nil {
			_ = o.Spool.Close()
		}
	})
	synctest.Wait()
	return n
}

// lose takes the records away, and the bus where it says so.
func (n *node) lose(err error, bus bool) {
	n.gone.Store(&err)
	if bus {
		n.bus.cut.Store(true)
		n.bus.ends()
	}
	synctest.Wait()
}

func (n *node) regain() {
	n.gone.Store(nil)
	if n.bus.cut.Load() {
		n.bus.mend()
	}
	time.Sleep(3 * time.Second) // they are looked for each second
	synctest.Wait()
}

// tries is what one attempt comes to, judged once more as a door does before it says OK.
func (n *node) tries(t *testing.T, from, name, password string) authcore.Reason {
	t.Helper()
	a := authtest.AttemptFrom(from, "imap", name, password)
	d, err := n.Authenticate(t.Context(), a)
	if d.Reason == authcore.Unavailable && !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("broken by %v", err)
	}
	if !d.Allowed() {
		return d.Reason
	}
	defer n.Ended(t.Context(), d.Session, authcore.End{})
	if ok, err := n.Stands(t.Context(), d.Standing(a)); !ok || err != nil {
		t.Errorf("%s was let in and does not stand: %v", name, err)
		return authcore.Unavailable
	}
	return d.Reason
}

func (n *node) want(t *testing.T, what, name, password string, want authcore.Reason) {
	t.Helper()
	if got := n.tries(t, here, name, password); got != want {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

// letIn are the sign-ins of a member in the records, the newest first, with their details.
func (s *stage) letIn(t *testing.T, state string) (details []string) {
	t.Helper()
	p := s.profile(t, s.address(state))
	for _, r := range s.all(t, p.Domain.Name, audit.Prefix) {
		var e audit.Entry
		if json.Unmarshal(r.Value, &e) == nil && e.Action == audit.SignIn && e.MemberID == string(p.Member.ID) && e.Reason == string(authcore.Allowed) {
			details = append(details, e.Detail)
		}
	}
	return details
}

func bothOutages(t *testing.T, f func(t *testing.T, s *stage, bus bool)) {
	for name, bus := range map[string]bool{"the records alone": false, "the bus as well": true} {
		t.Run(name, func(t *testing.T) { inBubble(t, nil, func(t *testing.T, s *stage) { f(t, s, bus) }) })
	}
}

func TestCachedSignInsGoOnForTheLease(t *testing.T) {
	bothOutages(t, func(t *testing.T, s *stage, bus bool) {
		n := s.node(t, nil)
		name, app := s.address("app-only"), s.app("app-only")
		n.want(t, "before", name, app, authcore.Allowed)
		n.lose(errRefused, bus)
		for range 5 {
			n.want(t, "in the lease", name, app, authcore.Allowed)
			time.Sleep(5 * time.Second)
		}
		if got := len(s.letIn(t, "app-only")); got != 1 {
			t.Errorf("%d sign-ins in the records, want that from before", got)
		}
		time.Sleep(6 * time.Second)
		n.want(t, "after the lease", name, app, authcore.Unavailable)
		n.regain()
		n.want(t, "when it is over", name, app, authcore.Allowed)
		cached := 0
		for _, d := range s.letIn(t, "app-only") {
			if d == "cached" {
				cached++
			}
		}
		if cached != 5 || len(s.letIn(t, "app-only")) != 7 {
			t.Errorf("in the records: %q", s.letIn(t, "app-only"))
		}
	})
}

// What was not held, what would need a hash, and what is wrong are told as temporary, and nothing is counted as wrong.
func TestCachedSignInsAreNoGuesses(t *testing.T) {
	bothOutages(t, func(t *testing.T, s *stage, bus bool) {
		s.maxFailures(t, 3)
		n := s.node(t, nil)
		n.want(t, "before", s.address("app-only"), s.app("app-only"), authcore.Allowed)
		for range 2 { // the first makes its source known
			n.want(t, "before", s.address("account"), s.account("account"), authcore.Allowed)
		}
		n.lose(errRefused, bus)
		for name, a := range map[string][2]string{
			"a name that nobody has":        {"nobody@old.example", "wrong"},
			"a member who is not held":      {s.address("expired"), "wrong"},
			"a domain that nobody has":      {"ann@nowhere.example", "wrong"},
			"a wrong account password":      {s.address("account"), "wrong"},
			"an account password elsewhere": {s.address("app-only"), s.account("app-only")},
		} {
			n.want(t, name, a[0], a[1], authcore.Unavailable)
		}
		n.want(t, "a verdict of the last minute", s.address("account"), s.account("account"), authcore.Allowed)
		if got := n.tries(t, there, s.address("account"), s.account("account")); got != authcore.Unavailable {
			t.Errorf("a verdict, from a source that is not known: %q", got)
		}
		for i := range 20 {
			if got := n.tries(t, there, s.address("app-only"), fmt.Sprint("wrong ", i)); got != authcore.Unavailable && got != authcore.Throttled {
				t.Errorf("guess %d: %q", i, got)
			}
		}
		if got := n.tries(t, there, s.address("app-only"), s.app("app-only")); got.Temporary() == false {
			t.Errorf("the right one after 20 guesses from there: %q", got)
		}
		n.want(t, "the right one from its own source", s.address("app-only"), s.app("app-only"), authcore.Allowed)
		n.regain()
		if got := s.failures(t, "account"); got != 0 {
			t.Errorf("%d failures are counted", got)
		}
	})
}

// A revocation elsewhere is late by the lease at most, at once where it is heard, and holds as soon as the records are back.
func TestCachedSignInsAfterARevocationElsewhere(t *testing.T) {
	bothOutages(t, func(t *testing.T, s *stage, bus bool) {
		n := s.node(t, nil)
		name, app := s.address("app-only"), s.app("app-only")
		n.want(t, "before", name, app, authcore.Allowed)
		n.lose(errRefused, bus)
		if _, err := s.Suspend(t.Context(), authtest.Operator(), name); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if bus {
			n.want(t, "unheard", name, app, authcore.Allowed)
			time.Sleep(authcore.DefaultLease)
		}
		n.want(t, "heard, or after the lease", name, app, authcore.Unavailable)
		n.regain()
		n.want(t, "when it is over", name, app, authcore.Suspended)
	})
}

// Sessions that were opened without the records are judged by them when they are back, and end with the lease.
func TestCachedSessionsAreJudgedAnew(t *testing.T) {
	for name, back := range map[string]bool{"back in time": true, "over": false} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, nil, func(t *testing.T, s *stage) {
				n := s.node(t, nil)
				asked := make(chan authcore.Revocation, 100)
				ctx, stop := context.WithCancel(t.Context())
				defer stop()
				go func() {
					for r := range n.Revocations(ctx) {
						asked <- r
					}
				}()
				a := authtest.Attempt("imap", s.address("app-only"), s.app("app-only"))
				n.want(t, "before", s.address("app-only"), s.app("app-only"), authcore.Allowed)
				n.lose(errRefused, true)
				d, err := n.Authenticate(t.Context(), a)
				if !d.Allowed() {
					t.Fatal(d.Reason, err)
				}
				if _, err := s.Suspend(t.Context(), authtest.Operator(), s.address("app-only")); err != nil {
					t.Fatal(err)
				}
				if back {
					n.regain()
				} else {
					time.Sleep(authcore.DefaultLease + 3*time.Second)
				}
				mine := false
				for len(asked) > 0 {
					mine = (<-asked).Session == d.Session || mine
				}
				if ok, err := n.Stands(t.Context(), d.Standing(a)); ok || err != nil || !mine {
					t.Errorf("stands %v, %v; asked %v", ok, err, mine)
				}
			})
		})
	}
}

// Nothing stands in where the operator did not choose it, for a store that lost what it had, and where it cannot be audited.
func TestCachedSignInsAreRefused(t *testing.T) {
	distrusted := fmt.Errorf("%w: %w", store.ErrUnavailable, store.ErrDistrusted)
	for name, c := range map[string]struct {
		change func(*authcore.Options)
		err    error
	}{
		"refuse":               {func(o *authcore.Options) { o.ServeCached = false }, errRefused},
		"no spool":             {func(o *authcore.Options) { o.Spool = nil }, errRefused},
		"a store rolled back":  {nil, distrusted},
		"a spool that is full": {func(o *authcore.Options) { o.Spool = spool.New(spool.Options{Dir: t.TempDir(), Max: 100}) }, errRefused},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, nil, func(t *testing.T, s *stage) {
				n := s.node(t, c.change)
				n.want(t, "before", s.address("app-only"), s.app("app-only"), authcore.Allowed)
				n.lose(c.err, true)
				n.want(t, "in the outage", s.address("app-only"), s.app("app-only"), authcore.Unavailable)
				n.regain()
				n.want(t, "after it", s.address("app-only"), s.app("app-only"), authcore.Allowed)
			})
		})
	}
}
