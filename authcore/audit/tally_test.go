package audit

import (
	"fmt"
	"reflect"
	"testing"
	"testing/synctest"
	"time"
)

func byReason(e Entry) Outcome {
	switch {
	case e.Action != SignIn:
		return NoOutcome
	case e.Reason == "allowed":
		return AllowedSignIn
	}
	return RefusedSignIn
}

// A day is counted in steps of any size, each entry once, and those of other days not at all.
func TestTallyCountsADayInSteps(t *testing.T) {
	for _, limit := range []int{1, 3, 11, 12, 13, 1000} {
		t.Run(fmt.Sprint(limit), func(t *testing.T) {
			r := fresh()
			for i := range 12 {
				allowed := entry(Day(noon).Add(time.Duration(i)*2*time.Hour), "ann")
				if i%3 > 0 {
					allowed.Reason = "allowed"
				}
				other := entry(allowed.Time, "ann")
				other.Action = MemberUpdate
				if i%2 > 0 {
					other.Time = other.Time.AddDate(0, 0, i%4-2) // the day before and the day after
					other.Action = SignIn
				}
				if _, err := r.Apply(t.Context(), "p", Op(allowed), Op(other)); err != nil {
					t.Fatal(err)
				}
			}
			var got Tally
			reads, rounds := 0, 0
			for ; !got.Whole; rounds++ {
				n, err := got.Count(t.Context(), r, "p", noon, byReason, limit)
				if err != nil || n > limit || rounds > 20 {
					t.Fatalf("round %d read %d: %v", rounds, n, err)
				}
				reads += n
			}
			want := Tally{Allowed: map[string]int{"imap": 8}, Refused: map[string]int{"bad_credentials": 4}, After: got.After, Whole: true}
			if !reflect.DeepEqual(got, want) || reads != 18 {
				t.Errorf("got %+v of %d entries, want %+v of 18", got, reads, want)
			}
		})
	}
}

// Equal ones that were merged count as often as they came, on the day on which they came.
func TestTallyCountsMergedEntries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := fresh()
		m := &Merger{Records: r}
		midnight := Day(noon).AddDate(0, 0, 1)
		for i := range 100 { // fifty before midnight, fifty after, all of one step of an hour and a half
			if err := m.Add(t.Context(), "p", entry(midnight.Add(time.Duration(i-50)*time.Second), "ann"), "key", time.Hour); err != nil {
				t.Fatal(err)
			}
		}
		if l := list(t, r, Filter{}); len(l) != 2 {
			t.Fatalf("%d entries", len(l))
		}
		for _, day := range []time.Time{noon, midnight} {
			var got Tally
			if _, err := got.Count(t.Context(), r, "p", day, byReason, 10); err != nil || got.Refused["bad_credentials"] != 50 {
				t.Errorf("%v: %+v, %v", day, got, err)
			}
		}
	})
}

func TestTallyTellsFailure(t *testing.T) {
	r := fresh()
	op := Op(entry(noon, "x"))
	op.Value = []byte("{")
	if _, err := r.Apply(t.Context(), "p", op); err != nil {
		t.Fatal(err)
	}
	var got Tally
	if _, err := got.Count(t.Context(), r, "p", noon, byReason, 10); err == nil || got.Whole {
		t.Errorf("a corrupt entry: %+v, %v", got, err)
	}
}

// However many words the entries have, a tally stays small.
func TestTallyIsBounded(t *testing.T) {
	var got Tally
	for i := range 3 * maxWords {
		e := entry(noon, "ann")
		e.Reason, e.Count = fmt.Sprint("reason ", i), 1
		got.take(e, RefusedSignIn)
	}
	n := 0
	for _, v := range got.Refused {
		n += v
	}
	if len(got.Refused) > maxWords+1 || n != 3*maxWords {
		t.Errorf("%d words count %d", len(got.Refused), n)
	}
}
