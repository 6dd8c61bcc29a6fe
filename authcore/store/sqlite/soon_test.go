package sqlite

import (
	"testing"
	"testing/synctest"
	"time"
)

// coming adds n batches to s and answers how long it took until the writer was called; 0: at once.
func coming(t *testing.T, s *soon, n int) time.Duration {
	t.Helper()
	for range n {
		if !s.add(&request{}) {
			t.Fatal("it is closed")
		}
	}
	began := time.Now()
	select {
	case <-s.due:
		return time.Since(began)
	case <-time.After(time.Hour):
		t.Fatal("nobody calls the writer")
		return 0
	}
}

// One alone waits for nobody; those who come in a storm wait for as many as came before them, and not for long.
func TestSoonExpectsAsManyAsCame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSoon()
		for i, step := range []struct {
			come int
			wait time.Duration
		}{
			{1, 0}, {1, 0}, // one alone
			{3, 0},                    // two more while the writer was busy
			{3, 0},                    // three are expected, and come
			{2, 3 * time.Millisecond}, // the third does not
			{2, 0},
			{9, 0},
			{8, mostPatience}, // nine were expected, for no longer than anybody notices
			{1, mostPatience},
			{1, 0}, // and one alone waits for nobody again
		} {
			if got := coming(t, s, step.come); got != step.wait {
				t.Errorf("step %d: %d waited %v, want %v", i, step.come, got, step.wait)
			}
			if group := s.take(nil); len(group) != step.come {
				t.Errorf("step %d: got %d, want %d", i, len(group), step.come)
			}
		}
	})
}

// Who is taken on with somebody else's commit before his time tells nothing of how many come.
func TestSoonLearnsNothingFromWhatItDidNotWaitFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSoon()
		coming(t, s, 4)
		s.take(nil)
		s.add(&request{})
		s.take(nil)
		time.Sleep(time.Second)
		select {
		case <-s.due:
			t.Error("the writer is called for nothing")
		default:
		}
		if got := coming(t, s, 3); got != 4*time.Millisecond {
			t.Errorf("three waited %v for a fourth, want 4 ms", got)
		}
	})
}

// More than a group takes are left for the next one, for which the writer is called at once.
func TestSoonLeavesWhatIsTooMuch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSoon()
		coming(t, s, groupRequests+1)
		if group := s.take(nil); len(group) != groupRequests {
			t.Errorf("got %d, want %d", len(group), groupRequests)
		}
		<-s.due
		if group := s.take(nil); len(group) != 1 {
			t.Errorf("got %d, want the one that was left", len(group))
		}
		if s.expect != mostExpected {
			t.Errorf("it expects %d, want %d at most", s.expect, mostExpected)
		}
	})
}
