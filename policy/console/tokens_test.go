package console

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/authtest"
	"latchkey/authcore/sample"
	"latchkey/authcore/secret"

	"golang.org/x/net/html"
)

// shownOnce is the secret on the page.
func (p *shown) shownOnce() string {
	p.b.s.t.Helper()
	for n := range p.doc.Descendants() {
		if n.Type == html.ElementNode && attr(n, "id") == "secret" {
			return words(n)
		}
	}
	p.b.s.t.Fatalf("%s shows no secret:\n%s", p.at, p.text())
	return ""
}

// A token is made, shown once, good for what was asked, listed without its secret, and deleted.
func TestAPITokens(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	b := s.signedIn("admin")
	f := b.get("/api-tokens").is(200, "There is none yet.").hides("or * for all domains").having("Create API token").fill("Name of the program", "Directory sync")
	f.choose("Read and write").choose("30 days")
	made := f.press("Create API token").is(200, "API token created", "It is shown only this once.", "Read and write · "+sample.Old)
	token := made.shownOnce()
	a, err := s.Session(t.Context(), secret.New(token), authtest.Client())
	if err != nil || a.Address != "admin@"+sample.Old {
		t.Fatalf("the token is of %q, %v", a.Address, err)
	}
	if again := f.press("Create API token").is(200).shownOnce(); again != token {
		t.Error("sending the form again made a second one")
	}
	ends := s.clock.now().AddDate(0, 0, 30).UTC().Format(time.DateOnly)
	list := b.get("/api-tokens").is(200, "Directory sync", "Read and write", sample.Old, ends).hides(token)
	list.press("Delete Directory sync").is(200, "The API token was deleted.", "There is none yet.")
	if _, err := s.Session(t.Context(), secret.New(token), authtest.Client()); err == nil {
		t.Error("a deleted token is good")
	}
}

// 365 days are the longest that the operations take, also where the server keeps another time of the year when they end:
// New York's in March 2031 is summer time, and a day less than a year later it is not yet.
func TestAPITokenOfAYearAcrossSummerTime(t *testing.T) {
	t.Parallel()
	zone, err := time.LoadLocation("America/New_York")
	if err != nil {
		t.Fatal(err)
	}
	s := open(t, Options{}, func(o *authcore.Options) {
		now, ahead := o.Now, time.Date(2031, 3, 11, 16, 0, 0, 0, time.UTC).Sub(o.Now())
		o.Now = func() time.Time { return now().Add(ahead).In(zone) }
	})
	f := s.signedIn("admin").get("/api-tokens").having("Create API token").fill("Name of the program", "Directory sync")
	f.choose("365 days").press("Create API token").is(200, "API token created", "2032-03-10")
}

// The pages take the cookie alone: a token signs nobody in here, however it is shown.
func TestAPITokenOpensNoPage(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	token := s.signedIn("admin").get("/api-tokens").having("Create API token").fill("Name of the program", "x").press("Create API token").is(200).shownOnce()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, s.url+"/api-tokens", nil)
	r.RequestURI = ""
	r.Header.Set("Authorization", "Bearer "+token)
	a, err := s.http.Transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	if a.StatusCode != http.StatusSeeOther {
		t.Errorf("status %d", a.StatusCode)
	}
	b := s.holding(secret.New(token))
	for _, path := range []string{"/api-tokens", "/security", "/domains/old.example/members", "/domains/old.example/audit"} {
		if at := b.get(path).at; at.Path != "/sign-in" {
			t.Errorf("in the cookie it leads from %s to %s", path, at)
		}
	}
	if _, err := s.Session(t.Context(), secret.New(token), authtest.Client()); err != nil {
		t.Errorf("the token itself: %v", err)
	}
}

func TestAPITokenMistakes(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	b := s.signedIn("operator")
	for name, tc := range map[string]struct {
		fill  func(*filling)
		shows string
	}{
		"no name":   {func(f *filling) { f.fill("Name of the program", " ") }, "Enter a name of 1 to 40 characters, on one line."},
		"no domain": {func(f *filling) { f.fill("Domains", "none.example, "+sample.Old) }, "There is no domain"},
		"no scope":  {func(f *filling) { f.values.Set("scope", "everything") }, "is no scope"},
		"no end":    {func(f *filling) { f.values.Set("ends", "9999") }, "Must lie ahead, by 365 days at most."},
	} {
		f := b.get("/api-tokens").having("Create API token").fill("Name of the program", "Kept").fill("Domains", "*")
		tc.fill(f)
		p := f.press("Create API token").is(422, tc.shows, "There is none yet.")
		if again := p.having("Create API token").values; again.Get("domains") != f.values.Get("domains") {
			t.Errorf("%s: what was typed is gone: %v", name, again)
		}
	}
	f := b.get("/api-tokens").having("Create API token").fill("Name of the program", "All").fill("Domains", "*")
	f.press("Create API token").is(200, "Read · All domains")
	f.values.Del("once")
	f.press("Create API token").is(422, "The form did not arrive whole.")
}

// Making one asks for a recent sign-in, and leads there and back. Members have none, and nobody deletes another's.
func TestAPITokenRefusals(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	s.signedIn("account").get("/api-tokens").is(403, "API tokens are for administrators")
	b := s.signedIn("admin")
	s.clock.pass(11 * time.Minute)
	at := b.get("/api-tokens").having("Create API token").fill("Name of the program", "x").press("Create API token").at
	if at.Path != "/reauthenticate" {
		t.Errorf("led to %s", at)
	}
	l, err := s.APITokens(t.Context(), s.Actor(t, "admin"))
	if err != nil || len(l) > 0 {
		t.Errorf("%v, %v", l, err)
	}
	other := s.signedIn("operator")
	other.get("/api-tokens").having("Create API token").fill("Name of the program", "Mine").press("Create API token").is(200)
	action := other.get("/api-tokens").having("Delete Mine").form
	b.send(http.MethodPost, attr(action, "action"), map[string][]string{}).is(404)
	other.get("/api-tokens").is(200, "Mine")
	if at := s.browser().get("/api-tokens").at; at.Path != "/sign-in" {
		t.Errorf("who is not signed in is led to %s", at)
	}
}
