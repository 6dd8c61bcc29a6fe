package storetest

import (
	"context"
	"fmt"
	"strconv"
	"testing"

	"latchkey/authcore/store"
)

func testOneWinner(t *testing.T, e RecordsEngine) {
	const racers = 200
	errs := race(t.Context(), racers, func(ctx context.Context, i int) error {
		_, err := e.Apply(ctx, "p", PutNew("claimed", strconv.Itoa(i)), Put("by "+strconv.Itoa(i), ""))
		return err
	})
	wantOneWinner(t, errs, store.ErrConflict)
	for i, err := range errs {
		if err == nil {
			wantValue(t, e, "p", "claimed", []byte(strconv.Itoa(i)))
			wantValue(t, e, "p", "by "+strconv.Itoa(i), []byte{})
		} else {
			wantValue(t, e, "p", "by "+strconv.Itoa(i), nil)
		}
	}
	revision := wantValue(t, e, "p", "claimed", []byte(winner(errs))).Revision
	wantOneWinner(t, race(t.Context(), racers, func(ctx context.Context, i int) error {
		_, err := e.Apply(ctx, "p", store.Op{Kind: store.Delete, Name: "claimed", IfRevision: revision})
		return err
	}), store.ErrConflict)
}

func winner(errs []error) string {
	for i, err := range errs {
		if err == nil {
			return strconv.Itoa(i)
		}
	}
	return "nobody"
}

// Racers add to one number, each reading and writing under its revision until it gets through: none is lost, and every
// revision is given out once.
func testExactCounter(t *testing.T, e RecordsEngine) {
	const racers, each = 100, 3
	mustApply(t, e, "p", PutNew("counter", "0"))
	given := make([][]int64, racers)
	errs := race(t.Context(), racers, func(ctx context.Context, i int) error {
		for range each {
			revision, err := increment(ctx, e)
			if err != nil {
				return err
			}
			given[i] = append(given[i], revision)
		}
		return nil
	})
	for i, err := range errs {
		if err != nil {
			t.Errorf("racer %d: %v", i, err)
		}
	}
	wantValue(t, e, "p", "counter", []byte(strconv.Itoa(racers*each)))
	seen := make(map[int64]bool)
	for _, revisions := range given {
		for _, r := range revisions {
			if seen[r] {
				t.Errorf("revision %d was given out twice", r)
			}
			seen[r] = true
		}
	}
}

func increment(ctx context.Context, r store.Records) (int64, error) {
	for {
		rec, err := r.Get(ctx, store.Key{Partition: "p", Name: "counter"})
		if err != nil {
			return 0, err
		}
		n, err := strconv.Atoi(string(rec.Value))
		if err != nil {
			return 0, err
		}
		revision, err := r.Apply(ctx, "p", PutAt(rec.Revision, "counter", strconv.Itoa(n+1)))
		if !isConflict(err) {
			return revision, err
		}
	}
}

// A list sees whole batches: both halves of a pair always stand at one revision.
func testNotSeenInPart(t *testing.T, e RecordsEngine) {
	mustApply(t, e, "p", Put("left", "0"), Put("right", "0"))
	errs := race(t.Context(), 16, func(ctx context.Context, i int) error {
		for n := range 25 {
			if i%2 == 0 {
				if _, err := e.Apply(ctx, "p", Put("left", strconv.Itoa(n)), Put("right", strconv.Itoa(n))); err != nil {
					return err
				}
				continue
			}
			pair, err := e.List(ctx, "p", store.Query{})
			if err != nil {
				return err
			}
			if len(pair) != 2 || pair[0].Revision != pair[1].Revision || string(pair[0].Value) != string(pair[1].Value) {
				return fmt.Errorf("half a batch was seen: %+v", pair)
			}
		}
		return nil
	})
	for i, err := range errs {
		if err != nil {
			t.Errorf("racer %d: %v", i, err)
		}
	}
}
