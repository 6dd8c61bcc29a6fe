package audit

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"latchkey/authcore/store"
)

// Tally counts the sign-ins of one day. One of a day that is over is a record, so that its entries are read once.
type Tally struct {
	Allowed map[string]int `json:"allowed,omitempty"` // by door
	Refused map[string]int `json:"refused,omitempty"` // by reason
	After   string         `json:"after,omitempty"`   // the last entry that is counted
	Whole   bool           `json:"whole,omitempty"`   // no more entries were there
}

// Outcome is what an entry is for a Tally. The zero value is not counted.
type Outcome uint8

// What entries of sign-ins are.
const (
	NoOutcome Outcome = iota
	AllowedSignIn
	RefusedSignIn
)

const dayForm = "20060102"

// Day is the day that an instant belongs to, in UTC as the names of entries are.
func Day(at time.Time) time.Time { return at.UTC().Truncate(24 * time.Hour) }

// TallyName is the record of a day's Tally.
func TallyName(day time.Time) string { return "tally/" + day.UTC().Format(dayForm) }

// Count goes on where t ended and takes in at most limit entries of the day, the oldest first. It answers how many it
// read. An entry that stands for equal ones counts as often as they came: all of them lie within one hour of the day.
func (t *Tally) Count(ctx context.Context, r store.Records, partition string, day time.Time, of func(Entry) Outcome, limit int) (read int, err error) {
	q := store.Query{Prefix: Prefix + day.UTC().Format(dayForm) + "/", After: t.After}
	for read < limit && !t.Whole {
		q.Limit = min(page, limit-read)
		recs, err := r.List(ctx, partition, q)
		if err != nil {
			return read, fmt.Errorf("count audit: %w", err)
		}
		for _, rec := range recs {
			var e Entry
			if err := json.Unmarshal(rec.Value, &e); err != nil {
				return read, fmt.Errorf("count audit: %s: %w", rec.Name, store.ErrCorrupt)
			}
			t.take(e, of(e))
			q.After, t.After = rec.Name, rec.Name
		}
		read += len(recs)
		t.Whole = len(recs) < q.Limit
	}
	return read, nil
}

func (t *Tally) take(e Entry, o Outcome) {
	switch o {
	case AllowedSignIn:
		add(&t.Allowed, e.Door, e.Count)
	case RefusedSignIn:
		add(&t.Refused, e.Reason, e.Count)
	}
}

// maxWords bounds what one Tally tells apart: doors and reasons are closed sets, far smaller.
const maxWords = 100

func add(m *map[string]int, word string, n int) {
	if *m == nil {
		*m = map[string]int{}
	}
	if _, ok := (*m)[word]; !ok && len(*m) >= maxWords {
		word = "other"
	}
	(*m)[word] += n
}
