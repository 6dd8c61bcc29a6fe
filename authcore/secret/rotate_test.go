package secret

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

func rotated(t *testing.T, k *Keys, mac, sign bool) *Keys {
	t.Helper()
	next, err := k.Rotated(time.Now(), mac, sign)
	if err != nil {
		t.Fatal(err)
	}
	return next
}

func TestRotationKeepsWhatWasMade(t *testing.T) {
	k, _ := NewKeys(time.Now())
	id, want := k.MAC("p", "a")
	sealed, print := k.Seal("p", "here", []byte("plain")), k.Fingerprint("p", "name")
	k.Take(rotated(t, k, true, false))
	if k.CurrentMAC() == id {
		t.Error("the current key is the old one")
	}
	if got, ok := k.MACUnder(id, "p", "a"); !ok || !bytes.Equal(got, want) {
		t.Error("the old key makes another MAC")
	}
	if p, err := k.Open("p", "here", sealed); err != nil || string(p) != "plain" {
		t.Errorf("what was sealed: %q, %v", p, err)
	}
	if k.Fingerprint("p", "name") != print {
		t.Error("a rotation renames what is named by its fingerprint")
	}
	if s := k.Seal("p", "here", nil); s.KeyID != k.CurrentMAC() {
		t.Error("sealed under an old key")
	}
	less, err := k.Without(id, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := less.MACUnder(id, "p", "a"); ok || less.Has(id) || !k.Has(id) {
		t.Error("the dropped key is still there, or gone from where it was not dropped")
	}
}

func TestWithoutRefuses(t *testing.T) {
	k, _ := NewKeys(time.Now())
	k.Take(rotated(t, k, true, true))
	pending := k.Published(time.Now())[1].ID
	for _, id := range []string{k.CurrentMAC(), k.SigningAt(time.Now()).ID} {
		if _, err := k.Without(id, time.Now()); !errors.Is(err, ErrCurrentKey) {
			t.Errorf("%s: %v", id, err)
		}
	}
	if _, err := k.Without("m0", time.Now()); !errors.Is(err, ErrNoKey) {
		t.Errorf("one that is not there: %v", err)
	}
	if less, err := k.Without(pending, time.Now()); err != nil || less.Has(pending) {
		t.Errorf("one that does not sign yet: %v", err)
	}
	for range maxKeys - 2 {
		k.Take(rotated(t, k, true, false))
	}
	if _, err := k.Rotated(time.Now(), true, false); !errors.Is(err, ErrManyKeys) {
		t.Errorf("one key too many: %v", err)
	}
}

// Whoever reads the file meanwhile finds one of the two, whole.
func TestReplaceIsWhole(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "keys.json")
	k, _ := NewKeys(time.Now())
	if err := k.Create(path); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := Load(path); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for range maxKeys - 1 {
		k.Take(rotated(t, k, true, true))
		if err := k.Replace(path); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	readers.Wait()
	l, err := Load(path)
	if err != nil || l.CurrentMAC() != k.CurrentMAC() || fmt.Sprint(l.List(time.Now())) != fmt.Sprint(k.List(time.Now())) {
		t.Errorf("what was written is not what is read: %v", err)
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".latchkey-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestRacingCreateMakesOne(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.json")
	ids := make(chan string, 50)
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			k, _ := NewKeys(time.Now())
			if err := k.Create(path); err == nil {
				ids <- k.CurrentMAC()
			} else if !errors.Is(err, ErrKeysExist) {
				t.Error(err)
			}
		})
	}
	all.Wait()
	l, err := Load(path)
	if err != nil || len(ids) != 1 || <-ids != l.CurrentMAC() {
		t.Errorf("%v", err)
	}
}

func TestRotationUnderUse(t *testing.T) {
	k, _ := NewKeys(time.Now())
	var users sync.WaitGroup
	for range 50 {
		users.Go(func() {
			for range 200 {
				id, mac := k.MAC("p", "a")
				if got, ok := k.MACUnder(id, "p", "a"); !ok || !bytes.Equal(got, mac) {
					t.Error("a MAC does not hold")
				}
				s := k.Seal("p", "b", []byte("x"))
				if _, err := k.Open("p", "b", s); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range maxKeys - 1 {
		k.Take(rotated(t, k, true, true))
	}
	users.Wait()
}
