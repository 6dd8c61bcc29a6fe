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
	home   string // where the pages are
	b      *peers.Browser
	watch  *peers.Watch
	shots  string // folder of the pictures; empty: none is taken
	script bool
	narrow bool
	seen   map[string]bool // what stood on the pages that axe-core looked at
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
	w := walkAt(t, d.API, how, leafOf(t, d.CA))
	w.d = d
	return w
}

// leafOf is the certificate that lies beside its authority.
func leafOf(t *testing.T, ca string) *x509.Certificate {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(filepath.Join(filepath.Dir(ca), "server.pem"), filepath.Join(filepath.Dir(ca), "server.key"))
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	return leaf
}

// walkAt is somebody before pages elsewhere.
func walkAt(t *testing.T, home string, how manner, trusted ...*x509.Certificate) *walk {
	t.Helper()
	w := &walk{t: t, home: home, b: peers.Chromium(t, trusted...), shots: os.Getenv(picturesOf), script: how.script, narrow: how.narrow, seen: map[string]bool{}}
	w.watch = w.b.Watch(t)
	w.b.Script(t, how.script)
	w.b.Dark(t, false)
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
	w.look()
}

// look has axe-core look at the page, unless the same words stood on another one.
func (w *walk) look() {
	w.t.Helper()
	if !w.script {
		return
	}
	if text := w.b.Text(w.t); !w.seen[text] {
		w.seen[text] = true
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
	w.b.Open(w.t, w.home+"/")
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
func (w *walk) account() { w.t.Helper(); w.underSecurity("Account Security") }

// How secrets are shown.
var (
	appPasswordShape = regexp.MustCompile(`\b[a-z0-9]{4}(?:-[a-z0-9]{4}){3}\b`)
	temporaryShape   = regexp.MustCompile(`\b[A-Za-z0-9]{5}(?:-[A-Za-z0-9]{5}){3}\b`)
	appKeyShape      = regexp.MustCompile(`\b[A-Z2-7]{4}(?: [A-Z2-7]{4}){7}\b`)
)

// secret reads one that the page shows.
func (w *walk) secret(shape *regexp.Regexp) string {
	w.t.Helper()
	s := shape.FindString(w.b.Text(w.t))
	if s == "" {
		w.t.Fatalf("no secret is shown:\n%s", w.b.Text(w.t))
	}
	return s
}

// signOut is in the menu behind the profile picture.
func (w *walk) signOut() {
	w.t.Helper()
	w.b.Press(w.t, "Profile picture: open the menu")
	w.b.Press(w.t, "Sign out")
	w.on("Sign in")
	w.b.See(w.t, "You are signed out.")
}

// own goes to a page behind the profile picture.
func (w *walk) own(link string) {
	w.t.Helper()
	w.b.Press(w.t, "Profile picture: open the menu")
	w.b.Follow(w.t, link)
	w.on(link)
}

// left goes to a page of the menu at the left.
func (w *walk) left(link string) {
	w.t.Helper()
	if w.narrow {
		w.b.Press(w.t, "Menu")
	}
	w.b.Follow(w.t, link)
	w.on(link)
}

// underSecurity goes to a page in the group Security of the menu at the left.
func (w *walk) underSecurity(link string) {
	w.t.Helper()
	if w.narrow {
		w.b.Press(w.t, "Menu")
	}
	if !w.b.Has(w.t, "link", link) { // it is open on a page of its own
		w.b.Press(w.t, "Security")
	}
	w.b.Follow(w.t, link)
	w.on(link)
}

// says waits for the page with that heading that says these words.
func (w *walk) says(heading string, words ...string) {
	w.t.Helper()
	w.b.On(w.t, heading)
	w.b.See(w.t, words...)
	w.on(heading)
}

// code reads the last code that was sent to an address, once it is another one than before.
func (w *walk) code(to, before string) string {
	w.t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	end := time.After(patience)
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

// api is a program that somebody signed in to.
func (w *walk) api(address, password string) *apiClient {
	w.t.Helper()
	tr := &http.Transport{TLSClientConfig: w.d.tls}
	w.t.Cleanup(tr.CloseIdleConnections)
	c := &apiClient{http: &http.Client{Transport: tr, Timeout: patience}, base: w.d.API + "/api/v1"}
	var in struct{ Token string }
	if status, err := c.do("POST", "/sign-in", m{"login": address, "password": password}, &in); err != nil || status != 200 || in.Token == "" {
		w.t.Fatalf("sign in over the API: %d %v", status, err)
	}
	c.token = in.Token
	return c
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

// everyManner walks wide and with script; as a drill without script at 360 px, and with LATCHKEY_DRILLS=long also with only
// one of both.
func everyManner(t *testing.T, drill bool, do func(*testing.T, manner)) {
	manners := []manner{{"wide", false, true}}
	if drill {
		manners = []manner{{"narrow without script", true, false}}
		if drillsAreLong() {
			manners = append(manners, manner{"narrow", true, true}, manner{"without script", false, false})
		}
	}
	for _, m := range manners {
		t.Run(strings.ReplaceAll(m.name, " ", "-"), func(t *testing.T) {
			t.Parallel()
			do(t, m)
		})
	}
}
