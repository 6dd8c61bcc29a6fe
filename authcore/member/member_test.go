package member

import (
	"strings"
	"testing"
	"time"

	"golang.org/x/net/idna"
	"golang.org/x/text/secure/precis"

	"latchkey/policy"
)

func TestParseName(t *testing.T) {
	for _, c := range []struct{ in, def, want string }{
		{"ann@example.org", "", "ann@example.org"},
		{"Ann@EXAMPLE.org", "", "ann@example.org"},
		{"ａｎｎ@example.org", "", "ann@example.org"}, // full width is mapped (RFC 8265 section 3.3.2)
		{"ann", "example.org", "ann@example.org"},
		{"jürgen@münchen.example", "", "jürgen@xn--mnchen-3ya.example"},
		{"ju\u0308rgen@example.org", "", "jürgen@example.org"}, // NFC
		{"ann", "", ""},
		{"", "example.org", ""},
		{"@example.org", "", ""},
		{"ann@", "", ""},
		{"ann@example.org.", "", ""},
		{"ann@exa mple.org", "", ""},
		{"an n@example.org", "", ""},
		{".ann@example.org", "", ""},
		{"an..n@example.org", "", ""},
		{`"ann"@example.org`, "", ""},
		{"ann@b@example.org", "", ""},
		{"an/n@example.org", "", ""},
		{"ann\x00@example.org", "", ""},
		{strings.Repeat("a", 65) + "@example.org", "", ""},
		{strings.Repeat("a", 2000), "example.org", ""},
	} {
		n, err := ParseName(c.in, c.def)
		got := ""
		if err == nil {
			got = n.String()
		}
		if got != c.want {
			t.Errorf("%q: got %q, want %q", c.in, got, c.want)
		}
	}
}

func FuzzParseName(f *testing.F) {
	for _, s := range []string{"ann@example.org", "ａｎｎ@example.org", "a@xn--mnchen-3ya.example", "@", "a\u0300@b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := ParseName(s, "example.org")
		if err != nil {
			return
		}
		again, err := ParseName(n.String(), "")
		if err != nil || again != n {
			t.Fatalf("%q: canonical %q parses to %q, %v", s, n, again, err)
		}
	})
}

// What is taken for prepared is what preparing makes of it.
func FuzzPlainNamesArePrepared(f *testing.F) {
	for _, s := range []string{"ann", "a.b-c9", "9", "1.2.3.4", "xn--a", "a-.b", "-a", "a-", "a..b", "A", "ann@b", "\u00e4", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if !plain(s) {
			return
		}
		if got, err := precis.UsernameCaseMapped.String(s); got != s || err != nil {
			t.Errorf("local part %q: is prepared to %q, %v", s, got, err)
		}
		if got, err := idna.Lookup.ToASCII(s); len(s) <= 63 && (got != s || err != nil) {
			t.Errorf("domain %q: is looked up as %q, %v", s, got, err)
		}
	})
}

func TestBornRequiredAtTheCutoffItself(t *testing.T) {
	cutoff := policy.Cutoff()
	for _, c := range []struct {
		name string
		at   time.Time
		want bool
	}{
		{"a nanosecond before", cutoff.Add(-1), false},
		{"at the cutoff", cutoff, true},
		{"the same instant in UTC", cutoff.UTC(), true},
		{"after", cutoff.Add(time.Hour), true},
	} {
		if got := (&Domain{CreatedAt: c.at}).BornRequired(cutoff); got != c.want {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}

func TestDoorsOpen(t *testing.T) {
	d := &Domain{Doors: []string{"imap", "caldav"}}
	for _, c := range []struct {
		doors []string
		want  bool
	}{{[]string{"imap"}, true}, {[]string{"caldav", "carddav"}, false}, {nil, false}, {[]string{"smtp"}, false}} {
		if got := d.Open(c.doors...); got != c.want {
			t.Errorf("%v: got %v, want %v", c.doors, got, c.want)
		}
	}
	d.Closed = true
	if d.Open("imap") {
		t.Error("a closed domain has an open door")
	}
}

func TestUnknownRoleRanksAboveAll(t *testing.T) {
	if Role("").Rank() <= RoleOperator.Rank() {
		t.Error("an unknown role ranks below an operator: somebody could act on it")
	}
}
