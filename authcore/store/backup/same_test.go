package backup_test

import (
	"bytes"
	"errors"
	"iter"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/authcore/store"
	"latchkey/authcore/store/backup"
	"latchkey/authcore/store/memory"
)

// changed is a snapshot of which one entry is another, left out where change answers none, or has one behind it.
func changed(all iter.Seq2[store.Entry, error], change func(store.Entry) []store.Entry) iter.Seq2[store.Entry, error] {
	return func(yield func(store.Entry, error) bool) {
		for e, err := range all {
			if err != nil {
				yield(e, err)
				return
			}
			for _, x := range change(e) {
				if !yield(x, nil) {
					return
				}
			}
		}
	}
}

// on changes the entry of a partition and a name.
func on(partition, name string, to func(e *store.Entry) bool) func(store.Entry) []store.Entry {
	return func(e store.Entry) []store.Entry {
		if e.Partition == partition && e.Record.Name == name && !to(&e) {
			return nil
		}
		return []store.Entry{e}
	}
}

func TestSame(t *testing.T) {
	r := filled(t)
	file := write(t, r.Snapshot(t.Context()), backup.WriteOptions{Gzip: true})
	for name, c := range map[string]struct {
		change func(store.Entry) []store.Entry
		says   string // empty: it is the same
	}{
		"the same":             {on("", "", nil), ""},
		"a value":              {on("d1", "a", func(e *store.Entry) bool { e.Record.Value = []byte("six"); return true }), `"a" of "d1" has another value`},
		"a revision":           {on("d1", "a", func(e *store.Entry) bool { e.Record.Revision = 1; return true }), `"a" of "d1" has revision 1, had 2`},
		"an expiry":            {on("d1", "until", func(e *store.Entry) bool { e.Record.ExpiresAt = time.Time{}; return true }), `"until" of "d1" expires`},
		"a missing record":     {on("d1", "empty", func(*store.Entry) bool { return false }), `"empty" of "d1" is missing`},
		"the last is missing":  {on("\xff", "large", func(*store.Entry) bool { return false }), `"large" of "\xff" is missing`},
		"a lower head":         {on("d1", "", func(e *store.Entry) bool { e.Highest = 1; return true }), `"" of "d1" is at revision 1, was at 2`},
		"a higher head":        {on("d1", "", func(e *store.Entry) bool { e.Highest = 9; return true }), ""},
		"an emptied partition": {on("d2", "", func(*store.Entry) bool { return false }), ""},
		"one more": {func(e store.Entry) []store.Entry {
			more := e
			more.Record.Name += "x"
			if e.Record.Name == "a" {
				return []store.Entry{e, more}
			}
			return []store.Entry{e}
		}, `"ax" of "d1" is not in the backup`},
		"one more at the end": {func(e store.Entry) []store.Entry {
			if e.Record.Name == "large" {
				return []store.Entry{e, {Partition: "\xff\xff", Highest: 1}}
			}
			return []store.Entry{e}
		}, `"" of "\xff\xff" is not in the backup`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := backup.Same(t.Context(), bytes.NewReader(file), changed(r.Snapshot(t.Context()), c.change))
			if c.says == "" && err != nil {
				t.Errorf("got %v, want the same", err)
			}
			if c.says != "" && (!errors.Is(err, backup.ErrDiffers) || !strings.Contains(err.Error(), c.says)) {
				t.Errorf("got %v, want ErrDiffers: %s", err, c.says)
			}
		})
	}
}

// A record whose time ends between backup and look is no difference; one that lives is.
func TestSameAfterExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := filled(t)
		file := write(t, r.Snapshot(t.Context()), backup.WriteOptions{})
		time.Sleep(2 * time.Hour)
		if _, err := backup.Same(t.Context(), bytes.NewReader(file), r.Snapshot(t.Context())); err != nil {
			t.Errorf("got %v, want the same", err)
		}
	})
}

// A store deletes by its own clock, which may be a little ahead of this one.
func TestSameWhereTheStoresClockIsAhead(t *testing.T) {
	for name, c := range map[string]struct {
		left time.Duration // of the record, by this clock, when the store has deleted it
		same bool
	}{
		"a second": {time.Second, true},
		"a minute": {time.Minute, true},
		"an hour":  {time.Hour, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				there := memory.NewRecords(memory.Options{Now: func() time.Time { return time.Now().Add(c.left) }})
				r := filled(t)
				file := write(t, r.Snapshot(t.Context()), backup.WriteOptions{})
				if err := there.Restore(t.Context(), r.Snapshot(t.Context())); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Hour - c.left)
				_, err := backup.Same(t.Context(), bytes.NewReader(file), there.Snapshot(t.Context()))
				if c.same && err != nil || !c.same && !errors.Is(err, backup.ErrDiffers) {
					t.Errorf("got %v, want the same: %v", err, c.same)
				}
			})
		})
	}
}

// What the snapshot could not read is told, and an empty store is no copy.
func TestSameFails(t *testing.T) {
	r := filled(t)
	file := write(t, r.Snapshot(t.Context()), backup.WriteOptions{})
	broken := func(yield func(store.Entry, error) bool) { yield(store.Entry{}, store.ErrCorrupt) }
	if _, err := backup.Same(t.Context(), bytes.NewReader(file), broken); !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("got %v, want ErrCorrupt", err)
	}
	empty := memory.NewRecords(memory.Options{})
	if _, err := backup.Same(t.Context(), bytes.NewReader(file), empty.Snapshot(t.Context())); !errors.Is(err, backup.ErrDiffers) {
		t.Errorf("got %v, want ErrDiffers", err)
	}
	if _, err := backup.Same(t.Context(), bytes.NewReader(file[:len(file)-20]), r.Snapshot(t.Context())); !errors.Is(err, backup.ErrDamaged) {
		t.Errorf("got %v, want ErrDamaged", err)
	}
}
