package console

import (
	"fmt"
	"testing"
	"time"

	"latchkey/authcore/apppass"
	"latchkey/authcore/authtest"
)

func TestConsoleNotifications(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	b := s.signedIn("account")
	for i := range 25 {
		s.clock.pass(time.Second)
		a := s.Actor(t, "account")
		made, _, err := s.CreateAppPassword(t.Context(), a, apppass.Wish{Name: fmt.Sprint("program ", i)})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.DeleteAppPassword(t.Context(), a, made.ID); err != nil {
			t.Fatal(err)
		}
	}
	p := b.get("/security").follow("Notifications").is(200, "program 24", "If this was not you", "20 new").hides("\"program 3\"")
	p.press("Mark as read").is(200, "Mark as unread", "19 new").press("Mark as unread").is(200).hides("Mark as unread")
	older := p.follow("Next page").is(200, "\"program 3\"").hides("program 24")
	older = older.within("\"program 3\"", "Delete").press("Delete").is(200, "The message was deleted.", "\"program 2\"").hides("\"program 3\"", "program 24")
	older.follow("First page").is(200, "program 24")
}

func TestConsoleNotificationsAreOnesOwn(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	l, _, err := s.Messages(t.Context(), s.Actor(t, "opted-in"), "", 1)
	if err != nil || len(l) != 1 {
		t.Fatalf("%d messages, %v", len(l), err)
	}
	b := s.signedIn("account")
	for _, what := range []string{"read", "delete"} {
		b.send("POST", "/notifications/"+l[0].ID+"/"+what, map[string][]string{"read": {"yes"}}).is(404)
	}
	s.browser().get("/notifications").leads("/sign-in", "/notifications")
	if l, _, err = s.Messages(t.Context(), s.Actor(t, "opted-in"), "", 1); err != nil || len(l) != 1 || l[0].Read {
		t.Errorf("the message of another member: %+v, %v", l, err)
	}
}

func TestConsoleActivity(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	app := s.People["opted-in"].AppPasswords[0].Secret.Reveal()
	s.atDoor("imap", "opted-in", app)
	s.atDoor("smtp", "opted-in", "aaaa-bbbb-cccc-2222")
	s.atDoor("smtp", "opted-in", "aaaa-bbbb-cccc-2222")
	s.atDoor("imap", "account", "not-it-1")
	if _, err := s.SignOutEverywhere(t.Context(), authtest.Operator(), s.People["opted-in"].Address); err != nil {
		t.Fatal(err)
	}
	b := s.signedIn("opted-in")
	p := b.get("/security").follow("Show activity").is(200, "Sign-in · IMAP Demo Signed in", "Sign-in · SMTP Refused", "2 times", "Signed out everywhere",
		"by the operator of the server", "Account created", "192.0.2.10")
	p.hides("not-it-1", "account@")
	b.get("/security/activity?after="+"%00%0a").is(200, "Signed out everywhere") // no page ended with that
	s.browser().get("/security/activity").leads("/sign-in", "/security/activity")
}
