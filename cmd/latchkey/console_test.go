package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"latchkey/proxy/peers"
)

// walk is somebody with a browser before the demo. Every page that he comes to is looked at: by axe-core, by its weight, by
// what the browser complains of; and a picture of it is taken where pictures are wanted.
type walk struct {
	t      *testing.T
	d      *runningDemo
	b      *peers.Browser
	watch  *peers.Watch
	shots  string // folder of the pictures; empty: none is taken
	script bool
	narrow bool
}

// picturesOf names the folder where pictures are kept (make pictures).
const picturesOf = "LATCHKEY_PICTURES"

// heaviest is what one page may weigh with everything that it loads, in bytes.
const heaviest = 100_000

// manner is how somebody walks.
type manner struct {
	name           string
	narrow, script bool
}

func newWalk(t *testing.T, d *runningDemo, how manner) *walk {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(filepath.Join(filepath.Dir(d.CA), "server.pem"), filepath.Join(filepath.Dir(d.CA), "server.key"))
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	w := &walk{t: t, d: d, b: peers.Chromium(t, leaf), shots: os.Getenv(picturesOf), script: how.script, narrow: how.narrow}
	w.watch = w.b.Watch(t)
	w.b.Script(t, how.script)
	if w.narrow {
		w.b.Size(t, 360, 740)
	} else {
		w.b.Size(t, 1280, 900)
	}
	return w
}

// person is somebody of the demo.
func (w *walk) person(state string) (address, password string) {
	w.t.Helper()
	for _, p := range w.d.People {
		if p.State == state {
			return p.Address, p.AccountPassword
		}
	}
	w.t.Fatalf("nobody is %s", state)
	return "", ""
}

// on waits for the page with that heading and looks at it.
func (w *walk) on(heading string) {
	w.t.Helper()
	w.b.On(w.t, heading)
	if n := w.watch.Weigh(); n > heaviest {
		w.t.Errorf("%s: %d bytes, and %d would be enough", heading, n, heaviest)
	}
	if w.script {
		w.b.Accessible(w.t)
	}
}

// picture keeps one of the page as it is.
func (w *walk) picture(name string) {
	w.t.Helper()
	if w.shots == "" || !w.script {
		return
	}
	if w.narrow {
		name += "-360"
	}
	w.b.Shot(w.t, filepath.Join(w.shots, name+".png"))
}

// signIn comes to the page for it and types.
func (w *walk) signIn(address, password string) {
	w.t.Helper()
	w.b.Open(w.t, w.d.API+"/")
	w.on("Sign in")
	w.b.Fill(w.t, "Address", address)
	w.b.Fill(w.t, "Password", password)
	w.b.Press(w.t, "Sign in")
}

// security follows the help page: the profile picture on the top right, then "Security".
func (w *walk) security() {
	w.t.Helper()
	w.b.Press(w.t, "Profile picture: open the menu")
	w.b.Follow(w.t, "Security")
	w.on("Security")
}

// account follows the other one: the menu at the left, "Security", "Account Security"; on mobile behind a button.
func (w *walk) account() {
	w.t.Helper()
	if w.narrow {
		w.b.Press(w.t, "Menu")
	}
	w.b.Press(w.t, "Security")
	w.b.Follow(w.t, "Account Security")
	w.on("Account Security")
}

// groups is how an app password is shown.
var groups = regexp.MustCompile(`\b[a-z0-9]{4}(?:-[a-z0-9]{4}){3}\b`)

// secret reads the app password that the page shows.
func (w *walk) secret() string {
	w.t.Helper()
	s := groups.FindString(w.b.Text(w.t))
	if s == "" {
		w.t.Fatalf("no password is shown:\n%s", w.b.Text(w.t))
	}
	return s
}

// code reads the last code that was sent to an address, once it is another one than before.
func (w *walk) code(to, before string) string {
	w.t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	end := time.After(10 * time.Second)
	for {
		if c := w.lastCode(to); c != "" && c != before {
			return c
		}
		select {
		case <-tick.C:
		case <-end:
			w.t.Fatalf("no code came to %s", to)
		}
	}
}

func (w *walk) lastCode(to string) string {
	w.t.Helper()
	r, err := http.Get(w.d.Ops + "/demo/outbox?format=json&to=" + url.QueryEscape(to))
	if err != nil {
		w.t.Fatal(err)
	}
	defer r.Body.Close()
	var box struct {
		Items []struct{ Text string }
	}
	if err := json.NewDecoder(r.Body).Decode(&box); err != nil {
		w.t.Fatal(err)
	}
	for _, m := range box.Items {
		if c := sixDigits.FindString(m.Text); c != "" {
			return c
		}
	}
	return ""
}

// comesIn says whether a mail program with that password comes in at the IMAP door.
func (w *walk) comesIn(address, password string) bool {
	w.t.Helper()
	answer, err := door{"imap", w.d.Doors.IMAPS, w.d.CA}.signIn(w.d.tls, address, password)
	if err != nil {
		w.t.Fatal(err)
	}
	return strings.HasPrefix(answer, "a OK")
}

// everyManner walks wide and with script; with LATCHKEY_DRILLS=long also narrow, and without script.
func everyManner(t *testing.T, long bool, do func(*testing.T, manner)) {
	manners := []manner{{"wide", false, true}}
	if long {
		manners = []manner{{"narrow", true, true}, {"without script", false, false}, {"narrow without script", true, false}}
	}
	for _, m := range manners {
		t.Run(strings.ReplaceAll(m.name, " ", "-"), func(t *testing.T) {
			t.Parallel()
			do(t, m)
		})
	}
}
