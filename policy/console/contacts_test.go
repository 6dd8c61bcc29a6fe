package console

import (
	"testing"
	"time"

	"latchkey/authcore/member"
	"latchkey/authcore/notify"
	"latchkey/policy"
)

func isAbout(kind string) func(notify.Outgoing) bool {
	return func(o notify.Outgoing) bool { return string(o.Kind) == kind }
}

// A member enters an e-mail address and a mobile number, and each is his once its number came back.
func TestPageOfContacts(t *testing.T) {
	t.Parallel()
	s := openMethods(t, nil)
	b := s.signedIn("account")
	p := b.get("/contacts").is(200, "Personal information", "Personal e-mail address None", "Mobile phone number None")
	p = p.follow("Add an e-mail address").is(200, "Personal e-mail address").
		having("Send verification number").fill("E-mail address", " ann@mail.example ").press("Send verification number").
		is(200, "Enter the verification number", "a•••@m•••.example").hides("ann@mail.example")
	p = p.having("Verify").fill("Verification number", notThe(s.code(ann.Value))).press("Verify").is(422, "The number is wrong, used or too old.")
	p = p.having("Verify").fill("Verification number", s.code(ann.Value)).press("Verify").is(200, "It is verified.", "ann@mail.example Verified")
	p = p.follow("Add a mobile phone number").having("Send verification number").fill("Mobile phone number", "+81 90-1234-5678").press("Send verification number").
		is(200, "by text message to +81••••••••78")
	p.having("Verify").fill("Verification number", s.code(cell.Value)).press("Verify").is(200, "+819012345678 Verified")
}

// A change counts when the new one is verified, and the old one is told.
func TestContactIsReplaced(t *testing.T) {
	t.Parallel()
	s := openMethods(t, nil)
	b := s.signedIn("account")
	s.verified(b, "Add an e-mail address", "E-mail address", ann.Value)
	p := b.get("/contacts").follow("Change ann@mail.example").is(200, "Replaces ann@mail.example").
		having("Send verification number").fill("E-mail address", "new@mail.example").press("Send verification number").is(200)
	b.get("/contacts").is(200, "ann@mail.example Verified").hides("new@mail.example")
	p.having("Verify").fill("Verification number", s.code("new@mail.example")).press("Verify").is(200, "new@mail.example Verified").hides("ann@mail.example")
	if !s.told(ann.Value, string(notify.ContactChanged)) {
		t.Error("the contact that went is not told")
	}
	b.get("/contacts").press("Remove").is(200, "It was removed.", "Personal e-mail address None")
}

// verified enters a contact and types its number.
func (s *stage) verified(b *browser, link, label, value string) {
	s.t.Helper()
	p := b.get("/contacts").follow(link).having("Send verification number").fill(label, value).press("Send verification number").is(200)
	p.having("Verify").fill("Verification number", s.code(value)).press("Verify").is(200, "Verified")
}

// What cannot be a contact, or not one more, is said beside the field, and what was typed is still there.
func TestContactIsRefused(t *testing.T) {
	t.Parallel()
	s := openMethods(t, nil)
	b := s.signedIn("account")
	add := func(path, label, value string) *shown {
		return b.get(path).having("Send verification number").fill(label, value).press("Send verification number")
	}
	p := add("/contacts/add?kind=email", "E-mail address", "nobody").is(422, "Is neither an e-mail address nor a mobile number")
	if got := p.having("Send verification number").values.Get("value"); got != "nobody" {
		t.Errorf("the field has %q", got)
	}
	add("/contacts/add?kind=mobile", "Mobile phone number", "110").is(422, "Is neither an e-mail address nor a mobile number")
	add("/contacts/add?kind=email", "E-mail address", ann.Value).is(200, "Enter the verification number")
	add("/contacts/add?kind=email", "E-mail address", ann.Value).is(429, "wait a minute")
	b.get("/contacts/"+ann.ContactID()).press("Send another number").is(429, "wait a minute")
	first := s.code(ann.Value)
	s.clock.pass(time.Minute + time.Second)
	p = b.get("/contacts/"+ann.ContactID()).press("Send another number").is(200, "A verification number was sent.")
	p = p.having("Verify").fill("Verification number", first).press("Verify").is(422, "The number is wrong, used or too old.")
	for range 4 {
		p = p.having("Verify").fill("Verification number", notThe(s.code(ann.Value))).press("Verify").is(422)
	}
	p.having("Verify").fill("Verification number", s.code(ann.Value)).press("Verify").is(422, "The number is wrong, used or too old.") // the sixth try
	for range 5 {
		p.having("Verify").fill("Verification number", "000000").press("Verify")
	}
	p.having("Verify").fill("Verification number", "000000").press("Verify").is(429, "Ten verification numbers and ten wrong ones a day are the most")
}

// Nobody sees or verifies what another session waits for; what nobody waits for leads back.
func TestContactThatDoesNotWait(t *testing.T) {
	t.Parallel()
	s := openMethods(t, nil)
	b := s.signedIn("account")
	b.get("/contacts/add?kind=email").having("Send verification number").fill("E-mail address", ann.Value).press("Send verification number").is(200)
	for who, other := range map[string]*browser{"another session": s.signedIn("account"), "another member": s.signedIn("admin")} {
		if p := other.get("/contacts/"+ann.ContactID()).is(200, "This contact no longer waits for a verification number"); p.at.Path != "/contacts" {
			t.Errorf("%s is at %s", who, p.at)
		}
	}
	b.get("/contacts/add?kind=email&replaces=" + cell.ContactID()).is(404)
}

// Where the organization manages profiles, contacts can be verified and not changed.
func TestManagedContacts(t *testing.T) {
	t.Parallel()
	s := openMethods(t, func(p *policy.Policy) { p.ProfileManagedExternally = true })
	s.entered("account", ann)
	b := s.signedIn("account")
	b.get("/contacts").is(200, "managed by your organization", "ann@mail.example Not verified").hides("Change", "Remove", "Add an e-mail address")
	b.get("/contacts/add?kind=email").having("Send verification number").fill("E-mail address", "x@mail.example").press("Send verification number").
		is(403, "ask your administrator to change it there")
	b.send("POST", "/contacts", map[string][]string{"do": {"remove"}, "id": {ann.ContactID()}}).is(403, "ask your administrator to change it there", "ann@mail.example")
	p := b.get("/contacts").press("Verify").is(200, "Enter the verification number")
	p.having("Verify").fill("Verification number", s.code(ann.Value)).press("Verify").is(200, "ann@mail.example Verified")
}

// The last method of a member of whom two-step is asked stays.
func TestLastContactStays(t *testing.T) {
	t.Parallel()
	s := openMethods(t, nil)
	s.entered("account", member.Contact{Kind: ann.Kind, Value: ann.Value})
	b := s.signedIn("account")
	b.get("/contacts").press("Verify").having("Verify").fill("Verification number", s.code(ann.Value)).press("Verify")
	b.get("/security/two-step").press("Switch on 2-step verification").is(200, "2-step verification is on")
	b.get("/contacts").press("Remove").is(403, "It is your last method of 2-step verification: add another one first.", "ann@mail.example Verified")
}
