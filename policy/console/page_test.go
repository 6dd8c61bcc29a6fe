package console

import (
	"bytes"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"latchkey/authcore"
	"latchkey/authcore/member"
)

// posted sends a body of any type as our own page would send a form.
func (b *browser) posted(path, kind string, body io.Reader) *shown {
	t := b.s.t
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, b.s.url+path, body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	if kind != "" {
		r.Header.Set("Content-Type", kind)
	}
	a, err := b.http.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	text, err := io.ReadAll(a.Body)
	if err != nil {
		t.Fatal(err)
	}
	return read(t, b, a, string(text))
}

// A page reads fields out of a form of its own kind and size alone, whatever the request calls its body.
func TestWhatIsNoFormHasNoFields(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	want := url.Values{"address": {s.address("account")}, "password": {s.password("account")}}
	var parts bytes.Buffer
	m := multipart.NewWriter(&parts)
	for name := range want {
		if err := m.WriteField(name, want.Get(name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	large := want.Encode() + "&more=" + strings.Repeat("x", maxForm)
	for _, tc := range []struct {
		name, kind, body string
		status           int
		in               bool
	}{
		{"a form", "application/x-www-form-urlencoded", want.Encode(), 200, true},
		{"its type in other letters", "Application/X-WWW-Form-Urlencoded;charset=UTF-8", want.Encode(), 200, true},
		{"one of many parts", m.FormDataContentType(), parts.String(), 401, false},
		{"a type that only begins like it", "application/x-www-form-urlencoded-not", want.Encode(), 401, false},
		{"a text", "text/plain", want.Encode(), 401, false},
		{"no type", "", want.Encode(), 401, false},
		{"a large form", "application/x-www-form-urlencoded", large, 422, false},
		{"a large form, its type in other letters", "APPLICATION/X-www-form-urlencoded", large, 422, false},
		{"a form that is not one", "application/x-www-form-urlencoded", want.Encode() + "&a=%zz", 422, false},
		{"a form that is not one, its type in other letters", "application/X-www-form-urlencoded", want.Encode() + "&a=%zz", 422, false},
	} {
		b := s.browser()
		p := b.posted("/sign-in", tc.kind, strings.NewReader(tc.body))
		if in := b.cookie(sessionCookie) != ""; in != tc.in || p.status != tc.status {
			t.Errorf("%s: status %d, signed in %t; want %d, %t", tc.name, p.status, in, tc.status, tc.in)
		}
	}
}

// What a browser keeps while it signs in is bounded, whatever is typed.
func TestWhateverIsTypedIsAnswered(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	for _, typed := range []string{strings.Repeat("a", 40_000) + "@old.example", strings.Repeat("<", 2000), "a\x00\x1b@old.example"} {
		s.browser().get("/forgotten-password").having("Send a verification number").fill("Address", typed).
			choose("My personal email address").press("Send a verification number").path("/forgotten-password/code")
		s.browser().get("/sign-in").having("Sign in").fill("Address", typed).fill("Password", "x").press("Sign in").is(401)
	}
}

// What leads on after a sign-in is a path that a header can carry.
func TestNextIsAPath(t *testing.T) {
	t.Parallel()
	for typed, want := range map[string]string{
		"/language?next=%2Fa": "/language?next=%2Fa", "/": "/", "/設定": "/設定",
		"": "/security", "language": "/security", "//evil.example": "/security", "/\\evil.example": "/security", "/x\\y": "/security",
		"/\x00": "/security", "/a\x1bb": "/security", "/a\x7f": "/security", "/a\u0085b": "/security", "/a\tb": "/security", "/a\nb": "/security",
		" /language": "/security", "/\xff": "/security", "/" + strings.Repeat("a", 1024): "/security",
	} {
		if got := next(typed); got != want {
			t.Errorf("%q leads to %q, want %q", typed, got, want)
		}
	}
}

// The first letter of an address is a character, whatever its bytes.
func TestTheProfilePictureIsALetter(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{"ann@old.example": "a", "ünal@old.example": "ü", "花子@old.example": "花"} {
		v := &view{p: &page{me: &authcore.Profile{Member: &member.Member{Addresses: []string{address}}}}}
		if got := v.Initial(); got != want {
			t.Errorf("%s: %q, want %q", address, got, want)
		}
	}
}

// Who is slowed is told for how long in the header too (RFC 6585 section 4).
func TestAFormThatIsThrottledSaysForHowLong(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	b := s.browser()
	for i := range 60 {
		p := b.send("POST", "/sign-in", url.Values{"address": {"nobody@old.example"}, "password": {"wrong-" + strings.Repeat("x", i)}})
		if p.status == http.StatusTooManyRequests {
			if n, err := strconv.Atoi(p.header.Get("Retry-After")); err != nil || n < 1 {
				t.Errorf("Retry-After %q", p.header.Get("Retry-After"))
			}
			return
		}
	}
	t.Error("nobody was slowed")
}

// Who signs out leaves no sign-in behind that had begun.
func TestSignOutForgetsWhatHadBegun(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	for _, at := range []string{"/sign-out", everywhere} {
		b := s.signedIn("account")
		b.setCookie(signInCookie, "x")
		b.setCookie(phoneLinkCookie, "x")
		b.send("POST", at, url.Values{}).path("/sign-in")
		if b.cookie(signInCookie) != "" || b.cookie(phoneLinkCookie) != "" || b.cookie(sessionCookie) != "" {
			t.Errorf("%s: cookies %v", at, b.cookies())
		}
	}
}

// Where no program is set up, no profile is made.
func TestNoProfileWithoutPrograms(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	s.signedIn("account").send("POST", "/programs/apple/profile", url.Values{"password": {"x"}}).is(404)
}
