package redis

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func testHeads(t *testing.T, dir string, atOnce bool) *heads {
	t.Helper()
	h, err := openHeads(dir, atOnce, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestHeadBelow(t *testing.T) {
	seen := head{Revision: 10, Witness: 7, Incarnation: 3}
	for _, c := range []struct {
		name  string
		there head
		want  bool
	}{
		{"the same", seen, false},
		{"others wrote", head{12, 7, 3}, false},
		{"a batch that was not acknowledged is there", head{12, 12, 3}, false},
		{"the revision is lower", head{9, 7, 3}, true},
		{"others wrote past what was lost", head{30, 6, 3}, true},
		{"emptied", head{}, true},
		{"accepted", head{1, 0, 4}, false},
		{"from before it was accepted", head{30, 30, 2}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := c.there.below(seen); got != c.want {
				t.Errorf("got %t, want %t", got, c.want)
			}
		})
	}
}

func TestHeadsCheck(t *testing.T) {
	h := testHeads(t, t.TempDir(), false)
	defer h.close()
	early := h.seen(5)
	h.wrote(5, early, 10)
	if err := h.check(5, early, 9, 0); err != nil {
		t.Errorf("an answer that was overtaken: %v", err)
	}
	if err := h.check(5, h.seen(5), 12, 10); err != nil {
		t.Errorf("a higher revision: %v", err)
	}
	if err := h.check(5, h.seen(5), 11, 10); err != nil {
		t.Errorf("what was only read was taken for durable: %v", err)
	}
	if err := h.check(5, h.seen(5), 40, 9); !errors.Is(err, ErrRolledBack) {
		t.Errorf("without this node's last batch: %v", err)
	}
	if err := h.closed(); !errors.Is(err, ErrRolledBack) {
		t.Errorf("it goes on: %v", err)
	}
	h.looked(5, h.seen(5), head{Revision: 50, Witness: 10}, true)
	if h.closed() == nil {
		t.Error("the alarm ended because others wrote")
	}
	before := h.seen(5)
	h.looked(5, before, head{Revision: 2, Incarnation: 100}, false)
	if h.closed() == nil {
		t.Error("an acceptance counts that may be lost")
	}
	h.looked(5, before, head{Revision: 2, Incarnation: 100}, true)
	if err := h.closed(); err != nil {
		t.Errorf("accepted: %v", err)
	}
	if err := h.check(5, before, 2, 0); !errors.Is(err, errAskAgain) || h.closed() != nil {
		t.Errorf("asked before the acceptance, answered after it: %v, closed %v", err, h.closed())
	}
	h.wrote(5, before, 41)
	if got := h.seen(5); got != (head{Revision: 2, Incarnation: 100}) {
		t.Errorf("a batch from before the acceptance counts: %+v", got)
	}
}

// What only stands on one server, because no replica acknowledges, is all that there is: a read of it counts.
func TestHeadsAtOnce(t *testing.T) {
	h := testHeads(t, t.TempDir(), true)
	defer h.close()
	if err := h.check(5, h.seen(5), 12, 0); err != nil {
		t.Fatal(err)
	}
	if err := h.check(5, h.seen(5), 11, 0); !errors.Is(err, ErrRolledBack) {
		t.Errorf("got %v, want ErrRolledBack", err)
	}
}

func TestNotesStay(t *testing.T) {
	dir := t.TempDir()
	h := testHeads(t, dir, false)
	id := h.id()
	h.wrote(200, h.seen(200), 77)
	h.looked(3, h.seen(3), head{9, 0, 5}, true)
	_ = h.check(200, h.seen(200), 70, 70)
	h.belongs("store-1")
	if err := h.close(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{notesName, notesLock} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
	h = testHeads(t, dir, false)
	defer h.close()
	if h.id() != id || h.seen(200) != (head{77, 77, 0}) || h.seen(3) != (head{9, 0, 5}) {
		t.Errorf("got %s %+v %+v", h.id(), h.seen(200), h.seen(3))
	}
	if !errors.Is(h.closed(), ErrRolledBack) {
		t.Error("the loss is forgotten")
	}
	if other := h.belongs("store-2"); other != "store-1" {
		t.Errorf("another store: got %q", other)
	}
}

func TestNotesAreKeptSoon(t *testing.T) {
	dir := t.TempDir()
	h := testHeads(t, dir, false)
	defer h.close()
	h.wrote(1, h.seen(1), 5)
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		n, err := h.notes.read()
		if err == nil && n.Heads[1].Witness == 5 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not kept: %+v, %v", n, err)
		}
	}
}

// A node that was away for longer than its witnesses are kept takes a new name, and keeps what it has seen of others.
func TestNotesOfLongAgo(t *testing.T) {
	dir := t.TempDir()
	h := testHeads(t, dir, false)
	id := h.id()
	h.wrote(1, h.seen(1), 5)
	n := h.snapshot()
	if err := h.close(); err != nil {
		t.Fatal(err)
	}
	n.Saved = time.Now().Add(-renameAfter - time.Hour)
	f := &notesFile{dir: dir}
	if err := f.put(n); err != nil {
		t.Fatal(err)
	}
	h = testHeads(t, dir, false)
	defer h.close()
	if h.id() == id || h.seen(1) != (head{Revision: 5}) {
		t.Errorf("same name %t, has seen %+v", h.id() == id, h.seen(1))
	}
}

func TestNotesDamaged(t *testing.T) {
	dir := t.TempDir()
	h := testHeads(t, dir, false)
	h.wrote(1, h.seen(1), 5)
	if err := h.close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, notesName)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := -1; i < len(whole); i++ { // -1: the end is missing
		bad := append([]byte{}, whole...)
		if i < 0 {
			bad = bad[:len(bad)/2]
		} else {
			bad[i] ^= 1
		}
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if h, err := openHeads(dir, false, slog.New(slog.DiscardHandler)); err == nil {
			h.close()
			t.Fatalf("byte %d: opened", i)
		} else if !strings.Contains(err.Error(), "damaged") || !strings.Contains(err.Error(), path) {
			t.Fatalf("byte %d: %v", i, err)
		}
	}
}

func TestStateFolderRefused(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	dir := t.TempDir()
	h := testHeads(t, dir, false)
	defer h.close()
	if _, err := openHeads(dir, false, log); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("twice: %v", err)
	}
	open := filepath.Join(t.TempDir(), "open")
	if err := os.MkdirAll(filepath.Join(open, "something else"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := openHeads(open, false, log); err == nil || !strings.Contains(err.Error(), "chmod 700") {
		t.Errorf("open to others: %v", err)
	}
	if _, err := openHeads("", false, log); err == nil {
		t.Error("no folder: opened")
	}
}
