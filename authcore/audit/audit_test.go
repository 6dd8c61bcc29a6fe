package audit

import (
	"context"
	"errors"
	"fmt"
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

func entry(at time.Time, target string) Entry {
	return Entry{Time: at, Action: SignIn, Reason: "bad_credentials", Target: target, Actor: "Ann@example.org", Door: "imap"}
}

func list(t *testing.T, r store.Records, f Filter) (l []Entry) {
	t.Helper()
	after := ""
	for {
		part, next, err := List(t.Context(), r, "p", f, after, 3)
		if err != nil {
			t.Fatal(err)
		}
		if l = append(l, part...); next == "" {
			return l
		}
		after = next
	}
}

func fresh() *memory.Records {
	return memory.NewRecords(memory.Options{Now: func() time.Time { return noon }})
}

func TestPagingAnswersEachOnce(t *testing.T) {
	r := fresh()
	for i := range 20 {
		if _, err := r.Apply(t.Context(), "p", Op(entry(noon.Add(time.Duration(i)*time.Hour), fmt.Sprint(i)))); err != nil {
			t.Fatal(err)
		}
	}
	l := list(t, r, Filter{})
	if len(l) != 20 {
		t.Fatalf("%d entries", len(l))
	}
	for i, e := range l {
		if e.Target != fmt.Sprint(19-i) || e.Count != 1 || e.ID == "" {
			t.Errorf("entry %d: %+v", i, e)
		}
	}
	for _, c := range []struct {
		name string
		f    Filter
		want int
	}{
		{"from", Filter{From: noon.Add(15 * time.Hour)}, 5},
		{"to", Filter{To: noon.Add(5 * time.Hour)}, 5},
		{"text of the actor", Filter{Text: "ann@"}, 20},
		{"text of nobody", Filter{Text: "bob"}, 0},
		{"action", Filter{Actions: []Action{SignOut}}, 0},
		{"reason", Filter{Reasons: []string{"allowed", "bad_credentials"}}, 20},
	} {
		if got := list(t, r, c.f); len(got) != c.want {
			t.Errorf("%s: %d entries, want %d", c.name, len(got), c.want)
		}
	}
}

func TestCorruptEntryIsNamed(t *testing.T) {
	r := fresh()
	op := Op(entry(noon, "x"))
	op.Value = []byte("{")
	if _, err := r.Apply(t.Context(), "p", op); err != nil {
		t.Fatal(err)
	}
	if _, _, err := List(t.Context(), r, "p", Filter{}, "", 10); !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("got %v", err)
	}
}

// A storm of equal entries is one write and one record; each caller hears when it is durable.
func TestMergerCountsAStorm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		counts := &storetest.Counting{Records: fresh()}
		m := &Merger{Records: counts}
		var wg sync.WaitGroup
		for i := range 500 {
			wg.Go(func() {
				if err := m.Add(t.Context(), "p", entry(noon.Add(time.Duration(i)), "ann"), "key", time.Hour); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if got := counts.Take(); got.Applies != 1 {
			t.Errorf("%+v", got)
		}
		if l := list(t, counts, Filter{}); len(l) != 1 || l[0].Count != 500 {
			t.Errorf("got %+v", l)
		}
	})
}

func TestMergerKeepsTheStepsApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := fresh()
		m := &Merger{Records: r}
		for _, minute := range []int{5, 59, 60, 61, 119, 120} {
			for _, key := range []string{"a", "b"} {
				if err := m.Add(t.Context(), "p", entry(noon.Add(time.Duration(minute)*time.Minute), key), key, time.Hour); err != nil {
					t.Fatal(err)
				}
			}
		}
		var got []string
		for _, e := range list(t, r, Filter{}) {
			if e.Target == "a" {
				got = append(got, fmt.Sprintf("%s-%s %d", e.Time.Format("15:04"), e.Last.Format("15:04"), e.Count))
			}
		}
		if want := "[14:00-14:00 1 13:00-13:59 3 12:05-12:59 2]"; fmt.Sprint(got) != want {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}

// Two nodes that see the same attempt write one record or two, and lose no count.
func TestMergersOfTwoNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := fresh()
		nodes := []*Merger{{Records: r}, {Records: r}}
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() {
				if err := nodes[i%2].Add(t.Context(), "p", entry(noon, "ann"), "key", time.Hour); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		n := 0
		for _, e := range list(t, r, Filter{}) {
			n += e.Count
		}
		if n != 100 {
			t.Errorf("%d counted of 100", n)
		}
	})
}

// A store that is slower than the storm: the rounds do not meet in the record that all entries go to.
func TestRoundsAreWrittenOneAfterTheOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := fresh()
		var writing, most, writes atomic.Int64
		m := &Merger{Records: &storetest.Faulty{Records: r, OnApply: func(string, []store.Op) storetest.Fault {
			most.Store(max(most.Load(), writing.Add(1)))
			time.Sleep(300 * time.Millisecond)
			writing.Add(-1)
			writes.Add(1)
			return storetest.NoFault
		}}}
		const n = 100
		var all sync.WaitGroup
		for range n {
			all.Go(func() {
				if err := m.Add(t.Context(), "p", entry(noon, "ann"), "k", time.Minute); err != nil {
					t.Error(err)
				}
			})
			time.Sleep(10 * time.Millisecond)
		}
		all.Wait()
		if l := list(t, r, Filter{}); len(l) != 1 || l[0].Count != n {
			t.Errorf("%+v, want one entry that counts %d", l, n)
		}
		if most.Load() != 1 || writes.Load() > 10 {
			t.Errorf("%d writes, %d at once, want few, one at a time", writes.Load(), most.Load())
		}
	})
}

func TestMergerTellsFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, fault := range []storetest.Fault{storetest.FailBefore, storetest.FailAfter} {
			m := &Merger{Records: &storetest.Faulty{Records: fresh(), OnApply: func(string, []store.Op) storetest.Fault { return fault }}}
			var wg sync.WaitGroup
			for range 5 {
				wg.Go(func() {
					if err := m.Add(t.Context(), "p", entry(noon, "ann"), "key", time.Hour); !errors.Is(err, store.ErrUnavailable) {
						t.Errorf("%v: got %v", fault, err)
					}
				})
			}
			wg.Wait()
		}
	})
}

// The first caller's client hanging up loses nobody's entry; a store that hangs ends the round.
func TestMergerOutlivesItsFirstClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := fresh()
		m := &Merger{Records: r}
		ctx, hangUp := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { _ = m.Add(ctx, "p", entry(noon, "ann"), "key", time.Hour) })
		synctest.Wait()
		wg.Go(func() {
			if err := m.Add(t.Context(), "p", entry(noon, "ann"), "key", time.Hour); err != nil {
				t.Error(err)
			}
		})
		hangUp()
		wg.Wait()
		if l := list(t, r, Filter{}); len(l) != 1 || l[0].Count != 2 {
			t.Errorf("got %+v", l)
		}
		hanging := &Merger{Records: hangs{r}}
		if err := hanging.Add(t.Context(), "p", entry(noon, "bob"), "key", time.Hour); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a store that hangs: %v", err)
		}
	})
}

// hangs answers no Apply before its context ends.
type hangs struct{ store.Records }

func (hangs) Apply(ctx context.Context, _ string, _ ...store.Op) (int64, error) {
	<-ctx.Done()
	return 0, ctx.Err()
}

func TestMergerIsBounded(t *testing.T) {
	m := &Merger{Records: fresh(), Gather: time.Nanosecond}
	for i := range maxSteps + 100 {
		m.mu.Lock()
		m.record("p", noon.Add(time.Duration(i)*time.Millisecond), fmt.Sprint(i), time.Hour)
		m.mu.Unlock()
	}
	if len(m.steps) > maxSteps {
		t.Errorf("%d steps are remembered", len(m.steps))
	}
	a := m.record("p", noon.Add(50*time.Hour), "x", time.Hour)
	if b := m.record("p", noon.Add(50*time.Hour+time.Minute), "x", time.Hour); a != b {
		t.Errorf("%v and %v", a, b)
	}
}

// Entries stay as long as is asked for; other records are let alone.
func TestKept(t *testing.T) {
	now := noon
	r := memory.NewRecords(memory.Options{Now: func() time.Time { return now }})
	k := Kept{Records: r, For: 10 * 24 * time.Hour}
	other := store.Op{Kind: store.Put, Name: "other", Value: []byte("{}"), ExpiresAt: noon.Add(20 * 24 * time.Hour)}
	if _, err := k.Apply(t.Context(), "p", Op(entry(noon, "ann")), other); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		days          int
		audit, others int
	}{{9, 1, 1}, {11, 0, 1}, {21, 0, 0}} {
		now = noon.Add(time.Duration(c.days) * 24 * time.Hour)
		others, err := r.List(t.Context(), "p", store.Query{Prefix: "other"})
		if l := list(t, r, Filter{}); len(l) != c.audit || len(others) != c.others || err != nil {
			t.Errorf("after %d days: %d entries, %d others, %v", c.days, len(l), len(others), err)
		}
	}
}
