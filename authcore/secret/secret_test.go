package secret

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestStringNeverPrints(t *testing.T) {
	const canary = "hunter2-canary"
	s := New(canary)
	holder := struct {
		S String
		P *String
	}{s, &s}
	hidden := struct{ s String }{s} // fmt calls no method of an unexported field
	var out bytes.Buffer
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "s", s, "h", holder, "x", hidden)
	for _, f := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&out, f+f+f+f, s, &s, holder, hidden)
	}
	j, err := json.Marshal(holder)
	if err != nil {
		t.Fatal(err)
	}
	out.Write(j)
	fmt.Fprint(&out, fmt.Errorf("wrap %v", s))
	hex := fmt.Sprintf("%x", canary)
	if got := out.String(); strings.Contains(got, canary) || strings.Contains(got, hex) {
		t.Errorf("the secret got out: %s", got)
	}
	if s.Reveal() != canary {
		t.Error("Reveal does not answer the secret")
	}
}

func TestKeysFileRoundTrip(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.json")
	k, err := NewKeys(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Create(path); err != nil {
		t.Fatal(err)
	}
	if st, _ := os.Stat(path); st.Mode().Perm() != 0o600 {
		t.Errorf("mode %o, want 600", st.Mode().Perm())
	}
	if err := k.Create(path); !errors.Is(err, ErrKeysExist) {
		t.Errorf("a second Create: %v, want ErrKeysExist", err)
	}
	l, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	id, want := k.MAC("p", "a", "b")
	got, ok := l.MACUnder(id, "p", "a", "b")
	if !ok || !bytes.Equal(got, want) {
		t.Error("the loaded key makes another MAC")
	}
	if !l.SigningAt(time.Now()).Private.Equal(k.SigningAt(time.Now()).Private) {
		t.Error("the loaded signing key differs")
	}
}

func TestMACPartsAreSeparate(t *testing.T) {
	k, _ := NewKeys(time.Now())
	_, a := k.MAC("p", "ab", "c")
	_, b := k.MAC("p", "a", "bc")
	_, c := k.MAC("pa", "b", "c")
	if bytes.Equal(a, b) || bytes.Equal(a, c) {
		t.Error("parts run together")
	}
}

func TestLoadRefuses(t *testing.T) {
	k, _ := NewKeys(time.Now())
	good, _ := k.marshal()
	for _, c := range []struct {
		name, content string
		mode          os.FileMode
	}{
		{"readable by others", string(good), 0o640},
		{"not JSON", "secret-material", 0o600},
		{"newer", `{"version":2}`, 0o600},
		{"empty", `{"version":1}`, 0o600},
		{"short key", `{"version":1,"keys":[{"id":"m1","kind":"mac","secret":"c2hvcnQ="}]}`, 0o600},
		{"an id twice", strings.Replace(string(good), `"keys": [`, `"keys": [{"id":"`+k.CurrentMAC()+`","kind":"mac","secret":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="},`, 1), 0o600},
		{"unknown kind", `{"version":1,"keys":[{"id":"m1","kind":"x"}]}`, 0o600},
	} {
		path := filepath.Join(t.TempDir(), "keys.json")
		if err := os.WriteFile(path, []byte(c.content), c.mode); err != nil {
			t.Fatal(err)
		}
		_ = os.Chmod(path, c.mode)
		if _, err := Load(path); err == nil || strings.Contains(err.Error(), "secret-material") {
			t.Errorf("%s: got %v, want a refusal that quotes nothing", c.name, err)
		}
	}
}

// Whatever was hashed before, at once and by many, a MAC is that of RFC 2104 over the parts with their lengths.
func TestMACIsThatOfItsParts(t *testing.T) {
	keys, err := NewKeys(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	key := keys.held.Load().current().key
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for n := range 50 {
				parts := []string{"name", strings.Repeat("x", i*n), ""}
				if _, got := keys.MAC("purpose", parts...); !bytes.Equal(got, macOf(key, "purpose", parts)) {
					t.Errorf("%d bytes: another MAC", i*n)
				}
			}
		})
	}
	all.Wait()
}
