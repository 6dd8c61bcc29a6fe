package authcore_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/authtest"
	"latchkey/authcore/member"
	"latchkey/authcore/sample"
	"latchkey/authcore/store"
	"latchkey/authcore/store/memory"
	"latchkey/authcore/store/sqlite"
	"latchkey/authcore/store/storetest"
	"latchkey/policy"
)

// A stage is a Core whose records are counted and fail on demand.
type stage struct {
	*authtest.Core
	options authcore.Options
	counts  *storetest.Counting
	onApply atomic.Pointer[func(partition string, ops []store.Op) storetest.Fault]
}

func newStage(t testing.TB, change func(*authcore.Options)) *stage {
	t.Helper()
	s := &stage{}
	s.Core = authtest.New(t, func(o *authcore.Options) {
		if change != nil {
			change(o)
		}
		faulty := &storetest.Faulty{Records: o.Records, OnApply: func(p string, ops []store.Op) storetest.Fault {
			if f := s.onApply.Load(); f != nil {
				return (*f)(p, ops)
			}
			return storetest.NoFault
		}}
		s.counts = &storetest.Counting{Records: faulty}
		o.Records = s.counts
		s.options = *o
	})
	return s
}

// fail sets what happens to each Apply; nil: nothing.
func (s *stage) fail(f func(partition string, ops []store.Op) storetest.Fault) {
	if f == nil {
		s.onApply.Store(nil)
		return
	}
	s.onApply.Store(&f)
}

// onSQLite puts the records of a test into a file.
func onSQLite(t testing.TB) func(*authcore.Options) {
	return func(o *authcore.Options) {
		db, err := sqlite.Open(t.Context(), sqlite.Options{Dir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		o.Records = db
	}
}

// sampleDay is when the simulated time of inBubble begins: after every domain of the sample was created.
var sampleDay = time.Date(2026, 5, 4, 9, 0, 0, 0, time.UTC)

// inBubble runs f with simulated time that begins at sampleDay.
func inBubble(t *testing.T, change func(*authcore.Options), f func(t *testing.T, s *stage)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ahead := time.Until(sampleDay)
		now := func() time.Time { return time.Now().Add(ahead) }
		f(t, newStage(t, func(o *authcore.Options) {
			o.Now = now
			o.Records, o.Ephemeral = memory.NewRecords(memory.Options{Now: now}), memory.NewEphemeral(memory.Options{Now: now})
			if change != nil {
				change(o)
			}
		}))
	})
}

// restart is a new Core over the same records, with nothing in its memory.
func (s *stage) restart() *authcore.Core {
	o := s.options
	o.Ephemeral, o.Bus, o.Node = memory.NewEphemeral(memory.Options{Now: o.Now}), memory.NewBus(), ""
	return authcore.New(o)
}

const (
	here  = "192.0.2.10" // authtest.Client
	there = "198.51.100.7"
)

// source is the n-th of many networks, so that no throttle by source comes in between.
func source(n int) string { return fmt.Sprintf("203.0.%d.%d", 100+n/250, 1+n%250) }

func (s *stage) from(t testing.TB, from, door, name, password string) authcore.Decision {
	t.Helper()
	d, err := s.Authenticate(t.Context(), authtest.AttemptFrom(from, door, name, password))
	if err != nil {
		t.Fatalf("%s at %s from %s: %v", name, door, from, err)
	}
	return d
}

func (s *stage) try(t testing.TB, name, password string) authcore.Reason {
	t.Helper()
	return s.from(t, here, "imap", name, password).Reason
}

func (s *stage) address(state string) string { return s.People[state].Address }
func (s *stage) account(state string) string { return s.People[state].Account.Reveal() }
func (s *stage) app(state string) string     { return s.People[state].AppPasswords[0].Secret.Reveal() }

func (s *stage) profile(t testing.TB, address string) authcore.Profile {
	t.Helper()
	p, err := s.MemberOf(t.Context(), authtest.Operator(), address)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (s *stage) status(t testing.TB, address string) member.Status {
	t.Helper()
	return s.profile(t, address).Member.Status
}

// policy changes the policy of a domain.
func (s *stage) policy(t testing.TB, domain string, change func(*policy.Policy)) {
	t.Helper()
	p, rev, err := s.Policy(t.Context(), authtest.Operator(), domain)
	if err != nil {
		t.Fatal(err)
	}
	change(&p)
	if _, err := s.SetPolicy(t.Context(), authtest.Operator(), domain, p, rev); err != nil {
		t.Fatal(err)
	}
}

func (s *stage) maxFailures(t testing.TB, n int) {
	t.Helper()
	s.policy(t, sample.Old, func(p *policy.Policy) { p.Password.MaxFailures = n })
}

func (s *stage) domain(t testing.TB, name string) *member.Domain {
	t.Helper()
	v, err := s.Domain(t.Context(), authtest.Operator(), name)
	if err != nil {
		t.Fatal(err)
	}
	return v.Domain
}

// aliases gives a member further addresses.
func (s *stage) aliases(t testing.TB, address string, aliases ...string) {
	t.Helper()
	if _, err := s.UpdateMember(t.Context(), authtest.Operator(), address, authcore.MemberChange{Aliases: &aliases}, 0); err != nil {
		t.Fatal(err)
	}
}

func denied(err error, want authcore.DenialReason) bool {
	var d *authcore.Denial
	return errors.As(err, &d) && d.Reason == want
}

// all reads every record of a domain.
func (s *stage) all(t testing.TB, domain, prefix string) []store.Record {
	t.Helper()
	l, err := s.options.Records.List(context.Background(), member.Partition(s.domain(t, domain).ID), store.Query{Prefix: prefix})
	if err != nil {
		t.Fatal(err)
	}
	return l
}
