package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"latchkey/authcore/store"
)

// testApplySoon: each batch is told of once, when it can be read; what is refused leaves no trace.
func testApplySoon(t *testing.T, e RecordsEngine) {
	type told struct {
		name string
		err  error
	}
	const n = 300
	answers := make(chan told, 2*n)
	soon := func(name string, ops ...store.Op) {
		ctx, hangUp := context.WithCancel(t.Context())
		store.ApplySoon(ctx, e.Records, "p", ops, func(revision int64, err error) {
			if (revision > 0) != (err == nil) {
				t.Errorf("%s: revision %d, %v", name, revision, err)
			}
			answers <- told{name, err}
		})
		hangUp() // nobody waits: whoever asked may be gone
	}
	for i := range n {
		soon(fmt.Sprint(i), PutNew(fmt.Sprint(i), "value"))
	}
	for range n {
		a := <-answers
		if a.err != nil {
			t.Errorf("%s: %v", a.name, a.err)
		}
		wantValue(t, e, "p", a.name, []byte("value"))
	}
	soon("twice", PutNew("7", "other"), Put("7/other", "other"))
	if a := <-answers; !errors.Is(a.err, store.ErrConflict) {
		t.Errorf("a record that is there: %v", a.err)
	}
	wantValue(t, e, "p", "7/other", nil)
	wantValue(t, e, "p", "7", []byte("value"))
	soon("nothing")
	if a := <-answers; !errors.Is(a.err, store.ErrInvalid) {
		t.Errorf("an empty batch: %v", a.err)
	}
	testSoonSurvives(t, e)
}

// testSoonSurvives: what was told to be written is there after a stop, and an engine's own Close tells of what was taken on.
func testSoonSurvives(t *testing.T, e RecordsEngine) {
	if e.Reopen == nil {
		return
	}
	var waiting, written atomic.Int64
	for i := range 50 {
		waiting.Add(1)
		store.ApplySoon(t.Context(), e.Records, "p", []store.Op{Put(fmt.Sprint("last", i), "value")}, func(_ int64, err error) {
			if err == nil {
				written.Add(1)
			}
			waiting.Add(-1)
		})
	}
	r := e.Reopen(t)
	if _, can := e.Records.(store.SoonApplier); can && waiting.Load() != 0 {
		t.Errorf("%d batches are told of by nobody after the store was closed", waiting.Load())
	}
	there, err := r.List(t.Context(), "p", store.Query{Prefix: "last"})
	if err != nil || int64(len(there)) < written.Load() {
		t.Errorf("%d are there, %d were told to be: %v", len(there), written.Load(), err)
	}
}
