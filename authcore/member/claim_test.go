package member_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/authcore/member"
	"latchkey/authcore/store"
	"latchkey/authcore/store/cache"
	"latchkey/authcore/store/memory"
	"latchkey/authcore/store/sqlite"
	"latchkey/authcore/store/storetest"
)

// registry is claims beside members that name their values in records of their own.
type registry struct {
	member.Claims
	faulty *storetest.Faulty
	step   atomic.Int64 // of the writes
	failAt int64        // which write fails; 0: none
	fault  storetest.Fault
}

const kind, value = "phone", "+819012345678"

func newRegistry(records store.Records) *registry {
	r := &registry{}
	r.faulty = &storetest.Faulty{Records: records, OnApply: func(string, []store.Op) storetest.Fault {
		if n := r.step.Add(1); n == r.failAt {
			return r.fault
		}
		return storetest.NoFault
	}}
	r.Claims = member.Claims{Records: r.faulty, Now: time.Now, Names: r.names}
	return r
}

type named struct {
	Value string `json:"value"`
}

func nameKey(d member.DomainID, id member.ID) store.Key {
	return store.Key{Partition: member.Partition(d), Name: "named/" + string(id)}
}

func (r *registry) names(ctx context.Context, d member.DomainID, id member.ID, k, v string) (bool, error) {
	n, _, err := cache.ReadDirect[named](ctx, r.faulty, nameKey(d, id))
	return n != nil && n.Value == v && k == kind, err
}

// link does the three steps; where Confirm says that the value is another's, the record goes again.
func (r *registry) link(ctx context.Context, d member.DomainID, id member.ID) error {
	if err := r.Take(ctx, kind, value, d, id); err != nil {
		return err
	}
	if err := r.name(ctx, d, id); err != nil {
		return err
	}
	err := r.Confirm(ctx, kind, value, d, id)
	if errors.Is(err, member.ErrClaimed) {
		return errors.Join(err, r.unname(ctx, d, id))
	}
	return err
}

func (r *registry) name(ctx context.Context, d member.DomainID, id member.ID) error {
	_, err := r.faulty.Apply(ctx, member.Partition(d), member.PutOp(nameKey(d, id), named{value}, store.AnyRevision))
	return err
}

func (r *registry) unname(ctx context.Context, d member.DomainID, id member.ID) error {
	_, err := r.faulty.Apply(ctx, member.Partition(d), store.Op{Kind: store.Delete, Name: nameKey(d, id).Name, IfRevision: store.AnyRevision})
	return err
}

func (r *registry) unlink(ctx context.Context, d member.DomainID, id member.ID) error {
	if err := r.unname(ctx, d, id); err != nil {
		return err
	}
	return r.Drop(ctx, kind, value, d, id)
}

func (r *registry) holder(t *testing.T) member.ID {
	t.Helper()
	h, err := r.Holder(t.Context(), kind, value)
	if err != nil {
		t.Fatal(err)
	}
	if h == nil {
		return ""
	}
	return h.Member
}

func onEngines(t *testing.T, f func(t *testing.T, records store.Records)) {
	t.Run("memory", func(t *testing.T) { f(t, memory.NewRecords(memory.Options{})) })
	t.Run("sqlite", func(t *testing.T) {
		db, err := sqlite.Open(t.Context(), sqlite.Options{Dir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		f(t, db)
	})
}

// Of a hundred members of many domains that take one value at once one gets it, and his record alone names it.
func TestClaimRace(t *testing.T) {
	onEngines(t, func(t *testing.T, records store.Records) {
		r := newRegistry(records)
		got := make([]error, 100)
		var wg sync.WaitGroup
		for i := range got {
			wg.Go(func() { got[i] = r.link(t.Context(), domain(i%7), id(i)) })
		}
		wg.Wait()
		winner := r.holder(t)
		for i, err := range got {
			named, nerr := r.names(t.Context(), domain(i%7), id(i), kind, value)
			if nerr != nil {
				t.Fatal(nerr)
			}
			if won := id(i) == winner; won != (err == nil) || won != named || !won && !errors.Is(err, member.ErrClaimed) {
				t.Errorf("%s: %v, names it %v; the holder is %q", id(i), err, named, winner)
			}
		}
	})
}

// Another takes the value after the first has seen that it is free, and before she writes.
func TestClaimTakenInBetween(t *testing.T) {
	onEngines(t, func(t *testing.T, records store.Records) {
		r, other := newRegistry(records), newRegistry(records)
		var once sync.Once
		r.faulty.OnApply = func(string, []store.Op) storetest.Fault {
			once.Do(func() {
				if err := other.link(t.Context(), "e", "bob"); err != nil {
					t.Error(err)
				}
			})
			return storetest.NoFault
		}
		if err := r.link(t.Context(), "d", "ann"); !errors.Is(err, member.ErrClaimed) || r.holder(t) != "bob" {
			t.Errorf("she took it, too: %v; the holder is %q", err, r.holder(t))
		}
	})
}

// Members that link and unlink all the time: nobody who was told that the value is his is without it, and in the end it
// can be had.
func TestClaimComesAndGoes(t *testing.T) {
	onEngines(t, func(t *testing.T, records store.Records) {
		r := newRegistry(records)
		var inside, wins atomic.Int64
		var wg sync.WaitGroup
		for i := range 40 {
			wg.Go(func() {
				for range 10 {
					if err := r.link(t.Context(), domain(i), id(i)); errors.Is(err, member.ErrClaimed) {
						continue
					} else if err != nil {
						t.Error(err)
						return
					}
					wins.Add(1)
					if n := inside.Add(1); n != 1 {
						t.Errorf("%d have it at once", n)
					}
					if h, err := r.Holder(t.Context(), kind, value); err != nil || h == nil || h.Member != id(i) {
						t.Errorf("%s has it, and the holder is %v, %v", id(i), h, err)
					}
					inside.Add(-1)
					if err := r.unlink(t.Context(), domain(i), id(i)); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		if wins.Load() == 0 {
			t.Error("nobody ever had it")
		}
		if err := r.link(t.Context(), "d", "last"); err != nil || r.holder(t) != "last" {
			t.Errorf("in the end: %v, holder %q", err, r.holder(t))
		}
	})
}

// One member's own requests race: his value stays his.
func TestClaimRacesWithItself(t *testing.T) {
	onEngines(t, func(t *testing.T, records store.Records) {
		r := newRegistry(records)
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				if err := r.link(t.Context(), "d", "ann"); err != nil && !errors.Is(err, store.ErrConflict) && !errors.Is(err, member.ErrClaimed) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if err := r.link(t.Context(), "d", "ann"); err != nil || r.holder(t) != "ann" {
			t.Errorf("%v, holder %q", err, r.holder(t))
		}
		if err := r.link(t.Context(), "d", "bob"); !errors.Is(err, member.ErrClaimed) {
			t.Errorf("another: %v", err)
		}
	})
}

// The process dies at each write of linking. What is durable says whose the value is; once a minute has passed, another
// gets it exactly when the member's record does not name it; and the member himself can do it again at once.
func TestClaimCrashWhileLinking(t *testing.T) {
	steps := []string{"", "pending", "record", "confirm"}
	for step := 1; step < len(steps); step++ {
		for _, fault := range []storetest.Fault{storetest.FailBefore, storetest.FailAfter} {
			t.Run(fmt.Sprint(steps[step], " ", fault), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := crashed(t, step, fault)
					names, err := r.names(t.Context(), "d", "ann", kind, value)
					if err != nil {
						t.Fatal(err)
					}
					if held := r.holder(t) == "ann"; held != names {
						t.Errorf("held %v, her record names it %v", held, names)
					}
					taken := step > 1 || fault == storetest.FailAfter
					if err := r.link(t.Context(), "e", "bob"); errors.Is(err, member.ErrClaimed) != taken {
						t.Errorf("another at once: %v", err)
					}
					time.Sleep(member.PendingFor)
					if err := r.link(t.Context(), "e", "bob"); errors.Is(err, member.ErrClaimed) != names || err != nil && !names {
						t.Errorf("another after a minute: %v, and her record names it: %v", err, names)
					}
				})
				synctest.Test(t, func(t *testing.T) {
					r := crashed(t, step, fault)
					if err := r.link(t.Context(), "d", "ann"); err != nil || r.holder(t) != "ann" {
						t.Errorf("she again: %v", err)
					}
				})
			})
		}
	}
}

// crashed is a registry in which ann's link failed at a step.
func crashed(t *testing.T, step int, fault storetest.Fault) *registry {
	t.Helper()
	r := newRegistry(memory.NewRecords(memory.Options{}))
	r.failAt, r.fault = int64(step), fault
	if err := r.link(t.Context(), "d", "ann"); !errors.Is(err, store.ErrUnavailable) {
		t.Fatalf("step %d: %v", step, err)
	}
	return r
}

// A crash between the record and the claim, when unlinking, leaves the value to nobody: it can be had at once.
func TestClaimCrashWhileUnlinking(t *testing.T) {
	for step, free := range map[int64]bool{1: false, 2: true} {
		r := newRegistry(memory.NewRecords(memory.Options{}))
		if err := r.link(t.Context(), "d", "ann"); err != nil {
			t.Fatal(err)
		}
		r.failAt, r.fault = r.step.Load()+step, storetest.FailBefore
		if err := r.unlink(t.Context(), "d", "ann"); !errors.Is(err, store.ErrUnavailable) {
			t.Fatal(err)
		}
		if got := r.holder(t) == ""; got != free {
			t.Errorf("step %d: nobody holds it: %v", step, got)
		}
		if err := r.link(t.Context(), "e", "bob"); (err == nil) != free {
			t.Errorf("step %d: another: %v", step, err)
		}
	}
}

// Who took too long hears that the value is another's, and does not keep it.
func TestClaimTooSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRegistry(memory.NewRecords(memory.Options{}))
		if err := r.Take(t.Context(), kind, value, "d", "ann"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(member.PendingFor - 1)
		if err := r.Take(t.Context(), kind, value, "e", "bob"); !errors.Is(err, member.ErrClaimed) {
			t.Errorf("a moment too early: %v", err)
		}
		time.Sleep(time.Nanosecond)
		if err := r.link(t.Context(), "e", "bob"); err != nil {
			t.Fatal(err)
		}
		if err := r.name(t.Context(), "d", "ann"); err != nil {
			t.Fatal(err)
		}
		if err := r.Confirm(t.Context(), kind, value, "d", "ann"); !errors.Is(err, member.ErrClaimed) {
			t.Errorf("too slow: %v", err)
		}
		if err := r.Drop(t.Context(), kind, value, "d", "ann"); err != nil || r.holder(t) != "bob" {
			t.Errorf("%v, holder %q", err, r.holder(t))
		}
	})
}

// Another kind is another claim.
func TestClaimsApart(t *testing.T) {
	if member.ClaimKey("phone", "1") == member.ClaimKey("line", "1") || member.ClaimKey("phone", "1") == member.ClaimKey("phone", "2") {
		t.Error("two values share a claim")
	}
}

func domain(i int) member.DomainID { return member.DomainID(fmt.Sprint("d", i)) }
func id(i int) member.ID           { return member.ID(fmt.Sprint("m", i)) }
