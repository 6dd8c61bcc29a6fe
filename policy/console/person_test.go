package console

import (
	"strings"
	"testing"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/authtest"
	"latchkey/authcore/member"
	"latchkey/authcore/sample"
	"latchkey/policy"
)

// Suspending asks first, says what follows, and does it; the page says why, when and by whom; lifting lets the member in.
func TestSuspendAndLift(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	theirs := s.signedIn("account")
	b := s.signedIn("admin")
	asked := b.get(oldAccount).is(200, "Active").follow("Suspend").is(200, "Suspend account@old.example?", "signed out of everything within a second", "App passwords, passkeys and contacts are kept")
	asked.follow("Cancel").is(200, "Active")
	done := asked.press("Suspend").is(200, "The member is suspended and signed out of everything.", "Suspended", "Suspended by admin@old.example.")
	done.hides("Remove suspension?")
	if _, err := s.SignIn(t.Context(), authtest.Client(), "account@old.example", s.People["account"].Account); err == nil {
		t.Error("a suspended member signed in")
	}
	if p := theirs.get("/members/account@old.example"); !strings.HasPrefix(p.at.Path, "/sign-in") {
		t.Errorf("the suspended member's session goes on: %s", p.at)
	}
	done.press("Remove suspension").is(200, "The suspension is removed.", "Active").hides("Suspended by")
	s.signedIn("account")
}

func TestSuspendedByFailures(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	for _, wrong := range strings.Fields("a1 b2 c3 d4 e5 f6 g7 h8 i9 j10") {
		_, _ = s.SignIn(t.Context(), authtest.Client(), "account@old.example", secretOf(wrong))
	}
	s.signedIn("admin").get(oldAccount).is(200, "Suspended after too many sign-in attempts with wrong passwords.", "Remove suspension")
}

// Deleting says what follows; the page of a deleted member offers to bring him back, for seven days.
func TestDeleteAndRestore(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	b := s.signedIn("admin")
	gone := b.get(oldAccount).follow("Delete").is(200, "Delete account@old.example?", "for 7 days", "The mailbox on the mail server is not touched").
		press("Delete").is(200, "The member is deleted.", "Can be restored until")
	gone.hides("Suspend", "Reset the password", "Edit profile")
	for _, below := range []string{"/edit", "/suspend", "/delete", "/reset-password"} {
		b.get(oldAccount+below).is(404, "This did not work")
	}
	gone.press("Restore").is(200, "The member is restored.", "Active")
	s.signedIn("account")

	b.get(oldAccount + "/delete").press("Delete")
	s.clock.pass(member.RestorableFor)
	late := s.signedIn("operator").get(oldAccount).is(200, "Deleted")
	late.press("Restore").is(409, "restored")
}

func TestSignOutEverywhere(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	theirs := s.signedIn("account")
	b := s.signedIn("admin")
	b.get(oldAccount).is(200, "Web").follow("Sign out everywhere").is(200, "Sign account@old.example out everywhere?").
		press("Sign out everywhere").is(200, "The member is signed out everywhere.", "The member is not signed in anywhere.")
	if p := theirs.get(oldAccount); !strings.HasPrefix(p.at.Path, "/sign-in") {
		t.Errorf("still signed in: %s", p.at)
	}
}

// A reset shows its temporary password once; app passwords go unless they are to stay.
func TestResetPassword(t *testing.T) {
	t.Parallel()
	for _, keep := range []bool{false, true} {
		s := open(t, Options{}, nil)
		b := s.signedIn("admin")
		form := b.get("/members/opted-in@old.example").is(200, "Demo").follow("Reset the password").
			is(200, "Reset the password of opted-in@old.example?", "valid for 72 hours", "There are 1.").having("Reset the password")
		want := "The app passwords were deleted."
		if keep {
			form.tick("Keep the app passwords")
			want = "The app passwords were kept."
		}
		made := form.press("Reset the password").is(200, "It is shown only once", want)
		word := temporaryWord.FindString(made.text())
		if again := form.press("Reset the password").is(200); word == "" || temporaryWord.FindString(again.text()) != word {
			t.Errorf("%q, and sent again another one", word)
		}
		if r, err := s.SignIn(t.Context(), authtest.Client(), "opted-in@old.example", secretOf(word)); err != nil || r.State != authcore.PasswordChangeRequires {
			t.Errorf("%q, %v", r.State, err)
		}
		if l, err := s.AppPasswordsOf(t.Context(), authtest.Operator(), "opted-in@old.example"); err != nil || (len(l) == 1) != keep {
			t.Errorf("keep %v: %d, %v", keep, len(l), err)
		}
	}
}

func TestAskForANewPassword(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	s.signedIn("admin").get(oldAccount).press("Ask for a new password at the next sign-in").is(200, "The member sets a new password at the next sign-in.")
	if r, err := s.SignIn(t.Context(), authtest.Client(), "account@old.example", s.People["account"].Account); err != nil || r.State != authcore.PasswordChangeRequires {
		t.Errorf("%q, %v", r.State, err)
	}
}

func TestEditProfile(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	s.make("boss", member.RoleAdministrator)
	b := s.signedIn("admin")
	edit := b.get(oldAccount).follow("Edit profile").is(200, "Edit profile")
	edit.having("Save").fill("Name", "Ann").fill("Aliases", "ann@old.example a.nn@old.example").fill("Personal e-mail addresses", "ann@home.example").
		choose("Administrator").choose("日本語").press("Save").
		is(200, "Saved.", "Ann", "ann@old.example, a.nn@old.example", "ann@home.example", "Administrator")
	for _, c := range []struct{ name, label, value, want string }{
		{"an alias of another domain", "Aliases", "x@new.example", `"x@new.example" is not in the domain old.example`},
		{"a contact that is none", "Personal e-mail addresses", "none", `"none" is neither an e-mail address nor a mobile number`},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := b.get(oldAccount+"/edit").having("Save").fill(c.label, c.value).press("Save").is(422, "Some fields are not right.", c.want)
			if p.having("Save").field(c.label) == nil || !strings.Contains(p.body, c.value) {
				t.Error("what was typed is gone")
			}
		})
	}
}

// The second of two people is told, sees what the first saved, and saves over it only by saving again.
func TestTwoPeopleEditOneProfile(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	mine := s.signedIn("admin").get(oldAccount+"/edit").having("Save").fill("Name", "Mine")
	s.signedIn("operator").get(oldAccount+"/edit").having("Save").fill("Name", "Theirs").press("Save").is(200, "Saved.", "Theirs")
	told := mine.press("Save").is(412, "Somebody else saved this profile meanwhile", "Name: Theirs")
	if got := told.having("Save").values.Get("name"); got != "Mine" {
		t.Errorf("what was typed is %q now", got)
	}
	told.having("Save").press("Save").is(200, "Saved.", "Mine")
}

// What the second left alone stays as the first saved it.
func TestTwoPeopleEditFieldsOfOneProfile(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	mine := s.signedIn("admin").get(oldAccount+"/edit").having("Save").fill("Name", "Mine").fill("Mobile numbers", "")
	s.signedIn("operator").get(oldAccount+"/edit").having("Save").fill("Name", "Theirs").fill("Personal e-mail addresses", "theirs@home.example").
		fill("Aliases", "al@old.example").choose("日本語").press("Save").is(200, "Saved.")
	told := mine.press("Save").is(412, "What you changed stands below")
	told.having("Save").press("Save").is(200, "Saved.", "Mine", "theirs@home.example", "al@old.example")
	m, err := s.MemberOf(t.Context(), authtest.Operator(), "account@old.example")
	if err != nil || m.Member.Language != "ja" {
		t.Errorf("language %q, %v", m.Member.Language, err)
	}
}

// The same for ways and doors, which are on the page itself.
func TestTwoPeopleEditOneMember(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	for _, button := range []string{"Save the ways to sign in", "Save the doors"} {
		mine := s.signedIn("admin").get(oldAccount).having(button)
		s.signedIn("operator").get(oldAccount+"/edit").having("Save").fill("Name", "X "+button).press("Save").is(200)
		mine.press(button).is(412, "changed meanwhile").having(button).press(button).is(200, "Saved.")
	}
}

// "Login with LINE" is turned off for one member, whatever the domain allows; what the form does not show stays denied.
func TestDenyLINEForOneMember(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	p, rev, err := s.Policy(t.Context(), authtest.Operator(), sample.Old)
	if err != nil {
		t.Fatal(err)
	}
	p.SignIn.LINE = policy.Allow
	if _, err := s.SetPolicy(t.Context(), authtest.Operator(), sample.Old, p, rev); err != nil {
		t.Fatal(err)
	}
	if _, err := s.DenyWays(t.Context(), authtest.Operator(), "account@old.example", []string{"oidc.elsewhere"}, 0); err != nil {
		t.Fatal(err)
	}
	b := s.signedIn("admin")
	b.get(oldAccount).is(200, "Login with LINE", "Login with phone number", "Quick Login (Mobile app)", "Not approved in this domain.").
		having("Save the ways to sign in").choose("Do not approve").press("Save the ways to sign in").is(200, "Saved.")
	denied := func() string {
		m, err := s.MemberOf(t.Context(), authtest.Operator(), "account@old.example")
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(m.Member.DeniedWays, " ")
	}
	if got := denied(); got != "line oidc.elsewhere" {
		t.Errorf("denied: %q", got)
	}
	b.get(oldAccount).having("Save the ways to sign in").choose("Allow").press("Save the ways to sign in").is(200, "Saved.")
	if got := denied(); got != "oidc.elsewhere" {
		t.Errorf("denied: %q", got)
	}
}

func TestCloseADoorForOneMember(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	b := s.signedIn("admin")
	b.get(oldAccount).having("Save the doors").untick("POP3: fetch mail").press("Save the doors").is(200, "Saved.")
	d, err := s.Authenticate(t.Context(), authtest.Attempt("pop3", "account@old.example", s.People["account"].Account.Reveal()))
	if err != nil || d.Reason != authcore.DoorClosed {
		t.Errorf("%q, %v", d.Reason, err)
	}
	b.get(oldAccount).having("Save the doors").tick("POP3: fetch mail").press("Save the doors").is(200, "Saved.")
}

// What a member has and is signed in to is deleted and ended one by one.
func TestAppPasswordsAndSessionsOfAMember(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	d, err := s.Authenticate(t.Context(), authtest.Attempt("imap", "opted-in@old.example", s.People["opted-in"].AppPasswords[0].Secret.Reveal()))
	if err != nil || !d.Allowed() {
		t.Fatalf("%q, %v", d.Reason, err)
	}
	b := s.signedIn("admin")
	p := b.get("/members/opted-in@old.example").is(200, "imap", "192.0.2.10", "In third-party apps this member logs in with app passwords only.")
	p.within("192.0.2.10", "End").press("End").is(200, "The session is ended.", "The member is not signed in anywhere.")
	p.follow("Delete Demo").is(200, "Delete the app password “Demo” of opted-in@old.example?").press("Delete").is(200, "Deleted.", "There are none.")
	b.get("/members/opted-in@old.example/app-passwords/none/delete").is(404)
	b.get("/members/opted-in@old.example/passkeys/none/delete").is(404)
	b.get("/members/opted-in@old.example/quick-devices/none/delete").is(404)
}

func TestResetTwoStep(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	s.signedIn("admin").get("/members/two-step@old.example").is(200, "Methods: e-mail.", "Verified").follow("Reset 2-step verification").
		is(200, "The member is told by message.").press("Reset 2-step verification").is(200, "The 2-step verification is reset.", "Off")
}

// The last administrator's page shows no button that would be refused, and says why; asked for all the same, it is refused
// in words.
func TestTheLastAdministratorStays(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	b := s.signedIn("admin")
	p := b.get("/members/admin@old.example").is(200, "You", "last active administrator")
	if strings.Contains(p.body, "/suspend") || strings.Contains(p.body, "/delete\"") {
		t.Error("a button that would be refused is shown")
	}
	b.get("/members/admin@old.example/edit").is(200, "the role cannot be taken away")
	b.get("/members/admin@old.example/suspend").press("Suspend").is(409, "without an administrator", "Active")
	b.send("POST", "/members/admin@old.example/edit", map[string][]string{"role": {"member"}, "revision": {b.get("/members/admin@old.example/edit").having("Save").values.Get("revision")}}).
		is(409, "without an administrator")
}

// An administrator sees that there is an operator, and no more.
func TestOperatorsAreOutOfReach(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	s.make("super", member.RoleAdministrator)
	if _, err := s.CreateOperator(t.Context(), authtest.Operator(), "super@old.example"); err != nil {
		t.Fatal(err)
	}
	b := s.signedIn("admin")
	if p := b.get(oldMembers).is(200, "super@old.example", "Operator"); strings.Contains(p.body, `href="/members/super@old.example"`) {
		t.Error("the list leads to a page that is refused")
	}
	for _, below := range []string{"", "/edit", "/suspend", "/reset-password"} {
		b.get("/members/super@old.example"+below).is(403, "You may not do this.")
	}
	s.clock.pass(time.Minute)
	s.signedIn("operator").get("/members/super@old.example").is(200, "Operator", "Suspend")
}
