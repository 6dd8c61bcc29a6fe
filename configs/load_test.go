package configs

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// least is the shortest file that can serve.
const least = `
hostname: mail.example.com
certificates: [{cert_file: /c.pem, key_file: /k.pem}]
listeners: [{name: imaps, protocol: imap, address: ":993", tls: implicit}]
`

func TestDefaults(t *testing.T) {
	got, err := Parse("least.yaml", []byte(least))
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.Hostname = "mail.example.com"
	want.Certificates = []Certificate{{CertFile: "/c.pem", KeyFile: "/k.pem"}}
	want.Listeners = []Listener{{Name: "imaps", Protocol: IMAP, Address: ":993", TLS: Implicit}}
	want.path, want.lines = got.path, got.lines
	if !reflect.DeepEqual(*got, want) {
		t.Errorf("got %+v\nwant %+v", *got, want)
	}
	if got.Path() != "least.yaml" {
		t.Errorf("path %q", got.Path())
	}
}

func TestValues(t *testing.T) {
	c, err := Parse("x.yaml", []byte(least+`
cutoff: 2020-01-01T00:00:00Z
upstreams:
  web:
    protocol: http
    sign_in: header
    header: "X-Remote-User"
    tls: {mode: tls, insecure: true}
limits:
  hold: 0s
  idle_timeout: 1h30m
  hash_slots: 0x10
  per_source:
`))
	if err != nil {
		t.Fatal(err)
	}
	for name, pair := range map[string][2]any{
		"cutoff":       {c.Cutoff.UTC(), time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)},
		"header":       {c.Upstreams["web"].Header, "X-Remote-User"},
		"insecure":     {c.Upstreams["web"].TLS.Insecure, true},
		"hold":         {c.Limits.Hold, time.Duration(0)},
		"idle_timeout": {c.Limits.IdleTimeout, 90 * time.Minute},
		"hash_slots":   {c.Limits.HashSlots, 16},
		"left empty":   {c.Limits.PerSource, Default().Limits.PerSource},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s: got %v, want %v", name, pair[0], pair[1])
		}
	}
}

func TestNetworks(t *testing.T) {
	c, err := Parse("x.yaml", []byte(strings.Replace(least, "tls: implicit", `tls: implicit, proxy_protocol_from: [10.0.0.0/8, "2001:db8::/32"]`, 1)))
	if err != nil {
		t.Fatal(err)
	}
	want := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32")}
	if got := c.Listeners[0].ProxyFrom; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestAt(t *testing.T) {
	c, err := Parse("x.yaml", []byte(least+"upstreams:\n  mail:\n    sign_in: token\n    tls: {mode: tls}\n"))
	if err != nil {
		t.Fatal(err)
	}
	for key, line := range map[string]int{
		"listeners[0].address": 4, "listeners[0].upstreams[3]": 4, "upstreams.mail.sign_in": 7, "upstreams.mail.master": 6,
		"upstreams.other": 5, "data": 0, "": 0,
	} {
		if got := c.At(key, "is odd").Line; got != line {
			t.Errorf("%q: line %d, want %d", key, got, line)
		}
	}
	if got, want := c.At("upstreams.mail.master", "is %s", "missing").Error(), "x.yaml:6: upstreams.mail.master: is missing"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "latchkey.yaml")
	if _, err := Load(file); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	write(t, file, least, 0o644)
	if c, err := Load(file); err != nil || c.Path() != file {
		t.Errorf("got %+v, %v", c, err)
	}
	write(t, file, least+strings.Repeat("#", maxFile), 0o644)
	if _, err := Load(file); err == nil || !strings.Contains(err.Error(), "has over") {
		t.Errorf("too large: %v", err)
	}
	if _, err := Load(dir); err == nil {
		t.Error("a folder was read as a file")
	}
}

func write(t *testing.T, file, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(file, mode); err != nil { // whatever the umask, and for a file that was there
		t.Fatal(err)
	}
}

func TestSecret(t *testing.T) {
	const hush = "hush-hush"
	for name, c := range map[string]struct {
		text string
		mode os.FileMode
		want string // of the secret, or
		bad  string // of the error
	}{
		"a line":             {hush + "\n", 0o600, hush, ""},
		"no line end":        {hush, 0o400, hush, ""},
		"line end of DOS":    {hush + "\r\n", 0o640, hush, ""},
		"the first of lines": {hush + "\nmore\n", 0o600, hush, ""},
		"spaces are part":    {" " + hush + " \n", 0o600, " " + hush + " ", ""},
		"everybody reads":    {hush, 0o604, "", "chmod o="},
		"everybody writes":   {hush, 0o602, "", "chmod o="},
		"empty":              {"", 0o600, "", "is empty"},
		"an empty line":      {"\n" + hush, 0o600, "", "is empty"},
		"too large":          {hush + strings.Repeat("x", maxSecret), 0o600, "", "has over 4096 bytes"},
		"as large as may be": {strings.Repeat("x", maxSecret), 0o600, strings.Repeat("x", maxSecret), ""},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "secret")
			write(t, file, c.text, c.mode)
			s, err := Upstream{SecretFile: file}.Secret()
			if got := s.Reveal(); got != c.want {
				t.Errorf("secret %q, want %q", got, c.want)
			}
			switch {
			case c.bad == "" && err != nil:
				t.Errorf("error %v", err)
			case c.bad != "" && (err == nil || !strings.Contains(err.Error(), c.bad)):
				t.Errorf("error %v, want %q in it", err, c.bad)
			case err != nil && strings.Contains(err.Error(), hush):
				t.Errorf("the error tells the secret: %v", err)
			}
		})
	}
}

func TestSecretIsNoFile(t *testing.T) {
	if s, err := (Upstream{}).Secret(); err != nil || !s.Empty() {
		t.Errorf("no file named: %v", err)
	}
	if _, err := (Upstream{SecretFile: t.TempDir()}).Secret(); err == nil || !strings.Contains(err.Error(), "no plain file") {
		t.Errorf("folder: %v", err)
	}
	if _, err := (Upstream{SecretFile: filepath.Join(t.TempDir(), "none")}).Secret(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no such file: %v", err)
	}
}

// A secret that cannot be read is a mistake of its key.
func TestSecretMistake(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	write(t, file, "hush-hush", 0o644)
	_, err := Parse("x.yaml", []byte(least+"upstreams:\n  mail:\n    sign_in: master\n    tls: {mode: tls}\n    secret_file: "+file+"\n"))
	var m Mistakes
	if !errors.As(err, &m) || len(m) != 1 || m[0].Key != "upstreams.mail.secret_file" || m[0].Line != 9 {
		t.Errorf("got %v", err)
	}
}
