package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"latchkey/proxy/peers"
)

// pagesOf are all pages that can be gone to, by who goes there. {…} is filled in by the test.
var pagesOf = map[string][]string{
	"": {
		"/sign-in", "/forgotten-password", "/forgotten-address", "/sign-in/phone", "/sign-in/passkey", "/language",
	},
	"opted-in": {
		"/security", "/security/app-passwords", "/security/app-passwords/new", "/security/app-passwords/{id}/delete", "/security/app-passwords/option",
		"/security/password", "/security/sessions", "/security/sessions/end-all", "/security/activity", "/security/two-step", "/security/two-step/app",
		"/security/two-step/recovery-codes", "/security/two-step/browsers", "/security/links", "/security/phone", "/security/passkeys", "/security/quick",
		"/contacts", "/contacts/add", "/notifications", "/reauthenticate", "/reauthenticate/passkey", "/programs", "/programs/{kind}",
	},
	"admin": {
		"/domains/{domain}/members", "/domains/{domain}/members/new", "/domains/{domain}/members/import", "/members/{address}", "/members/{address}/edit",
		"/members/{address}/suspend", "/members/{address}/sign-out", "/members/{address}/delete", "/members/{address}/reset-two-step",
		"/members/{address}/reset-password", "/members/{address}/app-passwords/{id}/delete", "/domains/{domain}/account-security", "/domains/{domain}/audit",
		"/domains/{domain}/audit/picture", "/api-tokens", "/domains/{domain}/doors", "/domains/{domain}/doors/{door}/close", "/domains/{domain}/sessions",
		"/domains/{domain}/dns", "/domains",
	},
	"operator": {"/domains", "/domains/new", "/domains/{domain}/close", "/audit"},
}

// pagesElsewhere have no look of their own, or need a step before them that another walk goes, or a fleet.
var pagesElsewhere = []string{
	"/{$}", "/favicon.ico", "/robots.txt", "/.well-known/security.txt", "/.well-known/change-password", "/.well-known/caldav", "/.well-known/carddav",
	"/mail/config-v1.1.xml", "/.well-known/autoconfig/mail/config-v1.1.xml", "/domains/{domain}/audit/export", "/audit/export", "/nodes",
	"/sign-in/two-step", "/sign-in/two-step/passkey", "/sign-in/password", "/sign-in/enrolment", "/sign-in/phone/code", "/sign-in/{provider}/callback",
	"/forgotten-password/code", "/forgotten-password/new", "/security/phone/number", "/contacts/{id}",
	"/members/{address}/passkeys/{id}/delete", "/members/{address}/quick-devices/{id}/delete", // look as that of an app password
}

// TestPeersConsoleEveryPage has axe-core look at every page, wide and light, and dark at 360 px.
func TestPeersConsoleEveryPage(t *testing.T) {
	t.Parallel()
	peers.Need(t, "chromium", "axe-core")
	d := startDemo(t)
	w := newWalk(t, d, manner{script: true})
	for _, who := range []string{"", "opted-in", "admin", "operator"} {
		w.b.Forget(t)
		if who != "" {
			w.signIn(w.person(who))
			w.on("Security")
		}
		for _, page := range pagesOf[who] {
			w.bothLooks(w.d.API + w.filled(page))
		}
	}
}

func (w *walk) bothLooks(at string) {
	w.t.Helper()
	w.b.Open(w.t, at)
	w.b.Accessible(w.t)
	w.b.Size(w.t, 360, 740)
	w.b.Dark(w.t, true)
	w.b.Accessible(w.t)
	if n := w.b.Wide(w.t); n > 360 {
		w.t.Errorf("%s is %d px wide in a window of 360", at, n)
	}
	w.b.Size(w.t, 1280, 900)
	w.b.Dark(w.t, false)
	if n := w.watch.Weigh(); n > heaviest {
		w.t.Errorf("%s: %d bytes, and %d would be enough", at, n, heaviest)
	}
}

// filled names somebody and something of the demo.
func (w *walk) filled(page string) string {
	for _, p := range w.d.People {
		if p.State == "opted-in" {
			page = strings.NewReplacer("{domain}", p.Domain, "{address}", p.Address, "{id}", p.AppPasswords[0].ID, "{door}", "imap", "{kind}", "thunderbird").Replace(page)
		}
	}
	return page
}

var getRoute = regexp.MustCompile(`"GET (/[^"]*)"(?:\+word|\+kind\+"([^"]*)")?|ownForms\("([^"]*)"`)

// TestConsolePagesAreAllListed: whoever adds a page has it looked at.
func TestConsolePagesAreAllListed(t *testing.T) {
	t.Parallel()
	listed := slices.Clone(pagesElsewhere)
	for _, l := range pagesOf {
		listed = append(listed, l...)
	}
	files, err := filepath.Glob("../../policy/console/*.go")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	found := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range getRoute.FindAllStringSubmatch(string(text), -1) {
			route := m[1] + m[3]
			if strings.HasSuffix(route, "/") || strings.HasSuffix(file, "_test.go") {
				continue // made of a list of words
			}
			found++
			if !slices.Contains(listed, route) {
				t.Errorf("%s: nobody looks at %s", filepath.Base(file), route)
			}
		}
	}
	if found < 60 {
		t.Errorf("%d pages were found", found)
	}
}
