package main

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/store"
	"latchkey/configs"
)

// keyIDs answers the ids of a kind in the order of the list, and what the list says.
func (s *stage) keyIDs(kind string) ([]string, string) {
	s.t.Helper()
	out := well(s.t, "keys", "list", "-config", s.file).out
	var ids []string
	for _, m := range regexp.MustCompile(`(?m)^([ms]\w+) +`+kind+` `).FindAllStringSubmatch(out, -1) {
		ids = append(ids, m[1])
	}
	return ids, out
}

func TestKeysRotate(t *testing.T) {
	t.Parallel()
	onAndOff(t, func(t *testing.T, s *stage) {
		before, _ := s.keyIDs("mac")
		signs, _ := s.keyIDs("sign")
		for _, args := range [][]string{{"rotate"}, {"drop"}, {"turn"}, {}} {
			if c := call(t, append([]string{"keys", "-config", s.file}, args...)...); c.code != exitUsage {
				t.Errorf("%v: exit %d", args, c.code)
			}
		}
		well(t, "keys", "rotate", "-mac", "-sign", "-config", s.file)
		macs, list := s.keyIDs("mac")
		if len(macs) != 2 || macs[1] != before[0] || !regexp.MustCompile(`current +nothing\n`).MatchString(list) || !regexp.MustCompile(`former +3 of app-passwords\n`).MatchString(list) {
			t.Errorf("after a rotation:\n%s", list)
		}
		now, _ := s.keyIDs("sign")
		if len(now) != 2 || now[1] != signs[0] || !strings.Contains(list, "signs from ") {
			t.Errorf("signing keys:\n%s", list)
		}
		refused(t, []string{before[0], "is needed: 3 of app-passwords"}, "keys", "drop", before[0], "-config", s.file)
		refused(t, []string{macs[0], "is in use"}, "keys", "drop", macs[0], "-config", s.file)
		refused(t, []string{signs[0], "is in use"}, "keys", "drop", signs[0], "-config", s.file)
		refused(t, []string{"no such key"}, "keys", "drop", "m0", "-config", s.file)
		well(t, "keys", "export", "-config", s.file, "-dovecot", s.path("dovecot"))
		if l, _ := filepath.Glob(s.path("dovecot/default/ES256/s*")); len(l) != 2 {
			t.Errorf("exported %q, want both", l)
		}
		well(t, "keys", "drop", now[0], "-config", s.file)
		if st, err := os.Stat(s.path("keys.json")); err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("mode %v, %v", st.Mode(), err)
		}
		if macs, list := s.keyIDs("mac"); len(macs) != 2 {
			t.Errorf("all that was refused left:\n%s", list)
		}
	})
}

// A key that is rotated when the snapshot begins is named by the backup that needs it.
func TestBackupNamesTheKeysOfItsSnapshot(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	cfg, err := configs.Load(s.file)
	if err != nil {
		t.Fatal(err)
	}
	h := &house{log: slog.New(slog.DiscardHandler)}
	if err := h.openStore(t.Context(), cfg, waysOut{keep: true}); err != nil {
		t.Fatal(err)
	}
	defer h.db.Close()
	w, ctx := h.works(), t.Context()
	next, err := w.keys.Rotated(time.Now(), true, false)
	if err != nil {
		t.Fatal(err)
	}
	entries, used, stop, err := beginSnapshot(ctx, w, func(yield func(store.Entry, error) bool) {
		if err := authcore.NoteKeys(ctx, w.db, next); err != nil {
			t.Error(err)
		}
		w.db.Snapshot(ctx)(yield)
	})
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	if !slices.Contains(used.IDs, next.CurrentMAC()) {
		t.Errorf("the header names %v, and not %s", used.IDs, next.CurrentMAC())
	}
	n, found := 0, false
	for e, err := range entries {
		if err != nil {
			t.Fatal(err)
		}
		n++
		found = found || bytes.Contains(e.Record.Value, []byte(next.CurrentMAC()))
	}
	all := 0
	for range w.db.Snapshot(ctx) {
		all++
	}
	if n != all || !found {
		t.Errorf("%d entries of %d, the noted key among them: %v", n, all, found)
	}
}

// Beside a running server: app passwords go over to the new key as they are used, then the old one can go; no program
// notices. A backup from before needs it, and a server that lacks a key does not start.
func TestKeysGoOver(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	p := s.serve()
	old := s.path("backup-before")
	well(t, "backup", "-config", s.file, "-out", old)
	before, _ := s.keyIDs("mac")
	well(t, "keys", "rotate", "-mac", "-config", s.file)
	for _, state := range []string{"app-only", "opted-in", "two-step"} {
		if got := s.signIn("imap", state); !strings.HasPrefix(got, good["imap"]) {
			t.Errorf("%s: %q", state, got)
		}
	}
	deadline := time.Now().Add(patience)
	for {
		if _, list := s.keyIDs("mac"); regexp.MustCompile(`former +nothing\n`).MatchString(list) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("app passwords stay under the old key")
		}
		time.Sleep(200 * time.Millisecond) // of the program's own time, which is real
	}
	both, err := os.ReadFile(s.path("keys.json"))
	if err != nil {
		t.Fatal(err)
	}
	well(t, "keys", "drop", before[0], "-config", s.file)
	s.wantAll("after the drop", "app-only", good)
	less, err := os.ReadFile(s.path("keys.json"))
	if err != nil {
		t.Fatal(err)
	}
	other := newStage(t)
	theirs, err := os.ReadFile(other.path("keys.json"))
	if err != nil {
		t.Fatal(err)
	}
	s.write("keys.json", string(theirs), 0o600)
	p.signal(syscall.SIGHUP)
	p.says("the old server keys stay")
	s.wantAll("after a reload of other keys", "app-only", good)
	p.stop()
	refused(t, []string{"lacks m", s.path("keys.json")}, "serve", "-config", s.file)
	s.write("keys.json", string(less), 0o600)
	s.serve().stop()
	s.elsewhere()
	s.write("keys.json", string(less), 0o600)
	refused(t, []string{"lacks " + before[0]}, "restore", "-config", s.file, old)
	s.write("keys.json", string(both), 0o600)
	well(t, "restore", "-config", s.file, old)
	s.serve()
	s.wantAll("after a restore of what was before", "app-only", good)
}

func TestBackupWithKeys(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	file, keys, pass := s.path("backup"), s.path("backup-keys"), s.write("passphrase", "four words of mine\n", 0o600)
	with := func(command string, more ...string) []string {
		return append([]string{command, "-config", s.file, "-with-keys", keys, "-passphrase-file", pass}, more...)
	}
	refused(t, []string{"at least"}, "backup", "-config", s.file, "-with-keys", keys, "-passphrase-file", s.write("short", "short\n", 0o600), "-out", file)
	if c := call(t, with("backup")...); c.code != exitUsage {
		t.Errorf("to standard output: exit %d", c.code)
	}
	well(t, with("backup", "-out", file)...)
	refused(t, []string{"exists"}, with("backup", "-out", s.path("another"))...)
	sealed, err := os.ReadFile(keys)
	if st, e := os.Stat(keys); err != nil || e != nil || st.Mode().Perm() != 0o600 || strings.Contains(string(sealed), "mac") {
		t.Errorf("mode %v (%v, %v)", st.Mode(), err, e)
	}
	refused(t, []string{"exists", "move it away"}, with("restore", file)...)
	s.elsewhere()
	refused(t, []string{"cannot be opened"}, "restore", "-config", s.file, "-with-keys", keys, "-passphrase-file", s.write("wrong", "four other words\n", 0o600), file)
	if _, err := os.Stat(s.path("keys.json")); err == nil {
		t.Error("keys were made with a wrong passphrase")
	}
	other := newStage(t)
	well(t, "backup", "-config", other.file, "-out", other.path("backup"))
	refused(t, []string{"lacks m"}, with("restore", other.path("backup"))...)
	well(t, with("restore", file)...)
	s.serve()
	s.wantAll("after a restore with keys", "app-only", good)
}
