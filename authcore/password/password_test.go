package password

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/authcore/secret"
	"latchkey/policy"
)

var cheap = Params{MemoryKiB: 64, Time: 1, Threads: 1}

func TestHashVerify(t *testing.T) {
	h := NewHasher(cheap, 1)
	s, err := h.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Release()
	phc := s.Hash(secret.New("correct horse 1"))
	if !strings.HasPrefix(phc, "$argon2id$v=19$m=64,t=1,p=1$") {
		t.Errorf("%q is not in PHC string format", phc)
	}
	for typed, want := range map[string]bool{"correct horse 1": true, "correct horse 2": false, "": false} {
		if ok, err := s.Verify(phc, secret.New(typed)); err != nil || ok != want {
			t.Errorf("%q: got %v, %v, want %v", typed, ok, err, want)
		}
	}
	if ok, err := s.Verify(h.dummy, secret.New("")); ok || err != nil {
		t.Errorf("the dummy: got %v, %v", ok, err)
	}
	before := h.Hashes()
	s.Dummy(secret.New("x"))
	if h.Hashes() != before+1 {
		t.Error("a dummy computes no hash")
	}
}

func TestVerifyRefusesForeignHashes(t *testing.T) {
	h := NewHasher(cheap, 1)
	s, _ := h.Acquire(t.Context())
	defer s.Release()
	for _, phc := range []string{
		"", "x", "$argon2i$v=19$m=64,t=1,p=1$c2FsdHNhbHQ$a2V5a2V5a2V5a2V5a2V5", "$argon2id$v=16$m=64,t=1,p=1$c2FsdHNhbHQ$a2V5a2V5a2V5a2V5a2V5",
		"$argon2id$v=19$m=99999999,t=1,p=1$c2FsdHNhbHQ$a2V5a2V5a2V5a2V5a2V5", "$argon2id$v=19$m=64,t=0,p=1$c2FsdHNhbHQ$a2V5a2V5a2V5a2V5a2V5",
		"$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHQ$", "$argon2id$v=19$m=64,t=1,p=0$c2FsdHNhbHQ$a2V5a2V5a2V5a2V5a2V5",
	} {
		if ok, err := s.Verify(phc, secret.New("")); ok || err == nil {
			t.Errorf("%q: got %v, %v, want an error", phc, ok, err)
		}
	}
}

func TestSlotsAndQueueAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHasher(cheap, 2)
		a, _ := h.Acquire(t.Context())
		b, _ := h.Acquire(t.Context())
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for range 2*QueuePerSlot - 2 {
			wg.Go(func() {
				if _, err := h.Acquire(ctx); !errors.Is(err, context.Canceled) {
					t.Errorf("a waiting one: %v, want cancelled", err)
				}
			})
		}
		synctest.Wait()
		if taken, waiting := h.InUse(); taken != 2 || waiting != 2*QueuePerSlot-2 {
			t.Errorf("taken %d, waiting %d", taken, waiting)
		}
		if _, err := h.Acquire(ctx); !errors.Is(err, ErrBusy) {
			t.Errorf("past the queue: %v, want ErrBusy", err)
		}
		cancel()
		wg.Wait()
		a.Release()
		a.Release() // counts once
		b.Release()
		if taken, waiting := h.InUse(); taken != 0 || waiting != 0 {
			t.Errorf("after all: taken %d, waiting %d", taken, waiting)
		}
	})
}

func TestState(t *testing.T) {
	now := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	never := policy.Default().Password
	days := never
	days.ExpiresAfterDays = 30
	for _, c := range []struct {
		name string
		r    *Record
		p    policy.Password
		want State
	}{
		{"none", nil, never, Gone},
		{"no hash", &Record{}, never, Gone},
		{"good", &Record{Hash: "h", SetAt: now.AddDate(-9, 0, 0)}, never, Good},
		{"a day before it expires", &Record{Hash: "h", SetAt: now.AddDate(0, 0, -29)}, days, Good},
		{"expired", &Record{Hash: "h", SetAt: now.AddDate(0, 0, -30)}, days, Expired},
		{"asked to change", &Record{Hash: "h", SetAt: now, MustChange: true}, days, MustChange},
		{"temporary", &Record{Hash: "h", Temporary: true, TemporaryUntil: now.Add(1)}, never, MustChange},
		{"temporary, its time over", &Record{Hash: "h", Temporary: true, TemporaryUntil: now}, never, Gone},
	} {
		if got := c.r.State(c.p, now); got != c.want {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}

func TestNextKeepsTheLastFive(t *testing.T) {
	now := time.Now()
	var r *Record
	for i := range 9 {
		n := r.Next(string(rune('a'+i)), now)
		r = &n
	}
	if want := []string{"h", "g", "f", "e", "d"}; !slices.Equal(r.Previous, want) || r.Hash != "i" || r.Epoch != 9 {
		t.Errorf("got %+v, want previous %v", r, want)
	}
	temporary := r.NextTemporary("t", now)
	own := temporary.Next("own", now)
	if slices.Contains(own.Previous, "t") || own.Previous[0] != "i" || own.Temporary {
		t.Errorf("after a temporary one: %+v", own)
	}
}

func TestTemporaryMeetsEveryPolicy(t *testing.T) {
	strict := policy.Password{Format: policy.LettersNumbersSpecial, MinLength: 20}
	for range 50 {
		if broken := strict.Check(NewTemporary().Reveal()); len(broken) > 0 {
			t.Fatalf("breaks %v", broken)
		}
	}
}

func TestPrepare(t *testing.T) {
	for _, c := range []struct {
		in, want string
		ok       bool
	}{
		{"abc", "abc", true}, {"e\u0301", "é", true}, {"a\u3000b", "a b", true}, {"", "", false}, {"a\x00b", "", false},
		{"a\tb", "", false}, {strings.Repeat("é", 300), "", false},
	} {
		got, ok := Prepare(secret.New(c.in))
		if ok != c.ok || got.Reveal() != c.want {
			t.Errorf("%q: got %q, %v, want %q, %v", c.in, got.Reveal(), ok, c.want, c.ok)
		}
	}
}
