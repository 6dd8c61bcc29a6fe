package console

import (
	"strings"
	"testing"
	"time"
)

func site(s Site) Options { return Options{Site: func() Site { return s }} }

func TestSecurityText(t *testing.T) {
	t.Parallel()
	s := open(t, site(Site{Contacts: []string{"mailto:security@example.com", "https://example.com/security"}, Policy: "https://example.com/policy", Pages: "https://mail.example.com"}), nil)
	p := s.browser().get("/.well-known/security.txt")
	if p.status != 200 || p.header.Get("Content-Type") != "text/plain; charset=utf-8" {
		t.Fatalf("status %d, %s", p.status, p.header.Get("Content-Type"))
	}
	lines := strings.Split(p.body, "\n")
	if len(lines) != 6 || lines[0] != "Contact: mailto:security@example.com" || lines[1] != "Contact: https://example.com/security" ||
		lines[3] != "Canonical: https://mail.example.com/.well-known/security.txt" || lines[4] != "Policy: https://example.com/policy" || lines[5] != "" {
		t.Errorf("%q", lines)
	}
	expires, err := time.Parse("Expires: "+time.RFC3339, lines[2])
	if left := time.Until(expires); err != nil || left < 100*24*time.Hour || left > 365*24*time.Hour {
		t.Errorf("%q: %v, %v", lines[2], left, err)
	}
}

func TestWithoutContactsThereIsNoSecurityText(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	s.browser().get("/.well-known/security.txt").is(404)
}

func TestWhatOthersLookForAtFixedPaths(t *testing.T) {
	t.Parallel()
	s := open(t, site(Site{HSTS: 24 * time.Hour}), nil)
	b := s.browser().alone()
	for path, want := range map[string]struct {
		status int
		leads  string
	}{
		"/.well-known/change-password": {303, "/security/password"},
		"/favicon.ico":                 {303, "/assets/"},
		"/robots.txt":                  {200, ""},
	} {
		p := b.get(path)
		if p.status != want.status || !strings.HasPrefix(p.header.Get("Location"), want.leads) {
			t.Errorf("%s: status %d, Location %q", path, p.status, p.header.Get("Location"))
		}
		if got := p.header.Get("Strict-Transport-Security"); got != "max-age=86400" {
			t.Errorf("%s: Strict-Transport-Security %q", path, got)
		}
		if got := p.header.Get("X-Robots-Tag"); !strings.Contains(got, "noindex") {
			t.Errorf("%s: X-Robots-Tag %q", path, got)
		}
	}
	if !strings.Contains(b.get("/robots.txt").body, "Disallow: /\n") {
		t.Error("robots are not kept out")
	}
	if p := open(t, Options{}, nil).browser().get("/language"); p.header.Get("Strict-Transport-Security") != "" {
		t.Error("HSTS is said though nobody asked for it")
	}
}

// What every page links to is there, may be kept for good, and is small: a page has less than 100 KB with everything.
func TestAssets(t *testing.T) {
	t.Parallel()
	s := open(t, site(Site{HSTS: 24 * time.Hour}), nil)
	p := s.signedIn("account").get("/language").is(200)
	sum := len(p.body)
	for name, at := range shared().assets.paths {
		if !strings.Contains(p.body, at) {
			t.Errorf("the page does not link to %s", name)
		}
		a := s.browser().get(at)
		if a.status != 200 || !strings.Contains(a.header.Get("Cache-Control"), "immutable") || a.header.Get("Content-Type") == "" {
			t.Errorf("%s: status %d, %q, %q", at, a.status, a.header.Get("Cache-Control"), a.header.Get("Content-Type"))
		}
		sum += len(a.body)
	}
	const css, script = 25 << 10, 250
	if n := len(shared().assets.files[shared().assets.paths["console.css"]]); n > css {
		t.Errorf("console.css has %d bytes, more than %d", n, css)
	}
	if n := strings.Count(string(shared().assets.files[shared().assets.paths["console.js"]]), "\n"); n > script {
		t.Errorf("console.js has %d lines, more than %d", n, script)
	}
	if sum > 60<<10 {
		t.Errorf("the frame has %d bytes", sum)
	}
}
