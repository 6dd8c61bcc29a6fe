package storetest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"latchkey/authcore/store"
)

// RunRecords runs the suite over engines that open makes, an empty one for each test.
func RunRecords(t *testing.T, open func(t *testing.T) RecordsEngine) {
	for _, c := range []struct {
		name string
		test func(t *testing.T, e RecordsEngine)
	}{
		{"put get delete", testPutGetDelete},
		{"bytes of names and values", testBytes},
		{"revisions rise", testRevisionsRise},
		{"conditions", testConditions},
		{"all or nothing", testAllOrNothing},
		{"largest batch", testLargestBatch},
		{"invalid calls", testInvalidCalls},
		{"expiry", testExpiry},
		{"expired counts as absent", testExpiredAbsent},
		{"list selects", testListSelects},
		{"list in pages", testListPages},
		{"partitions apart", testPartitionsApart},
		{"values are the caller's", testValuesOwned},
		{"one winner", testOneWinner},
		{"exact counter", testExactCounter},
		{"batches are not seen in part", testNotSeenInPart},
		{"context ended", testContextEnded},
		{"failed but written", testFailedButWritten},
		{"batches that nobody waits for", testApplySoon},
		{"reopen", testReopen},
		{"snapshot and restore", func(t *testing.T, e RecordsEngine) { testSnapshot(t, e, open(t)) }},
		{"restore is all or nothing", testRestoreRefuses},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, open(t)) })
	}
}

func testPutGetDelete(t *testing.T, e RecordsEngine) {
	wantValue(t, e, "p", "a", nil)
	first := mustApply(t, e, "p", Put("a", "one"))
	got := wantValue(t, e, "p", "a", []byte("one"))
	if got.Revision != first || !got.ExpiresAt.IsZero() {
		t.Errorf("got revision %d and expiry %v, want %d and none", got.Revision, got.ExpiresAt, first)
	}
	second := mustApply(t, e, "p", Put("a", "two"), Put("b", ""))
	for name, value := range map[string]string{"a": "two", "b": ""} {
		if got := wantValue(t, e, "p", name, []byte(value)); got.Revision != second {
			t.Errorf("%s: got revision %d, want that of its batch, %d", name, got.Revision, second)
		}
	}
	mustApply(t, e, "p", Delete("a"), Delete("never there"))
	wantValue(t, e, "p", "a", nil)
	wantValue(t, e, "p", "b", []byte{})
}

func testBytes(t *testing.T, e RecordsEngine) {
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	for _, name := range []string{string(every), "\x00", "\xff\xff", "é/:{}*?[", strings.Repeat("n", store.MaxName)} {
		mustApply(t, e, name, Put(name, string(every)))
		wantValue(t, e, name, name, every)
		if got, err := e.List(t.Context(), name, store.Query{}); err != nil || !slices.Equal(names(got), []string{name}) {
			t.Errorf("list %q: got %q, %v", name, names(got), err)
		}
	}
	large := strings.Repeat("\x00large value\xff", store.MaxValue/12)[:store.MaxValue]
	mustApply(t, e, "p", Put("large", large))
	wantValue(t, e, "p", "large", []byte(large))
}

func testRevisionsRise(t *testing.T, e RecordsEngine) {
	var last int64
	for i, ops := range [][]store.Op{
		{Put("a", "1")}, {Put("a", "2")}, {Put("b", "1")}, {Delete("a")}, {Delete("a")}, {Delete("b")}, {PutNew("a", "3")},
	} {
		revision := mustApply(t, e, "p", ops...)
		if revision <= last {
			t.Fatalf("batch %d: got revision %d, want one above %d", i, revision, last)
		}
		last = revision
	}
	if next := mustApply(t, e, "p", Check("a", last)); next <= last {
		t.Errorf("a batch that only checks: got revision %d, want one above %d", next, last)
	}
	if got := wantValue(t, e, "p", "a", []byte("3")); got.Revision != last {
		t.Errorf("a check changed the record: got revision %d, want %d", got.Revision, last)
	}
}

func testConditions(t *testing.T, e RecordsEngine) {
	old := mustApply(t, e, "p", Put("there", "old"))
	now := mustApply(t, e, "p", Put("there", "now"))
	for _, c := range []struct {
		name string
		op   store.Op
		want error
	}{
		{"check the revision", Check("there", now), nil},
		{"check an old revision", Check("there", old), store.ErrConflict},
		{"check a revision to come", Check("there", now+100), store.ErrConflict},
		{"check that it is absent", Check("there", 0), store.ErrConflict},
		{"check that another is absent", Check("absent", 0), nil},
		{"check a revision of what is absent", Check("absent", now), store.ErrConflict},
		{"put as new", PutNew("there", "x"), store.ErrConflict},
		{"put over an old revision", PutAt(old, "there", "x"), store.ErrConflict},
		{"put over what is absent", PutAt(now, "absent", "x"), store.ErrConflict},
		{"delete an old revision", store.Op{Kind: store.Delete, Name: "there", IfRevision: old}, store.ErrConflict},
		{"delete as absent", store.Op{Kind: store.Delete, Name: "there"}, store.ErrConflict},
		{"delete a revision of what is absent", store.Op{Kind: store.Delete, Name: "absent", IfRevision: now}, store.ErrConflict},
		{"delete what is absent as absent", store.Op{Kind: store.Delete, Name: "absent"}, nil},
	} {
		_, err := e.Apply(t.Context(), "p", c.op)
		wantError(t, c.name, err, c.want)
	}
	wantValue(t, e, "p", "there", []byte("now"))
	wantValue(t, e, "p", "absent", nil)

	next := mustApply(t, e, "p", PutAt(now, "there", "next"))
	mustApply(t, e, "p", store.Op{Kind: store.Delete, Name: "there", IfRevision: next})
	wantValue(t, e, "p", "there", nil)
	_, err := e.Apply(t.Context(), "p", PutAt(next, "there", "again"))
	wantError(t, "put over a deleted revision", err, store.ErrConflict)
	mustApply(t, e, "p", PutNew("there", "again"))
}

func testAllOrNothing(t *testing.T, e RecordsEngine) {
	kept := mustApply(t, e, "p", Put("kept", "1"), Put("doomed", "1"))
	good := []store.Op{Put("new", "x"), PutAt(kept, "kept", "2"), Delete("doomed")}
	for place := range len(good) + 1 {
		ops := slices.Insert(slices.Clone(good), place, Check("missing", 7))
		_, err := e.Apply(t.Context(), "p", ops...)
		wantError(t, fmt.Sprintf("failing condition at place %d", place), err, store.ErrConflict)
		wantValue(t, e, "p", "new", nil)
		wantValue(t, e, "p", "kept", []byte("1"))
		wantValue(t, e, "p", "doomed", []byte("1"))
	}
	mustApply(t, e, "p", good...)
	wantValue(t, e, "p", "new", []byte("x"))
	wantValue(t, e, "p", "doomed", nil)
}

func testLargestBatch(t *testing.T, e RecordsEngine) {
	ops := make([]store.Op, store.MaxOps)
	for i := range ops {
		ops[i] = PutNew(numbered(i), strconv.Itoa(i))
	}
	revision := mustApply(t, e, "p", ops...)
	got, err := e.List(t.Context(), "p", store.Query{})
	if err != nil || len(got) != len(ops) {
		t.Fatalf("got %d records, %v, want %d", len(got), err, len(ops))
	}
	for i, r := range got {
		if r.Name != numbered(i) || string(r.Value) != strconv.Itoa(i) || r.Revision != revision {
			t.Errorf("record %d: got %q = %q at %d, want %q = %d at %d", i, r.Name, r.Value, r.Revision, numbered(i), i, revision)
		}
	}
}

// The table of every bound is that of package store; here it is that the engine looks at it.
func testInvalidCalls(t *testing.T, e RecordsEngine) {
	ctx := t.Context()
	tooLong := strings.Repeat("n", store.MaxName+1)
	many := make([]store.Op, store.MaxOps+1)
	for i := range many {
		many[i] = Put(numbered(i), "")
	}
	for _, c := range []struct {
		name      string
		partition string
		ops       []store.Op
	}{
		{"no operations", "p", nil},
		{"too many operations", "p", many},
		{"a value too large", "p", []store.Op{Put("a", strings.Repeat("v", store.MaxValue+1))}},
		{"an expiry before 1970", "p", []store.Op{{Kind: store.Put, Name: "a", ExpiresAt: time.Unix(0, 0)}}},
		{"an expiry that no year has", "p", []store.Op{{Kind: store.Put, Name: "a", ExpiresAt: time.UnixMilli(1e17)}}},
		{"an expiry that overflows", "p", []store.Op{{Kind: store.Put, Name: "a", ExpiresAt: time.Unix(math.MaxInt64/1000*3, 0)}}},
		{"no partition", "", []store.Op{Put("a", "")}},
		{"a partition too long", tooLong, []store.Op{Put("a", "")}},
		{"no name", "p", []store.Op{Put("", "")}},
		{"a name too long", "p", []store.Op{Put(tooLong, "")}},
		{"a name twice", "p", []store.Op{Put("a", "1"), Put("b", "1"), Check("a", 0)}},
		{"a forgotten kind", "p", []store.Op{{Name: "a", IfRevision: store.AnyRevision}}},
		{"a revision below any", "p", []store.Op{PutAt(-2, "a", "")}},
		{"an invalid operation behind a good one", "p", []store.Op{Put("a", "1"), Put("", "")}},
	} {
		_, err := e.Apply(ctx, c.partition, c.ops...)
		wantError(t, "apply "+c.name, err, store.ErrInvalid)
	}
	for _, k := range []store.Key{{Name: "a"}, {Partition: "p"}, {Partition: "p", Name: tooLong}, {Partition: tooLong, Name: "a"}} {
		_, err := e.Get(ctx, k)
		wantError(t, fmt.Sprintf("get by names of %d and %d bytes", len(k.Partition), len(k.Name)), err, store.ErrInvalid)
	}
	for _, q := range []store.Query{{Limit: -1}, {Limit: store.MaxListLimit + 1}, {Prefix: tooLong}, {After: tooLong}} {
		_, err := e.List(ctx, "p", q)
		wantError(t, fmt.Sprintf("list with limit %d", q.Limit), err, store.ErrInvalid)
	}
	_, err := e.List(ctx, "", store.Query{})
	wantError(t, "list of no partition", err, store.ErrInvalid)
	if got, err := e.List(ctx, "p", store.Query{}); err != nil || len(got) != 0 {
		t.Errorf("after refusals only: got %q, %v, want nothing written", names(got), err)
	}
}

func putUntil(name string, at time.Time) store.Op {
	op := Put(name, "until")
	op.ExpiresAt = at
	return op
}

func testExpiry(t *testing.T, e RecordsEngine) {
	soon := e.Now().Add(2 * time.Second).Truncate(time.Millisecond)
	late := soon.Add(time.Hour)
	mustApply(t, e, "p", putUntil("a", soon), putUntil("b", late), Put("c", "always"), putUntil("d", soon))
	got, err := e.Get(t.Context(), store.Key{Partition: "p", Name: "a"})
	if e.Now().Before(soon) && (err != nil || string(got.Value) != "until" || !got.ExpiresAt.Equal(soon)) { // else the machine had no time
		t.Errorf("got %q with expiry %v, %v, want %v", got.Value, got.ExpiresAt, err, soon)
	}
	mustApply(t, e, "p", Put("d", "without expiry now"))
	e.Advance(2 * time.Second)
	wantValue(t, e, "p", "a", nil)
	wantValue(t, e, "p", "b", []byte("until"))
	wantValue(t, e, "p", "d", []byte("without expiry now"))
	for _, q := range []store.Query{{}, {Limit: 3}, {Reverse: true, Limit: 3}} {
		got, err := e.List(t.Context(), "p", q)
		want := []string{"b", "c", "d"}
		if q.Reverse {
			slices.Reverse(want)
		}
		if err != nil || !slices.Equal(names(got), want) {
			t.Errorf("list %+v: got %q, %v, want %q", q, names(got), err, want)
		}
	}
	mustApply(t, e, "p", putUntil("e", e.Now().Add(-time.Minute)))
	wantValue(t, e, "p", "e", nil)
}

func testExpiredAbsent(t *testing.T, e RecordsEngine) {
	at := e.Now().Add(time.Second)
	old := mustApply(t, e, "p", putUntil("a", at), putUntil("b", at), putUntil("c", at))
	e.Advance(time.Second + 10*time.Millisecond)
	_, err := e.Apply(t.Context(), "p", PutAt(old, "a", "x"))
	wantError(t, "put over an expired revision", err, store.ErrConflict)
	_, err = e.Apply(t.Context(), "p", Check("a", old))
	wantError(t, "check an expired revision", err, store.ErrConflict)
	revision := mustApply(t, e, "p", Check("b", 0), PutNew("a", "new"), Delete("c"))
	if revision <= old {
		t.Errorf("got revision %d, want one above %d", revision, old)
	}
	wantValue(t, e, "p", "a", []byte("new"))
	wantValue(t, e, "p", "b", nil)
	wantValue(t, e, "p", "c", nil)
}

func testPartitionsApart(t *testing.T, e RecordsEngine) {
	for _, p := range []string{"p", "pp", "p\x00", "q"} {
		mustApply(t, e, p, PutNew("a", "of "+p))
	}
	first := wantValue(t, e, "p", "a", []byte("of p")).Revision
	for range 5 {
		mustApply(t, e, "q", Put("b", "x"))
	}
	mustApply(t, e, "pp", Delete("a"))
	wantValue(t, e, "p", "a", []byte("of p"))
	mustApply(t, e, "p", PutAt(first, "a", "still at its revision"))
	wantValue(t, e, "p\x00", "a", []byte("of p\x00"))
	got, err := e.List(t.Context(), "p", store.Query{})
	if err != nil || !slices.Equal(names(got), []string{"a"}) {
		t.Errorf("got %q, %v, want the one record of its partition", names(got), err)
	}
	if got, err := e.List(t.Context(), "nobody wrote here", store.Query{}); err != nil || len(got) != 0 {
		t.Errorf("got %q, %v, want an empty list", names(got), err)
	}
}

func testValuesOwned(t *testing.T, e RecordsEngine) {
	value := []byte("mine")
	mustApply(t, e, "p", store.Op{Kind: store.Put, Name: "a", Value: value, IfRevision: store.AnyRevision})
	copy(value, "XXXX")
	got := wantValue(t, e, "p", "a", []byte("mine"))
	copy(got.Value, "YYYY")
	wantValue(t, e, "p", "a", []byte("mine"))
	list, err := e.List(t.Context(), "p", store.Query{})
	if err != nil || len(list) != 1 {
		t.Fatalf("list: %d records, %v", len(list), err)
	}
	copy(list[0].Value, "ZZZZ")
	wantValue(t, e, "p", "a", []byte("mine"))
}

func testContextEnded(t *testing.T, e RecordsEngine) {
	mustApply(t, e, "p", Put("a", "before"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := e.Apply(ctx, "p", Put("a", "after"))
	wantError(t, "apply", err, context.Canceled)
	_, err = e.Get(ctx, store.Key{Partition: "p", Name: "a"})
	wantError(t, "get", err, context.Canceled)
	_, err = e.List(ctx, "p", store.Query{})
	wantError(t, "list", err, context.Canceled)
	wantValue(t, e, "p", "a", []byte("before"))
}

// A write that ended with ErrUnavailable may have happened: under a revision it is safe to repeat.
func testFailedButWritten(t *testing.T, e RecordsEngine) {
	for _, c := range []struct {
		fault   Fault
		repeats error
	}{{FailBefore, nil}, {FailAfter, store.ErrConflict}} {
		faulty := &Faulty{Records: e, OnApply: func(string, []store.Op) Fault { return c.fault }}
		name := "a" + c.fault.String()
		_, err := faulty.Apply(t.Context(), "p", PutNew(name, "once"))
		wantError(t, c.fault.String(), err, store.ErrUnavailable)
		_, err = e.Apply(t.Context(), "p", PutNew(name, "once"))
		wantError(t, c.fault.String()+", repeated", err, c.repeats)
		wantValue(t, e, "p", name, []byte("once"))
	}
}

func testReopen(t *testing.T, e RecordsEngine) {
	if e.Reopen == nil { // an engine that keeps nothing over a stop promises nothing here
		return
	}
	at := e.Now().Add(time.Hour).Truncate(time.Millisecond)
	mustApply(t, e, "p", Put("gone", "x"), Put("kept", "1"), putUntil("later", at))
	kept := mustApply(t, e, "p", Put("kept", "2"))
	last := mustApply(t, e, "p", Delete("gone"))
	emptied := mustApply(t, e, "q", Put("a", "x"))
	emptied = max(emptied, mustApply(t, e, "q", Delete("a")))

	again := e.Reopen(t)
	wantValue(t, again, "p", "gone", nil)
	if got := wantValue(t, again, "p", "kept", []byte("2")); got.Revision != kept {
		t.Errorf("got revision %d, want %d", got.Revision, kept)
	}
	if got := wantValue(t, again, "p", "later", []byte("until")); !got.ExpiresAt.Equal(at) {
		t.Errorf("got expiry %v, want %v", got.ExpiresAt, at)
	}
	if got := mustApply(t, again, "p", PutNew("gone", "y")); got <= last {
		t.Errorf("got revision %d, want one above %d", got, last)
	}
	if got := mustApply(t, again, "q", PutNew("a", "y")); got <= emptied {
		t.Errorf("an emptied partition: got revision %d, want one above %d", got, emptied)
	}
	if _, err := again.Apply(t.Context(), "p", PutAt(kept, "kept", "3")); err != nil {
		t.Errorf("put over a revision from before: %v", err)
	}
}

func isConflict(err error) bool { return errors.Is(err, store.ErrConflict) }
