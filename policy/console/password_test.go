package console

import "testing"

func TestConsoleAccountPassword(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	b, elsewhere := s.signedIn("opted-in"), s.signedIn("opted-in")
	current, next := s.People["opted-in"].Account.Reveal(), "Tangerine-42-window"
	form := func() *filling {
		return b.get("/security").follow("Change password").having("Change password").fill("Current password", current).fill("New password", next).fill("New password once more", next)
	}
	form().fill("Current password", "not-it-at-all-1").press("Change password").is(422, "Your password was not changed.", "This is not your current password.")
	p := form().fill("New password", "a").fill("New password once more", "a").press("Change password").is(422, "At least 8 characters", "An English letter", "It is too short.", "It needs a number.")
	form().fill("New password once more", "Tangerine-43-window").press("Change password").is(422, "The two passwords differ.")
	for _, field := range []string{"current", "new_password", "again"} {
		if got := p.having("Change password").values.Get(field); got != "" {
			t.Errorf("the page shows what was typed into %s", field)
		}
	}
	form().press("Change password").is(200, "Your account password was changed.", "1 of 5 used")
	elsewhere.get("/security").leads("/sign-in", "/security")
	app := s.People["opted-in"].AppPasswords[0].Secret.Reveal()
	if !s.allows("imap", "opted-in", app) {
		t.Error("the app password went with it, unasked")
	}
	current, next = next, "Marmalade-77-door"
	form().tick("Also delete all my app passwords (1)").press("Change password").is(200, "0 of 5 used")
	if s.allows("imap", "opted-in", app) {
		t.Error("the app password is still there")
	}
	b.get("/security").is(200)
	b.get("/security/activity").is(200, "Account password changed")
}
