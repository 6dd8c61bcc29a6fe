package dav

import (
	"errors"
	"net/http"
	"net/url"
	"path"
	"strings"
	"testing"
)

func TestParseTarget(t *testing.T) {
	for _, tt := range []struct {
		raw  string
		want bool
	}{
		{"/", true},
		{"/m@new.example/cal/", true},
		{"/m%40new.example/cal%20two/%E4%BA%88.ics", true},
		{"/a/b;c=d/e", true},
		{"/a//b", true},
		{"/a?b=../c", true},
		{"/a?", true},
		{"/a%2Fb", true}, // the rule of the encoded slash needs the member
		{"/.hidden/..two/...", true},
		{"/a|b", true},
		{"", false},
		{"a", false},
		{"*", false},
		{"//evil/x", false},
		{"/..", false},
		{"/../m", false},
		{"/a b", false},
		{"/a?b c", false},
		{"/a/../b", false},
		{"/a/..", false},
		{"/a/.", false},
		{"/a/./b", false},
		{"/%2e%2e/b", false},
		{"/%2E./b", false},
		{"/.%2e/b", false},
		{"/a/%2e/b", false},
		{"/a/..%2fb", false},
		{"/a/x%2f..%2fb", false},
		{"/a/%2e%2e%2fb", false},
		{"/a/..;x=1/b", false},
		{"/a/..%3bx/b", false},
		{"/a/.;/b", false},
		{`/a\b`, false},
		{`/a/..\b`, false},
		{"/a%5cb", false},
		{"/a%5C..%5Cb", false},
		{"/a%00b", false},
		{"/a\x00b", false},
		{"/a%0d%0ab", false},
		{"/a%7f", false},
		{"/a%c0%ae%c0%ae/b", false},
		{"/a%ff", false},
		{"/a%2", false},
		{"/a%zz", false},
		{"/a#b", false},
		{"/a?b#c", false},
	} {
		if _, err := parseTarget(tt.raw); (err == nil) != tt.want {
			t.Errorf("parseTarget(%q): %v, want it taken: %v", tt.raw, err, tt.want)
		}
	}
}

func TestCheckSlashes(t *testing.T) {
	principal := []string{"m@new.example", "alias@new.example"}
	for _, tt := range []struct {
		path string
		want bool
	}{
		{"/m@new.example/cal/a%2Fb.ics", true},
		{"/m%40new.example/cal/a%2fb.ics", true},
		{"/calendars/alias@new.example/a%2Fb", true},
		{"/m@new.example/cal/", true},
		{"/other@new.example/cal/a.ics", true},
		{"/", true},
		{"/m@new.example%2Fcal/", false},
		{"/x%2Fy/m@new.example/", false},
		{"/%2Fm@new.example/", false},
		{"/other@new.example/cal/a%2Fb.ics", false},
		{"/M@new.example/a%2Fb", false},
	} {
		if err := checkSlashes(tt.path, principal); (err == nil) != tt.want {
			t.Errorf("checkSlashes(%q): %v, want it taken: %v", tt.path, err, tt.want)
		}
	}
}

func TestInward(t *testing.T) {
	p := place{host: "dav.new.example:8443", upstream: url.URL{Scheme: "http", Host: "127.0.0.1:5232"}, principal: []string{"m@new.example"}}
	for _, tt := range []struct {
		ref, want string
		err       error
	}{
		{"/m@new.example/b.ics", "/m@new.example/b.ics", nil},
		{"https://dav.new.example:8443/m@new.example/b%2Fc.ics", "http://dav.new.example:8443/m@new.example/b%2Fc.ics", nil},
		{"HTTPS://DAV.new.example:8443/b", "http://dav.new.example:8443/b", nil},
		{"https://other.example/b", "", errHost},
		{"https://dav.new.example/b", "", errHost},
		{"http://dav.new.example:8443/b", "", errHost},
		{"https://dav.new.example:8443/../b", "", errPath},
		{"https://dav.new.example:8443/a%2f..%2fb", "", errPath},
		{"https://dav.new.example:8443/a%2fb", "", errSlash},
		{`/a\b`, "", errPath},
		{"//other.example/b", "", errPath},
		{"/a%00", "", errPath},
		{"https://m:p@dav.new.example:8443/b", "", errPath},
		{"https://dav.new.example:8443", "", errPath},
		{"https://dav.new.example:8443?x/y", "", errPath},
		{"b.ics", "", errPath},
		{"", "", errPath},
		{"https:/x", "", errPath},
	} {
		got, err := p.inward(tt.ref)
		if !errors.Is(err, tt.err) || err == nil && got != tt.want {
			t.Errorf("inward(%q) = %q, %v, want %q, %v", tt.ref, got, err, tt.want, tt.err)
		}
	}
	if !sameHost("dav.new.example:443", "DAV.new.example") {
		t.Error("the default port makes another host")
	}
}

func TestRewriteIf(t *testing.T) {
	p := place{host: host, upstream: url.URL{Scheme: "http", Host: "127.0.0.1:5232"}, principal: []string{"m@new.example"}}
	for _, tt := range []struct{ value, want string }{ // empty: refused
		{`(<urn:uuid:1> ["etag"])`, `(<urn:uuid:1> ["etag"])`},
		{`(Not <DAV:no-lock>) (["a)<b"])`, `(Not <DAV:no-lock>) (["a)<b"])`},
		{`([W/"x"])`, `([W/"x"])`},
		{`<https://dav.new.example/m@new.example/a> (<urn:uuid:1>)`, `<http://dav.new.example/m@new.example/a> (<urn:uuid:1>)`},
		{`</m@new.example/a> (<urn:uuid:1>) </b> (Not ["x"])`, `</m@new.example/a> (<urn:uuid:1>) </b> (Not ["x"])`},
		{`(<http://other.example/../token>)`, `(<http://other.example/../token>)`}, // a token, whatever it looks like
		{`<https://dav.new.example/../a> (<urn:uuid:1>)`, ""},
		{`<https://other.example/a> (<urn:uuid:1>)`, ""},
		{`</a%2fb> (<urn:uuid:1>)`, ""},
		{`(["a]"]) </../b> (<x>)`, ""},
		{`(<x`, ""},
		{`(["x)`, ""},
		{`(x`, ""},
		{`((<x>))`, ""},
		{`<https://dav.new.example/a`, ""},
		{`x`, ""},
	} {
		got, err := p.rewriteIf(tt.value)
		if (err == nil) != (tt.want != "") || err == nil && got != tt.want {
			t.Errorf("rewriteIf(%q) = %q, %v, want %q", tt.value, got, err, tt.want)
		}
	}
}

func TestOutward(t *testing.T) {
	p := place{host: host, upstream: url.URL{Scheme: "http", Host: "127.0.0.1:5232"}}
	for location, want := range map[string]string{
		"/m/":                            "/m/",
		"m/":                             "m/",
		"http://127.0.0.1:5232/m/":       "https://dav.new.example/m/",
		"http://dav.new.example/m/?a=b":  "https://dav.new.example/m/?a=b",
		"https://dav.new.example/m/":     "https://dav.new.example/m/",
		"http://dav.new.example":         "https://dav.new.example",
		"http://other.example/m/":        "http://other.example/m/",
		"ftp://dav.new.example/m/":       "ftp://dav.new.example/m/",
		"http://dav.new.example.evil/m/": "http://dav.new.example.evil/m/",
	} {
		if got := p.outward(location); got != want {
			t.Errorf("outward(%q) = %q, want %q", location, got, want)
		}
	}
}

// FuzzRules holds the rules of paths and headers to what they are for, whatever comes.
func FuzzRules(f *testing.F) {
	for _, s := range []string{
		"/m@new.example/a%2Fb.ics", "/a/..%2fb", "/%2e%2e/x", "/a;b/..;c", "/a?b", "/x%5c..", "/a/%c0%ae", "/|{}^", "/%25%32%65/",
	} {
		f.Add(s, `<https://dav.new.example/a> (["x)"] <t>)`, "X_Remote-User")
	}
	f.Add("/a", `(Not <DAV:no-lock>)(["\""])`, "x-forwarded-for")
	p := place{host: host, upstream: url.URL{Scheme: "http", Host: "127.0.0.1"}, principal: []string{"m@new.example"}}
	f.Fuzz(func(t *testing.T, raw, condition, header string) {
		if parsed, err := parseTarget(raw); err == nil {
			meansOneThing(t, raw, parsed)
		}
		if again, err := p.rewriteIf(condition); err == nil {
			same := strings.ReplaceAll(again, "http://"+host, "https://"+host)
			if len(same) < len(condition)-len(host) {
				t.Errorf("If %q became %q", condition, again)
			}
		}
		h := http.Header{header: {"x"}, http.CanonicalHeaderKey(header): {"y"}}
		dropClaims(h, "X-Member")
		for name := range h {
			n := strings.ReplaceAll(strings.ToLower(name), "_", "-")
			if n != strings.ToLower(name) || n == "x-member" || n == "forwarded" || n == "authorization" || strings.HasPrefix(n, "x-remote-") {
				t.Errorf("header %q passed", name)
			}
		}
	})
}

// meansOneThing holds what was taken against a reader that decodes first and cleans then: it must climb nowhere.
func meansOneThing(t *testing.T, raw string, parsed target) {
	decoded, err := url.PathUnescape(parsed.path)
	if err != nil {
		t.Fatalf("%q was taken and cannot be decoded", raw)
	}
	names := strings.FieldsFunc(decoded, func(r rune) bool { return r == '/' })
	if clean := path.Clean(decoded); clean != "/"+strings.Join(names, "/") {
		t.Errorf("%q leads to %q", raw, clean)
	}
	if strings.ContainsAny(decoded, "\\\x00") || parsed.path+parsed.query != raw {
		t.Errorf("%q was taken as %q %q", raw, parsed.path, parsed.query)
	}
}
