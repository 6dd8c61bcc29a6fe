package authcore_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/authtest"
	"latchkey/authcore/lockout"
	"latchkey/authcore/member"
	"latchkey/authcore/secret"
	"latchkey/authcore/signin"
	"latchkey/authcore/store"
)

// trouble is what happens to the n-th call that a Core makes to its store.
type trouble func(ctx context.Context, n int) (before, after error)

// broken is a store of records, ephemerals and a bus that is in trouble.
type broken struct {
	store.Records
	store.Ephemeral
	store.Bus
	trouble atomic.Pointer[trouble] // nil: none
	n       atomic.Int64            // calls
}

func (b *broken) set(what trouble) {
	if what == nil {
		b.trouble.Store(nil)
		return
	}
	b.trouble.Store(&what)
}

func through[T any](ctx context.Context, b *broken, call func() (T, error)) (v T, err error) {
	n := int(b.n.Add(1)) - 1
	var after error
	if what := b.trouble.Load(); what != nil {
		if err, after = (*what)(ctx, n); err != nil {
			return v, err
		}
	}
	if v, err = call(); err == nil {
		err = after
	}
	return v, err
}

type brokenRecords struct{ *broken }

func (b brokenRecords) Get(ctx context.Context, k store.Key) (store.Record, error) {
	return through(ctx, b.broken, func() (store.Record, error) { return b.Records.Get(ctx, k) })
}

func (b brokenRecords) List(ctx context.Context, p string, q store.Query) ([]store.Record, error) {
	return through(ctx, b.broken, func() ([]store.Record, error) { return b.Records.List(ctx, p, q) })
}

func (b brokenRecords) Apply(ctx context.Context, p string, ops ...store.Op) (int64, error) {
	return through(ctx, b.broken, func() (int64, error) { return b.Records.Apply(ctx, p, ops...) })
}

type brokenEphemeral struct {
	store.Ephemeral
	b *broken
}

func (b brokenEphemeral) Add(ctx context.Context, k store.Key, m string, w time.Duration) (int64, error) {
	return through(ctx, b.b, func() (int64, error) { return b.Ephemeral.Add(ctx, k, m, w) })
}

func (b brokenEphemeral) Members(ctx context.Context, k store.Key, w time.Duration, n int) ([]string, error) {
	return through(ctx, b.b, func() ([]string, error) { return b.Ephemeral.Members(ctx, k, w, n) })
}

func (b brokenEphemeral) Put(ctx context.Context, k store.Key, v []byte, ttl time.Duration) error {
	_, err := through(ctx, b.b, func() (int, error) { return 0, b.Ephemeral.Put(ctx, k, v, ttl) })
	return err
}

func (b brokenEphemeral) Get(ctx context.Context, k store.Key) ([]byte, error) {
	return through(ctx, b.b, func() ([]byte, error) { return b.Ephemeral.Get(ctx, k) })
}

func (b brokenEphemeral) Take(ctx context.Context, k store.Key) ([]byte, error) {
	return through(ctx, b.b, func() ([]byte, error) { return b.Ephemeral.Take(ctx, k) })
}

func (b brokenEphemeral) Delete(ctx context.Context, k store.Key) error {
	_, err := through(ctx, b.b, func() (int, error) { return 0, b.Ephemeral.Delete(ctx, k) })
	return err
}

type brokenBus struct {
	store.Bus
	b *broken
}

func (b brokenBus) Publish(ctx context.Context, topic string, msg []byte) error {
	_, err := through(ctx, b.b, func() (int, error) { return 0, b.Bus.Publish(ctx, topic, msg) })
	return err
}

// overBroken is a node of its own over what the stage keeps, with its store in between.
func (s *stage) overBroken(change func(*authcore.Options)) (*authcore.Core, *broken) {
	o := s.options
	b := &broken{Records: o.Records, Ephemeral: o.Ephemeral, Bus: o.Bus}
	o.Records, o.Ephemeral, o.Bus = brokenRecords{b}, brokenEphemeral{o.Ephemeral, b}, brokenBus{o.Bus, b}
	o.Node, o.StoreTime = "broken", authcore.DefaultStoreTime
	if change != nil {
		change(&o)
	}
	return authcore.New(o), b
}

var errRefused = fmt.Errorf("%w: connection refused", store.ErrUnavailable)

// hang is a store that never answers.
func hang(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(time.Minute):
		return errors.New("a call without a time of its own")
	}
}

// troubles are what can be wrong from the n-th call on, or with it alone.
func troubles(from int) map[string]trouble {
	return map[string]trouble{
		"hangs once": func(ctx context.Context, n int) (error, error) {
			return one(n == from, func() error { return hang(ctx) }), nil
		},
		"hangs": func(ctx context.Context, n int) (error, error) {
			return one(n >= from, func() error { return hang(ctx) }), nil
		},
		"refuses once": func(_ context.Context, n int) (error, error) {
			return one(n == from, func() error { return errRefused }), nil
		},
		"refuses": func(_ context.Context, n int) (error, error) {
			return one(n >= from, func() error { return errRefused }), nil
		},
		"unacknowledged": func(_ context.Context, n int) (error, error) {
			return nil, one(n == from, func() error { return errRefused })
		},
		"slow": func(ctx context.Context, n int) (error, error) {
			return one(n >= from, func() error {
				select {
				case <-time.After(time.Second):
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			}), nil
		},
	}
}

func one(is bool, f func() error) error {
	if !is {
		return nil
	}
	return f()
}

// try is one kind of attempt: what it comes to when nothing is wrong, and whether it is a wrong guess at the password of
// the member whose failures are looked at.
type try struct {
	state string
	do    func(ctx context.Context, c *authcore.Core) (authcore.Reason, error)
	want  authcore.Reason
	guess bool
}

func atDoor(s *stage, name, password string) func(context.Context, *authcore.Core) (authcore.Reason, error) {
	return func(ctx context.Context, c *authcore.Core) (authcore.Reason, error) {
		d, err := c.Authenticate(ctx, authtest.Attempt("imap", name, password))
		if d.Allowed() {
			c.Ended(ctx, d.Session, authcore.End{})
		}
		return d.Reason, err
	}
}

// onTheWeb is what the web answers, in the words of a door.
func onTheWeb(err error) (authcore.Reason, error) {
	var d *authcore.Denial
	switch {
	case err == nil:
		return authcore.Allowed, nil
	case errors.As(err, &d):
		return authcore.Reason(d.Reason), nil
	}
	return authcore.Unavailable, err
}

func onWeb(name, password string) func(context.Context, *authcore.Core) (authcore.Reason, error) {
	return func(ctx context.Context, c *authcore.Core) (authcore.Reason, error) {
		_, err := c.SignIn(ctx, authtest.Client(), name, secret.New(password))
		return onTheWeb(err)
	}
}

func tries(s *stage) map[string]try {
	return map[string]try{
		"right app password":       {"app-only", atDoor(s, s.address("app-only"), s.app("app-only")), authcore.Allowed, false},
		"wrong app password":       {"app-only", atDoor(s, s.address("app-only"), "wrong"), authcore.AppPasswordRequired, false},
		"right account password":   {"account", atDoor(s, s.address("account"), s.account("account")), authcore.Allowed, false},
		"wrong account password":   {"account", atDoor(s, s.address("account"), "wrong"), authcore.BadCredentials, true},
		"a name that nobody has":   {"account", atDoor(s, "nobody@old.example", "wrong"), authcore.BadCredentials, false},
		"a domain that nobody has": {"account", atDoor(s, "nobody@nowhere.example", "wrong"), authcore.BadCredentials, false},
		"a suspended member":       {"suspended", atDoor(s, s.address("suspended"), s.account("suspended")), authcore.BadCredentials, false},
		"the web, right":           {"account", onWeb(s.address("account"), s.account("account")), authcore.Allowed, false},
		"the web, wrong":           {"account", onWeb(s.address("account"), "wrong"), authcore.BadCredentials, true},
	}
}

// failures is how many wrong passwords are counted against a member.
func (s *stage) failures(t testing.TB, state string) int {
	t.Helper()
	p := s.profile(t, s.address(state))
	rec, err := s.options.Records.Get(t.Context(), lockout.Key(p.Domain.ID, p.Member.ID))
	if errors.Is(err, store.ErrNotFound) {
		return 0
	}
	var f lockout.Failures
	if err != nil || json.Unmarshal(rec.Value, &f) != nil {
		t.Fatal(err)
	}
	return f.Count
}

// Whatever is wrong with the store, at whichever of its calls: the client hears within two seconds that it may come
// again, or what it would have heard; what was not wrong is never counted, and what was told to be wrong always is.
func TestEveryAttemptHasATemporaryAnswerInTime(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *stage) {
		s.maxFailures(t, 0)
		for name, a := range tries(s) {
			healthy, b := s.overBroken(nil)
			if got, err := a.do(t.Context(), healthy); got != a.want {
				t.Fatalf("%s in a healthy store: %q, %v", name, got, err)
			}
			calls := int(b.n.Load())
			temporary := 0
			for n := range calls {
				for kind, what := range troubles(n) {
					if s.inTrouble(t, fmt.Sprintf("%s, call %d of %d %s", name, n, calls, kind), a, what) {
						temporary++
					}
				}
			}
			if temporary < 3*calls { // a few calls are not needed: to forgive a source, to tell others
				t.Errorf("%s: %d temporary answers to trouble at %d calls", name, temporary, calls)
			}
		}
	})
}

func (s *stage) inTrouble(t *testing.T, name string, a try, what trouble) (temporary bool) {
	t.Helper()
	s.clear(t, a.state)
	c, b := s.overBroken(nil)
	b.set(what)
	start := time.Now()
	got, err := a.do(t.Context(), c)
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("%s: told after %v", name, took)
	}
	counted := s.failures(t, a.state)
	switch {
	case got == authcore.Unavailable && !errors.Is(err, store.ErrUnavailable):
		t.Errorf("%s: %v is not the store's", name, err)
	case got != a.want && got != authcore.Unavailable:
		t.Errorf("%s: told %q, %v", name, got, err)
	case !a.guess && counted > 0:
		t.Errorf("%s: counted as a wrong password", name)
	case a.guess && got == a.want && counted == 0:
		t.Errorf("%s: told that it was wrong, and not counted", name)
	}
	b.set(nil)
	time.Sleep(15 * time.Second) // a lease that could not be given back has run out, and nothing is being written any more
	if again, err := a.do(t.Context(), c); again != a.want {
		t.Errorf("%s: when the trouble is over: %q, %v", name, again, err)
	}
	return got == authcore.Unavailable
}

// clear forgets what was counted against a member.
func (s *stage) clear(t testing.TB, state string) {
	t.Helper()
	p := s.profile(t, s.address(state))
	op := store.Op{Kind: store.Delete, Name: lockout.Key(p.Domain.ID, p.Member.ID).Name, IfRevision: store.AnyRevision}
	if _, err := s.options.Records.Apply(t.Context(), member.Partition(p.Domain.ID), op); err != nil {
		t.Fatal(err)
	}
}

// A lease is given back at once by whoever could not go on, unless that failed too.
func TestOutageGivesLeasesBack(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *stage) {
		c, b := s.overBroken(nil)
		right := atDoor(s, s.address("account"), s.account("account"))
		if _, err := right(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		calls := int(b.n.Load())
		for n := range calls {
			c, b := s.overBroken(nil)
			b.set(troubles(n)["refuses once"])
			if got, _ := right(t.Context(), c); got == authcore.Unavailable {
				b.set(nil)
				if got, err := right(t.Context(), c); got != authcore.Allowed {
					t.Errorf("after call %d: %q, %v", n, got, err)
				}
			}
		}
	})
}

// The second step of a sign-in keeps to it as well.
func TestTheSecondStepHasATemporaryAnswerInTime(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *stage) {
		a := s.Actor(t, "account")
		key := s.withApp(t, a)
		tickets := 0
		step := func(ctx context.Context, c *authcore.Core, code secret.String) error {
			tickets++
			return c.TrySecondStep(c.Rationed(ctx), a.Client, fmt.Sprint("ticket ", tickets), a.Domain, a.Member, signin.ByApp, code)
		}
		time.Sleep(10 * time.Minute)
		c, b := s.overBroken(nil)
		if err := step(t.Context(), c, s.codeNow(t, key, 0)); err != nil {
			t.Fatal(err)
		}
		for n := range int(b.n.Load()) {
			for kind, what := range troubles(n) {
				time.Sleep(25 * time.Hour) // a try is counted before it is looked at, and trouble costs one of the day's
				c, b := s.overBroken(nil)
				b.set(what)
				start := time.Now()
				err := step(t.Context(), c, s.codeNow(t, key, 0))
				if took := time.Since(start); took > 2*time.Second || err != nil && !errors.Is(err, store.ErrUnavailable) {
					t.Errorf("call %d %s: %v after %v", n, kind, err, took)
				}
			}
		}
	})
}

// What goes on beside the attempts asks a store that is away a few times a second at most, whatever waits to be written,
// and nothing that waits is lost.
func TestNothingIsAskedInHasteOfAStoreThatIsAway(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *stage) {
		var away atomic.Bool
		c, b := s.overBroken(func(o *authcore.Options) { o.KeepOutbox = false })
		b.set(func(context.Context, int) (error, error) {
			return one(away.Load(), func() error { return errRefused }), nil
		})
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- c.Run(ctx) }()
		defer func() { stop(); <-done }()
		time.Sleep(time.Second)
		right := map[string]bool{"app-only": true, "opted-in": true, "two-step": true}
		for state := range right {
			if got, err := atDoor(s, s.address(state), s.app(state))(t.Context(), c); got != authcore.Allowed {
				t.Fatal(got, err)
			}
		}
		away.Store(true)
		before := b.n.Load()
		const minutes = 10
		time.Sleep(minutes * time.Minute)
		if calls := b.n.Load() - before; calls > minutes*60*5 {
			t.Errorf("%d calls in %d minutes", calls, minutes)
		}
		away.Store(false)
		time.Sleep(2 * time.Minute)
		for state := range right {
			l, err := s.AppPasswordsOf(t.Context(), authtest.Operator(), s.address(state))
			if err != nil || len(l) == 0 || l[0].Use == nil {
				t.Errorf("%s: the use that waited is lost: %+v, %v", state, l, err)
			}
		}
	})
}
