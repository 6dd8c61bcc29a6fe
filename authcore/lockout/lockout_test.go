package lockout

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/authcore/store"
	"latchkey/authcore/store/memory"
	"latchkey/authcore/store/storetest"
)

var noon = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

func TestWrong(t *testing.T) {
	c := Case{Limit: 3, Password: 1, Known: true, Now: noon}
	var f Failures
	for i, step := range []struct {
		print            string
		c                Case
		counted, suspend bool
		count            int
	}{
		{"a", c, true, false, 1},
		{"a", c, false, false, 1},
		{"b", c, true, false, 2},
		{"a", c, false, false, 2},
		{"c", Case{Limit: 3, Password: 2, Known: true, Now: noon}, true, false, 1}, // of a new password
		{"a", Case{Limit: 3, Password: 2, Known: true, Now: noon}, true, false, 2},
		{"b", Case{Limit: 3, Password: 2, Known: true, Now: noon, Slowed: true}, true, false, 3},
		{"d", Case{Limit: 0, Password: 2, Known: true, Now: noon}, true, false, 4},
		{"e", Case{Limit: 3, Password: 2, Known: true, Now: noon}, true, true, 5},
	} {
		next, counted, suspend := f.Wrong(step.print, step.c)
		if counted != step.counted || suspend != step.suspend || next.Count != step.count {
			t.Errorf("step %d, %q: counted %v, suspend %v, count %d, want %+v", i, step.print, counted, suspend, next.Count, step)
		}
		f = next
	}
}

func TestWhatIsRememberedIsBounded(t *testing.T) {
	var f Failures
	for i := range 1000 {
		f, _, _ = f.Wrong(fmt.Sprint(i), Case{Password: 1, Now: noon})
	}
	if len(f.Seen) != maxSeen || len(f.Day) != DayLimit {
		t.Errorf("%d seen, %d of the day", len(f.Seen), len(f.Day))
	}
}

// Wrong changes a copy: a settling that conflicts begins anew from what it read.
func TestWrongLeavesTheRecordAlone(t *testing.T) {
	f := Failures{Count: 1, Password: 1, Seen: make([]string, 1, 8), Day: make([]Mark, 1, 8)}
	f.Seen[0], f.Day[0] = "a", Mark{"a", noon.Unix()}
	one, _, _ := f.Wrong("b", Case{Password: 1, Now: noon})
	two, _, _ := f.Wrong("c", Case{Password: 1, Now: noon})
	if one.Seen[1] != "b" || two.Seen[1] != "c" || one.Day[1].Print != "b" || len(f.Seen) != 1 {
		t.Errorf("one %v, two %v", one, two)
	}
}

func TestMay(t *testing.T) {
	full := Failures{Password: 1, Count: 3, Seen: []string{"a", "b", "c"}}
	var busy Failures
	for i := range DayLimit {
		busy, _, _ = busy.Wrong(fmt.Sprint(i), Case{Password: 1, Now: noon.Add(time.Duration(i) * time.Second)})
	}
	after := func(f Failures, known bool) Failures {
		next, _, _ := f.May(Case{Limit: 3, Password: 1, Known: known, Slowed: true, Now: noon})
		return next
	}
	for _, c := range []struct {
		name  string
		f     Failures
		c     Case
		grant bool
		wait  time.Duration
	}{
		{"nothing yet", Failures{}, Case{Limit: 3, Now: noon}, false, 0},
		{"below N", Failures{Password: 1, Count: 2}, Case{Limit: 3, Password: 1, Slowed: true, Now: noon}, false, 0},
		{"slowed, first from a known source", full, Case{Limit: 3, Password: 1, Known: true, Slowed: true, Now: noon}, true, 0},
		{"slowed, half a minute later", after(full, true), Case{Limit: 3, Password: 1, Known: true, Slowed: true, Now: noon.Add(30 * time.Second)}, false, 30 * time.Second},
		{"slowed, a minute later", after(full, true), Case{Limit: 3, Password: 1, Known: true, Slowed: true, Now: noon.Add(time.Minute)}, true, 0},
		{"slowed, an unknown source beside", after(full, true), Case{Limit: 3, Password: 1, Slowed: true, Now: noon}, true, 0},
		{"slowed, another unknown source", after(full, false), Case{Limit: 3, Password: 1, Slowed: true, Now: noon.Add(time.Minute)}, false, 14 * time.Minute},
		{"slowed, a known source beside unknown ones", after(full, false), Case{Limit: 3, Password: 1, Known: true, Slowed: true, Now: noon}, true, 0},
		{"a new password", full, Case{Limit: 3, Password: 2, Slowed: true, Now: noon}, false, 0},
		{"without a limit", full, Case{Password: 1, Slowed: true, Now: noon}, false, 0},
		{"the day is full, unknown", busy, Case{Password: 1, Now: noon.Add(2 * time.Hour)}, false, 22 * time.Hour},
		{"the day is full, known", busy, Case{Password: 1, Known: true, Now: noon.Add(2 * time.Hour)}, false, 0},
		{"the day is over for the first", busy, Case{Password: 1, Now: noon.Add(24 * time.Hour)}, false, 0},
		{"the day is full, whatever the password", busy, Case{Password: 2, Now: noon.Add(2 * time.Hour)}, false, 22 * time.Hour},
	} {
		if _, grant, wait := c.f.May(c.c); grant != c.grant || wait != c.wait {
			t.Errorf("%s: grant %v, wait %v, want %v, %v", c.name, grant, wait, c.grant, c.wait)
		}
	}
}

// A clock that was years ahead and is right again holds nobody longer than every other member.
func TestWhatAClockFarAheadWroteIsForgotten(t *testing.T) {
	full, far := Failures{Password: 1, Count: 3}, noon.AddDate(4, 0, 0)
	full.Known, full.Other = far, far
	for i := range DayLimit {
		full.Day = append(full.Day, Mark{fmt.Sprint(i), far.Unix()})
	}
	for _, known := range []bool{true, false} {
		c := Case{Limit: 3, Password: 1, Known: known, Slowed: true, Now: noon}
		next, grant, wait := full.May(c)
		if !grant || wait > 0 || len(next.Day) > 0 {
			t.Errorf("known %v: grant %v, wait %v, %d of the day", known, grant, wait, len(next.Day))
		}
		every := EveryOther
		if known {
			every = EveryKnown
		}
		if _, grant, wait := next.May(c); grant || wait != every {
			t.Errorf("known %v, at once again: grant %v, wait %v", known, grant, wait)
		}
	}
	if next, _, _ := full.Wrong("x", Case{Password: 1, Now: noon}); len(next.Day) != 1 {
		t.Errorf("%d of the day are kept beside a new one", len(next.Day))
	}
}

// Nodes whose clocks are hours apart count together: who goes to them in turn guesses no more than at one.
func TestClocksApartGiveNoMoreGuesses(t *testing.T) {
	for _, apart := range []time.Duration{time.Minute, 5 * time.Minute, 9 * time.Hour, 23 * time.Hour} {
		var f Failures
		guessed := 0
		for i := range 4 * DayLimit {
			c := Case{Password: 1, Now: noon.Add(time.Duration(i%2) * apart)}
			if _, _, wait := f.May(c); wait > 0 {
				continue
			}
			f, _, _ = f.Wrong(fmt.Sprint(i), c)
			guessed++
		}
		if guessed != DayLimit {
			t.Errorf("clocks %v apart: %d guesses, want %d", apart, guessed, DayLimit)
		}
		slowed, granted := Failures{Password: 1, Count: 3}, 0
		for i := range 8 {
			next, grant, _ := slowed.May(Case{Limit: 3, Password: 1, Slowed: true, Now: noon.Add(time.Duration((i+1)%2) * apart)})
			if grant {
				slowed = next
				granted++
			}
		}
		if granted != 1 {
			t.Errorf("clocks %v apart: %d verifications are granted to a slowed member, want 1", apart, granted)
		}
	}
}

// The wait is until the first mark ends, whatever clock wrote it.
func TestTheOldestMarkEndsFirst(t *testing.T) {
	f := Failures{Day: []Mark{{"ahead", noon.Add(9 * time.Hour).Unix()}}}
	for i := range DayLimit - 1 {
		f.Day = append(f.Day, Mark{fmt.Sprint(i), noon.Unix()})
	}
	if _, _, wait := f.May(Case{Password: 1, Now: noon}); wait != day {
		t.Errorf("wait %v, want %v", wait, day)
	}
	if next, _, wait := f.May(Case{Password: 1, Now: noon.Add(day)}); wait > 0 || len(next.Day) != 1 {
		t.Errorf("a day later: wait %v, %d of the day", wait, len(next.Day))
	}
}

func TestRight(t *testing.T) {
	c := Case{Limit: 3, Password: 1, Now: noon}
	if _, changed := (Failures{}).Right(c); changed {
		t.Error("there is nothing to write and it is written")
	}
	f, _, _ := Failures{}.Wrong("a", c)
	next, changed := f.Right(c)
	if !changed || next.Count != 0 || len(next.Seen) != 0 || len(next.Day) != 1 {
		t.Errorf("changed %v, %+v", changed, next)
	}
}

func TestSource(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.7": "192.0.2.7", "::ffff:192.0.2.7": "192.0.2.7", "2001:db8:1:2:3::4": "2001:db8:1:2::/64", "fe80::1%eth0": "fe80::/64",
	} {
		if got := Source(netip.MustParseAddr(in)); got != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
	if Source(netip.Addr{}) == Source(netip.MustParseAddr("0.0.0.0")) {
		t.Error("no address is taken for one")
	}
}

func TestSourcesAreBoundedAndForgotten(t *testing.T) {
	var s *Sources
	for i := range 200 {
		next, changed := s.With(fmt.Sprint("source ", i), noon.Add(time.Duration(i)*time.Minute))
		if !changed {
			t.Fatal("a new source is not kept")
		}
		s = &next
	}
	if len(s.Items) != maxSources || !s.Knows("source 199", noon.Add(time.Hour)) || s.Knows("source 1", noon) {
		t.Errorf("%d kept", len(s.Items))
	}
	if _, changed := s.With("source 199", noon.Add(200*time.Minute)); changed {
		t.Error("written again within a day")
	}
	if s.Knows("source 199", noon.Add(199*time.Minute+KnownFor)) {
		t.Error("known after thirty days")
	}
}

func TestLeasesExcludeAcrossNodes(t *testing.T) {
	records := memory.NewRecords(memory.Options{})
	nodes := []*Leases{{Records: records, Now: time.Now}, {Records: records, Now: time.Now}}
	var inside, most atomic.Int32
	var wg sync.WaitGroup
	for i := range 10 {
		wg.Go(func() {
			lease, err := nodes[i%2].Take(t.Context(), "p", "name", false)
			if errors.Is(err, ErrHeld) {
				return
			}
			if err != nil {
				t.Error(err)
				return
			}
			if n := inside.Add(1); n > most.Load() {
				most.Store(n)
			}
			inside.Add(-1)
			lease.Release(t.Context())
		})
	}
	wg.Wait()
	if most.Load() != 1 || len(nodes[0].local)+len(nodes[1].local) != 0 {
		t.Errorf("%d at once; %d and %d queues are left", most.Load(), len(nodes[0].local), len(nodes[1].local))
	}
}

func TestHeldLeaseEndsTheWaitAfterTwoSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		records := memory.NewRecords(memory.Options{})
		l := &Leases{Records: records, Now: time.Now}
		first, err := l.Take(t.Context(), "p", "name", false)
		if err != nil {
			t.Fatal(err)
		}
		for _, other := range []*Leases{l, {Records: records, Now: time.Now}} {
			start := time.Now()
			if _, err := other.Take(t.Context(), "p", "name", false); !errors.Is(err, ErrHeld) || time.Since(start) != LeaseWait {
				t.Errorf("%v after %v", err, time.Since(start))
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := l.Take(ctx, "p", "name", false); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a client that is gone: %v", err)
		}
		first.Release(t.Context())
		if _, err := l.Take(t.Context(), "p", "name", false); err != nil {
			t.Errorf("after the release: %v", err)
		}
	})
}

func TestLeaseRunsOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		records := memory.NewRecords(memory.Options{})
		died, next := &Leases{Records: records, Now: time.Now}, &Leases{Records: records, Now: time.Now}
		lost, err := died.Take(t.Context(), "p", "name", false)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(LeaseFor + leaseRoom)
		if held, err := lost.Held(t.Context()); held || err != nil {
			t.Errorf("held %v, %v after its time", held, err)
		}
		mine, err := next.Take(t.Context(), "p", "name", false)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := records.Apply(t.Context(), "p", lost.Settle()); !errors.Is(err, store.ErrConflict) {
			t.Errorf("the lost lease settles: %v", err)
		}
		lost.Release(t.Context())
		if held, err := mine.Held(t.Context()); !held || err != nil {
			t.Errorf("giving up the lost one took the other: held %v, %v", held, err)
		}
	})
}

// The store ends a record by its own clock.
func TestLeaseHoldsWhereTheClocksDiffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ahead := func() time.Time { return time.Now().Add(leaseRoom) }
		l := &Leases{Records: memory.NewRecords(memory.Options{Now: ahead}), Now: time.Now}
		lease, err := l.Take(t.Context(), "p", "name", false)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(LeaseFor - time.Millisecond)
		if held, err := lease.Held(t.Context()); !held || err != nil || lease.Left() != time.Millisecond {
			t.Errorf("held %v, %v, with %v left", held, err, lease.Left())
		}
	})
}

// A client that hangs up while the lease is written leaves none behind.
func TestHangingUpLeavesNoLease(t *testing.T) {
	records := memory.NewRecords(memory.Options{})
	ctx, hangUp := context.WithCancel(t.Context())
	l := &Leases{Now: time.Now, Records: &storetest.Faulty{Records: records, OnApply: func(string, []store.Op) storetest.Fault {
		hangUp()
		return storetest.NoFault
	}}}
	if _, err := l.Take(ctx, "p", "name", false); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if left, err := records.List(t.Context(), "p", store.Query{}); err != nil || len(left) > 0 || len(l.local) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// The member's own program does not wait behind a crowd of strangers.
func TestKnownSourcesGoFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &Leases{Records: memory.NewRecords(memory.Options{}), Now: time.Now}
		held, err := l.Take(t.Context(), "p", "name", false)
		if err != nil {
			t.Fatal(err)
		}
		order := make(chan bool, 11)
		var wait sync.WaitGroup
		take := func(known bool) {
			wait.Go(func() {
				lease, err := l.Take(t.Context(), "p", "name", known)
				if err != nil {
					t.Error(err)
					return
				}
				order <- known
				lease.Release(t.Context())
			})
			synctest.Wait()
		}
		for range 10 {
			take(false)
		}
		take(true)
		held.Release(t.Context())
		wait.Wait()
		if !<-order {
			t.Error("a stranger who came first went first")
		}
		if len(order) != 10 || len(l.local) != 0 {
			t.Errorf("%d others went, %d turns are kept", len(order), len(l.local))
		}
	})
}
