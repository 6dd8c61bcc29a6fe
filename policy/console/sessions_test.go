package console

import (
	"testing"

	"latchkey/authcore"
	"latchkey/authcore/authtest"
	"latchkey/authcore/session"
)

func TestConsoleSessions(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	b, one, two := s.signedIn("opted-in"), s.signedIn("opted-in"), s.signedIn("opted-in")
	app := s.People["opted-in"].AppPasswords[0].Secret.Reveal()
	imap, smtp := s.atDoor("imap", "opted-in", app), s.atDoor("smtp", "opted-in", app)
	p := b.get("/security").is(200, "Browsers and apps: 3 Third-party apps: 2").follow("Show sessions").is(200, "This one", "IMAP", "SMTP", "192.0.2.10", "Demo")

	p.within("IMAP", "Sign out Demo").press("Sign out Demo").is(200, "The session was signed out.").hides("IMAP")
	if s.stands("imap", "opted-in", app, imap) || !s.stands("smtp", "opted-in", app, smtp) {
		t.Error("the wrong session was ended")
	}
	b.get("/security/sessions").within("test", "Sign out test").press("Sign out test").is(200, "The session was signed out.")
	in := 0
	for _, other := range []*browser{one, two} {
		if other.get("/security").at.Path == "/security" {
			in++
		}
	}
	if in != 1 {
		t.Errorf("%d of the two other browsers are signed in", in)
	}
	b.get("/security/sessions").press("Sign out everywhere else").is(200, "Everything else was signed out.", "This one", "No third-party app is connected.")
	for _, other := range []*browser{one, two} {
		other.get("/security").leads("/sign-in", "/security")
	}
	imap = s.atDoor("imap", "opted-in", app)
	b.get("/security/sessions").follow("Sign out everywhere").is(200, "this one too").press("Sign out everywhere").is(200, "You are signed out everywhere.")
	b.get("/security").leads("/sign-in", "/security")
	if s.stands("imap", "opted-in", app, imap) {
		t.Error("the program is still signed in")
	}
}

// stands says whether a session at a door, which that password opened, may go on.
func (s *stage) stands(door, state, password string, d authcore.Decision) bool {
	s.t.Helper()
	ok, err := s.Stands(s.t.Context(), d.Standing(authtest.Attempt(door, s.People[state].Address, password)))
	if err != nil {
		s.t.Fatal(err)
	}
	return ok
}

func TestConsoleSessionsAreOnesOwn(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	app := s.People["opted-in"].AppPasswords[0].Secret.Reveal()
	d := s.atDoor("imap", "opted-in", app)
	mine := s.Actor(t, "opted-in")
	b := s.signedIn("account")
	for _, id := range []session.ID{d.Session, mine.Session} {
		b.send("POST", "/security/sessions/"+string(id)+"/end", map[string][]string{}).is(404)
	}
	b.get("/security/sessions").press("Sign out everywhere else").is(200)
	if _, err := s.StillSignedIn(t.Context(), mine); err != nil || !s.stands("imap", "opted-in", app, d) {
		t.Errorf("another member's session was ended: %v", err)
	}
}

func TestProgram(t *testing.T) {
	t.Parallel()
	for agent, want := range map[string]string{
		"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0":                                                                  "Firefox, Linux",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36 Edg/140.0":               "Edge, Windows",
		"Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Mobile Safari/537.36":                         "Chrome, Android",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1": "Safari, iPhone",
		"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Thunderbird/140.0":                                                              "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Thu",
		"DAVx5/4.4": "DAVx5/4.4",
		"":          "",
	} {
		if got := program(agent); got != want {
			t.Errorf("%q: %q, want %q", agent, got, want)
		}
	}
}
