package authcore_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/authtest"
	"latchkey/authcore/member"
	"latchkey/authcore/notify"
	"latchkey/authcore/sample"
	"latchkey/authcore/secret"
	"latchkey/authcore/session"
)

const nextPassword = "another horse 2"

func (s *stage) signIn(t *testing.T, state string, sec secret.String) authcore.SignInResult {
	t.Helper()
	r, err := s.SignIn(t.Context(), authtest.Client(), s.address(state), sec)
	if err != nil {
		t.Fatalf("sign in %s: %v", state, err)
	}
	return r
}

func (s *stage) signedIn(t *testing.T, token secret.String) bool {
	t.Helper()
	_, err := s.Session(t.Context(), token, authtest.Client())
	if err != nil && !denied(err, authcore.NotSignedIn) {
		t.Fatal(err)
	}
	return err == nil
}

func TestSignInOnTheWeb(t *testing.T) {
	s := newStage(t, nil)
	for _, c := range []struct {
		state string
		want  authcore.SignInState
		deny  authcore.DenialReason
	}{
		{state: "app-only", want: authcore.SignedIn}, // the account password is the one of the web, everywhere
		{state: "account", want: authcore.SignedIn},
		{state: "opted-in", want: authcore.SignedIn},
		{state: "two-step", want: authcore.TwoStepRequired},
		{state: "expired", want: authcore.PasswordChangeRequires},
		{state: "suspended", deny: authcore.DenialReason(authcore.BadCredentials)},
		{state: "operator", want: authcore.SignedIn},
	} {
		r, err := s.SignIn(t.Context(), authtest.Client(), strings.ToUpper(s.address(c.state)), s.People[c.state].Account)
		if c.deny != "" {
			if !denied(err, c.deny) || !r.Token.Empty() {
				t.Errorf("%s: %q, %v", c.state, r.State, err)
			}
			continue
		}
		if err != nil || r.State != c.want || r.Token.Empty() == (c.want == authcore.SignedIn) || r.Ticket.Empty() != (c.want == authcore.SignedIn) {
			t.Errorf("%s: %q, %v, want %q", c.state, r.State, err, c.want)
		}
		if c.want == authcore.SignedIn && (r.Actor.Address != s.address(c.state) || !s.signedIn(t, r.Token)) {
			t.Errorf("%s: signed in as %q", c.state, r.Actor.Address)
		}
	}
	for _, state := range []string{"app-only", "opted-in"} {
		if _, err := s.SignIn(t.Context(), authtest.Client(), s.address(state), secretOf(s.app(state))); !denied(err, authcore.DenialReason(authcore.BadCredentials)) {
			t.Errorf("an app password on the web: %v", err)
		}
	}
}

func TestNewPasswordByTicket(t *testing.T) {
	s := newStage(t, nil)
	old := s.open(t, "imap", s.address("account"), s.account("account"))
	temporary, _, err := s.ResetPassword(t.Context(), authtest.Operator(), s.address("account"), true)
	if err != nil {
		t.Fatal(err)
	}
	tk := s.signIn(t, "account", temporary).Ticket
	set := func(c authcore.Client, ticket, password secret.String) (authcore.SignInResult, error) {
		return s.SignInPassword(t.Context(), c, ticket, password)
	}
	elsewhere, browser := authtest.Client(), authtest.Client()
	elsewhere.Addr, browser.Agent = addr(there), "another browser"
	for _, c := range []struct {
		name     string
		client   authcore.Client
		ticket   secret.String
		password string
		want     authcore.DenialReason
	}{
		{"from elsewhere", elsewhere, tk, nextPassword, authcore.TicketInvalid},
		{"another browser", browser, tk, nextPassword, authcore.TicketInvalid},
		{"no ticket", authtest.Client(), secretOf(""), nextPassword, authcore.TicketInvalid},
		{"made up", authtest.Client(), secretOf(tk.Reveal() + "x"), nextPassword, authcore.TicketInvalid},
		{"too simple", authtest.Client(), tk, "short", authcore.Invalid},
		{"the temporary one again", authtest.Client(), tk, temporary.Reveal(), authcore.Invalid},
	} {
		if r, err := set(c.client, c.ticket, secretOf(c.password)); !denied(err, c.want) || !r.Token.Empty() {
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
		}
	}
	r, err := set(authtest.Client(), tk, secretOf(nextPassword))
	if err != nil || r.State != authcore.SignedIn || !s.signedIn(t, r.Token) {
		t.Fatalf("%q, %v", r.State, err)
	}
	if _, err := set(authtest.Client(), tk, secretOf("third horse 3")); !denied(err, authcore.TicketInvalid) {
		t.Errorf("the ticket once more: %v", err)
	}
	if s.stands(t, old) || s.try(t, s.address("account"), temporary.Reveal()) != authcore.BadCredentials || s.try(t, s.address("account"), nextPassword) != authcore.Allowed {
		t.Error("the new password does not hold alone")
	}
	if n := s.inbox(t, s.address("account"), notify.PasswordChanged); n != 1 {
		t.Errorf("%d messages", n)
	}
}

func TestRacingTicketsSetOnePassword(t *testing.T) {
	s := newStage(t, nil)
	tk := s.signIn(t, "expired", s.People["expired"].Account).Ticket
	done := make(chan error, 10)
	for i := range 10 {
		go func() {
			_, err := s.SignInPassword(t.Context(), authtest.Client(), tk, secretOf(fmt.Sprintf("racing horse %d", i)))
			done <- err
		}()
	}
	set := 0
	for range 10 {
		if err := <-done; err == nil {
			set++
		} else if !denied(err, authcore.TicketInvalid) {
			t.Error(err)
		}
	}
	if set != 1 {
		t.Errorf("%d passwords were set with one ticket", set)
	}
}

func TestTicketsAreVoid(t *testing.T) {
	for _, c := range []struct {
		name string
		by   func(t *testing.T, s *stage) error
	}{
		{"after ten minutes", func(*testing.T, *stage) error { time.Sleep(10 * time.Minute); return nil }},
		{"by another password", func(t *testing.T, s *stage) error {
			_, _, err := s.ResetPassword(t.Context(), authtest.Operator(), s.address("expired"), true)
			return err
		}},
		{"by sign-out everywhere", func(t *testing.T, s *stage) error {
			return s.EndSessions(t.Context(), authtest.Operator(), s.address("expired"))
		}},
		{"by suspension", func(t *testing.T, s *stage) error {
			_, err := s.Suspend(t.Context(), authtest.Operator(), s.address("expired"))
			return err
		}},
		{"by deletion", func(t *testing.T, s *stage) error {
			return s.DeleteMember(t.Context(), authtest.Operator(), s.address("expired"))
		}},
		{"by closing the domain", func(t *testing.T, s *stage) error {
			_, err := s.UpdateDomain(t.Context(), authtest.Operator(), sample.Old, authcore.DomainChange{Closed: new(true)})
			return err
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, nil, func(t *testing.T, s *stage) {
				s.edit(t, sample.Old, "password/"+string(s.MemberID(t, s.address("expired"))), func(v map[string]any) { v["must_change"] = true })
				tk := s.signIn(t, "expired", s.People["expired"].Account).Ticket
				if err := c.by(t, s); err != nil {
					t.Fatal(err)
				}
				if _, err := s.SignInPassword(t.Context(), authtest.Client(), tk, secretOf(nextPassword)); !denied(err, authcore.TicketInvalid) {
					t.Errorf("got %v", err)
				}
			})
		})
	}
}

// A ticket for the second step sets no password.
func TestTicketOfAnotherStep(t *testing.T) {
	s := newStage(t, nil)
	tk := s.signIn(t, "two-step", s.People["two-step"].Account).Ticket
	if _, err := s.SignInPassword(t.Context(), authtest.Client(), tk, secretOf(nextPassword)); !denied(err, authcore.TicketInvalid) {
		t.Errorf("got %v", err)
	}
	if s.signedIn(t, tk) {
		t.Error("a ticket is taken for a token")
	}
}

func TestTokens(t *testing.T) {
	s := newStage(t, nil)
	token := s.signIn(t, "account", s.People["account"].Account).Token.Reveal()
	other := string(s.domain(t, sample.New).ID)
	for _, bad := range []string{
		"", "lk_", token[:len(token)-1], token + "A", strings.Replace(token, string(s.domain(t, sample.Old).ID), other, 1), strings.ToUpper(token),
		"Bearer " + token, strings.Replace(token, "lk_", "lk_/", 1), "lk_" + strings.Repeat("a", 26) + "_" + strings.Repeat("A", 43), strings.Repeat("x", 1<<16),
		session.NewToken(member.DomainID(other)).Reveal(), "lk__" + strings.Repeat("A", 43),
	} {
		if s.signedIn(t, secretOf(bad)) {
			t.Errorf("%.80q is signed in", bad)
		}
	}
	if !s.signedIn(t, secretOf(token)) {
		t.Error("the token itself is not")
	}
}

func TestLifetimesOfWebSessions(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *stage) {
		idle, used := s.signIn(t, "account", s.People["account"].Account).Token, s.signIn(t, "account", s.People["account"].Account).Token
		for day := range 29 {
			time.Sleep(24 * time.Hour)
			if !s.signedIn(t, used) {
				t.Fatalf("over on day %d though used every day", day+1)
			}
			if day == 5 && !s.signedIn(t, s.signIn(t, "account", s.People["account"].Account).Token) {
				t.Error("a new one is over")
			}
		}
		if s.signedIn(t, idle) {
			t.Error("stands after a month without use")
		}
		time.Sleep(24 * time.Hour)
		if s.signedIn(t, used) {
			t.Error("stands after 30 days")
		}
	})
}

func TestIdleWebSessionEndsAfterSevenDays(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *stage) {
		early, late := s.signIn(t, "account", s.People["account"].Account).Token, s.signIn(t, "account", s.People["account"].Account).Token
		time.Sleep(7*24*time.Hour - time.Second)
		if !s.signedIn(t, early) {
			t.Error("over before its time")
		}
		time.Sleep(time.Second)
		if s.signedIn(t, late) {
			t.Error("stands after seven idle days")
		}
	})
}

func TestReauthenticateChangesTheToken(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *stage) {
		r := s.signIn(t, "account", s.People["account"].Account)
		if _, err := s.Reauthenticate(t.Context(), r.Actor, secretOf("wrong")); !denied(err, authcore.DenialReason(authcore.BadCredentials)) {
			t.Errorf("a wrong password: %v", err)
		}
		if !s.signedIn(t, r.Token) {
			t.Error("a wrong password ended the session")
		}
		time.Sleep(20 * time.Minute)
		a, err := s.Session(t.Context(), r.Token, authtest.Client()) // its use is written now
		if err != nil {
			t.Fatal(err)
		}
		again, err := s.Reauthenticate(t.Context(), a, s.People["account"].Account)
		if err != nil || again.Token.Equal(r.Token) || s.signedIn(t, r.Token) || !s.signedIn(t, again.Token) {
			t.Errorf("%v: the old token %v, the new %v", err, s.signedIn(t, r.Token), s.signedIn(t, again.Token))
		}
		if again.Actor.Session != r.Actor.Session || !again.ExpiresAt.Equal(r.ExpiresAt) {
			t.Error("re-authentication is another session, or a longer one")
		}
	})
}

func TestChangePassword(t *testing.T) {
	s := newStage(t, nil)
	mine, other := s.signIn(t, "opted-in", s.People["opted-in"].Account), s.signIn(t, "opted-in", s.People["opted-in"].Account)
	app := s.open(t, "imap", s.address("opted-in"), s.app("opted-in"))
	current := s.People["opted-in"].Account
	for _, c := range []struct {
		name          string
		current, next string
		want          authcore.DenialReason
	}{
		{"wrong current", "wrong", nextPassword, authcore.DenialReason(authcore.BadCredentials)},
		{"against the rules", current.Reveal(), "short", authcore.Invalid},
		{"no password at all", current.Reveal(), "a\x00b", authcore.Invalid},
	} {
		if _, err := s.ChangePassword(t.Context(), mine.Actor, secretOf(c.current), secretOf(c.next), false); !denied(err, c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	r, err := s.ChangePassword(t.Context(), mine.Actor, current, secretOf(nextPassword), false)
	if err != nil || !s.signedIn(t, r.Token) || s.signedIn(t, mine.Token) || s.signedIn(t, other.Token) {
		t.Errorf("%v: only the new token should be signed in", err)
	}
	if !s.stands(t, app) {
		t.Error("app passwords are not asked to go")
	}
	if _, err := s.ChangePassword(t.Context(), r.Actor, secretOf(nextPassword), secretOf("third horse 3"), true); err != nil || s.stands(t, app) {
		t.Errorf("%v: the app password was to go", err)
	}
}

func TestSignOut(t *testing.T) {
	s := newStage(t, nil)
	mine, other := s.signIn(t, "account", s.People["account"].Account), s.signIn(t, "account", s.People["account"].Account)
	if err := s.SignOut(t.Context(), mine.Actor); err != nil || s.signedIn(t, mine.Token) || !s.signedIn(t, other.Token) {
		t.Errorf("%v: this one %v, the other %v", err, s.signedIn(t, mine.Token), s.signedIn(t, other.Token))
	}
	if _, err := s.Reauthenticate(t.Context(), mine.Actor, s.People["account"].Account); !denied(err, authcore.NotSignedIn) {
		t.Errorf("re-authentication after signing out: %v", err)
	}
	l, err := s.MySessions(t.Context(), other.Actor)
	if err != nil || len(l.Web) != 1 || l.Web[0].ID != other.Actor.Session || l.Current != other.Actor.Session {
		t.Errorf("%+v, %v", l, err)
	}
	if err := s.EndSession(t.Context(), authtest.Operator(), s.address("account"), other.Actor.Session); err != nil || s.signedIn(t, other.Token) {
		t.Errorf("ended by an administrator: %v", err)
	}
}

func TestWhatEndsWebSessions(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(s *stage) error
		want bool
	}{
		{"suspension", func(s *stage) error {
			_, err := s.Suspend(t.Context(), authtest.Operator(), s.address("account"))
			return err
		}, false},
		{"reset", func(s *stage) error {
			_, _, err := s.ResetPassword(t.Context(), authtest.Operator(), s.address("account"), true)
			return err
		}, false},
		{"deletion", func(s *stage) error { return s.DeleteMember(t.Context(), authtest.Operator(), s.address("account")) }, false},
		{"sign-out everywhere", func(s *stage) error { return s.EndSessions(t.Context(), authtest.Operator(), s.address("account")) }, false},
		{"the option", func(s *stage) error {
			return s.SetAppPasswordOptionFor(t.Context(), authtest.Operator(), s.address("account"), true)
		}, true},
		{"a door closed", func(s *stage) error {
			_, err := s.UpdateDomain(t.Context(), authtest.Operator(), sample.Old, authcore.DomainChange{Doors: &[]string{"smtp"}})
			return err
		}, true},
		{"the domain closed", func(s *stage) error {
			_, err := s.UpdateDomain(t.Context(), authtest.Operator(), sample.Old, authcore.DomainChange{Closed: new(true)})
			return err
		}, false},
	} {
		s := newStage(t, nil)
		token := s.signIn(t, "account", s.People["account"].Account).Token
		if err := c.do(s); err != nil {
			t.Fatal(c.name, err)
		}
		if got := s.signedIn(t, token); got != c.want {
			t.Errorf("%s: signed in %v, want %v", c.name, got, c.want)
		}
	}
}

// An API token proves nobody: it is refused what needs re-authentication.
func TestAPITokenIsNoSignIn(t *testing.T) {
	s := newStage(t, nil)
	token, err := s.OpenToken(t.Context(), authtest.Operator(), s.address("admin"), "deploy")
	if err != nil {
		t.Fatal(err)
	}
	a, err := s.Session(t.Context(), token, authtest.Client())
	if err != nil {
		t.Fatal(err)
	}
	current := s.People["admin"].Account
	_, _, create := s.CreateAppPassword(t.Context(), a, wish("x"))
	_, again := s.Reauthenticate(t.Context(), a, current)
	_, change := s.ChangePassword(t.Context(), a, current, secretOf(nextPassword), false)
	_, option := s.SetAppPasswordOption(t.Context(), a, false)
	if !denied(create, authcore.ScopeMissing) || !denied(again, authcore.ScopeMissing) || !denied(change, authcore.ScopeMissing) ||
		!denied(option, authcore.ScopeMissing) {
		t.Errorf("create %v, re-authenticate %v, change %v, option off %v", create, again, change, option)
	}
	if _, err := s.Suspend(t.Context(), a, s.address("account")); err != nil {
		t.Errorf("what an administrator may do: %v", err)
	}
	if _, err := s.OpenToken(t.Context(), a, s.address("admin"), "another"); !denied(err, authcore.Forbidden) {
		t.Errorf("a token makes tokens: %v", err)
	}
}

// Racing wrong passwords in re-authentication count like others: a stolen session guesses no password.
func TestReauthenticationCountsFailures(t *testing.T) {
	s := newStage(t, nil)
	s.maxFailures(t, 5)
	r := s.signIn(t, "account", s.People["account"].Account)
	var wg sync.WaitGroup
	for i := range 14 {
		wg.Go(func() { _, _ = s.Reauthenticate(t.Context(), r.Actor, secretOf(fmt.Sprint("guess ", i))) })
	}
	wg.Wait()
	if got := s.status(t, s.address("account")); got != member.Suspended || s.signedIn(t, r.Token) {
		t.Errorf("status %q, signed in %v", got, s.signedIn(t, r.Token))
	}
}
