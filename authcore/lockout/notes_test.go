package lockout

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/authcore/store"
	"latchkey/authcore/store/memory"
)

// asked counts how often the store is asked, and does something before it answers.
type asked struct {
	store.Ephemeral
	times  int
	before func()
}

func (a *asked) Members(ctx context.Context, k store.Key, window time.Duration, limit int) ([]string, error) {
	m, err := a.Ephemeral.Members(ctx, k, window, limit)
	if a.times++; a.before != nil {
		a.before()
	}
	return m, err
}

// nodes are throttles with notes over one store and one bus.
type nodes struct {
	stores []*asked
	all    []*Throttle
	ends   []context.CancelFunc
}

// inNodes runs f with n of them.
func inNodes(t *testing.T, n int, f func(t *testing.T, s *nodes)) {
	synctest.Test(t, func(t *testing.T) {
		e, bus, s := memory.NewEphemeral(memory.Options{}), memory.NewBus(), &nodes{}
		var running sync.WaitGroup
		for range n {
			a := &asked{Ephemeral: e}
			h := &Throttle{Ephemeral: a, Hold: time.Second, Notes: &Notes{Bus: bus, Now: time.Now}}
			ctx, cancel := context.WithCancel(t.Context())
			running.Go(func() { h.Notes.Run(ctx) })
			s.stores, s.all, s.ends = append(s.stores, a), append(s.all, h), append(s.ends, cancel)
		}
		synctest.Wait()
		f(t, s)
		for _, end := range s.ends {
			end()
		}
		running.Wait()
	})
}

// look has a node look, and answers how often it asked the store for that.
func (s *nodes) look(t *testing.T, node int) (v Verdict, times int) {
	t.Helper()
	before := s.stores[node].times
	v, err := s.all[node].Look(t.Context(), "192.0.2.1", "d", "name", true)
	if err != nil {
		t.Fatal(err)
	}
	return v, s.stores[node].times - before
}

func (s *nodes) fail(t *testing.T, node int, print string) {
	t.Helper()
	if err := s.all[node].Failed(t.Context(), "192.0.2.1", "d", "name", print); err != nil {
		t.Error(err)
	}
}

func wantAsked(t *testing.T, what string, got, want int) {
	t.Helper()
	if got != want {
		t.Errorf("%s: the store is asked %d times, want %d", what, got, want)
	}
}

func TestCleanSourceIsNotAskedFor(t *testing.T) {
	inNodes(t, 1, func(t *testing.T, s *nodes) {
		_, n := s.look(t, 0)
		wantAsked(t, "the first time", n, 1)
		_, n = s.look(t, 0)
		wantAsked(t, "the second", n, 0)
		time.Sleep(noteFor)
		_, n = s.look(t, 0)
		wantAsked(t, "when the note is old", n, 1)
	})
}

// One node fails; what the others noted before is void, and every step comes as without notes.
func TestFirstFailureVoidsTheNotesOfAllNodes(t *testing.T) {
	inNodes(t, 3, func(t *testing.T, s *nodes) {
		for i := range stop + 1 {
			want := time.Duration(0)
			for _, step := range steps {
				if int64(i) >= step.from {
					want = time.Duration(step.factor * float64(time.Second))
				}
			}
			for node := range s.all {
				v, _ := s.look(t, node)
				if i == stop && v.Retry == 0 || i < stop && (v.Hold != want || v.Retry > 0) {
					t.Errorf("after %d failures node %d says %+v", i, node, v)
				}
			}
			s.fail(t, i%len(s.all), fmt.Sprint("wrong ", i))
			synctest.Wait()
		}
		time.Sleep(Window)
		if v, n := s.look(t, 1); v.Retry > 0 || v.Own || n != 1 {
			t.Errorf("after the window: %+v, asked %d times", v, n)
		}
	})
}

// What was read before a failure is not noted after it.
func TestReadThatAFailureOvertakesIsNotNoted(t *testing.T) {
	for name, node := range map[string]int{"here": 0, "elsewhere": 1} {
		t.Run(name, func(t *testing.T) {
			inNodes(t, 2, func(t *testing.T, s *nodes) {
				s.stores[0].before = func() {
					s.stores[0].before = nil
					s.fail(t, node, "wrong")
					synctest.Wait()
				}
				s.look(t, 0)
				if v, n := s.look(t, 0); !v.Own || n != 2 {
					t.Errorf("got %+v, asked %d times", v, n)
				}
			})
		})
	}
}

// Without the bus nothing is noted, and a gap voids what was.
func TestGapVoidsAllNotes(t *testing.T) {
	inNodes(t, 1, func(t *testing.T, s *nodes) {
		s.look(t, 0)
		s.ends[0]()
		synctest.Wait()
		for range 2 {
			_, n := s.look(t, 0)
			wantAsked(t, "while the bus is not heard", n, 1)
		}
	})
}

func TestNotesAreBounded(t *testing.T) {
	n := &Notes{Bus: memory.NewBus(), Now: time.Now}
	n.hear(true)
	for i := range 3 * maxNotes {
		source := fmt.Sprint(i)
		_, asked := n.clean(source)
		n.keep(source, asked)
		if clean, _ := n.clean(source); !clean || len(n.notes) > maxNotes {
			t.Fatalf("source %d: clean %v, %d notes", i, clean, len(n.notes))
		}
	}
}

// A program that repeats one wrong password, and a guesser, are told of once in noteFor.
func TestFailuresAreToldRarely(t *testing.T) {
	inNodes(t, 1, func(t *testing.T, s *nodes) {
		heard, err := s.all[0].Notes.Bus.Subscribe(t.Context(), notesTopic)
		if err != nil {
			t.Fatal(err)
		}
		for range 50 {
			s.fail(t, 0, "stale")
		}
		for i := range 50 {
			s.fail(t, 0, fmt.Sprint(i))
		}
		synctest.Wait()
		if len(heard) != 1 {
			t.Errorf("told %d times, want once", len(heard))
		}
	})
}
