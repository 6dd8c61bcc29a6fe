package console

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/authtest"
	"latchkey/authcore/notify"
	"latchkey/authcore/secret"
	"latchkey/policy"
)

func allowPhone(p *policy.Policy) { p.SignIn.Phone = policy.Allow }

// A member connects a number by what was sent to it. Only he is shown it, masked; then he signs in with it.
func TestPageOfThePhoneNumber(t *testing.T) {
	t.Parallel()
	s := openMethods(t, allowPhone)
	b := s.signedIn("account")
	p := b.get("/security/phone").is(200, "Login with phone number", "No phone number is connected.", "it is used for signing in only, and is not displayed to anybody")
	p = s.connecting(p, "+81 90-1234-5678").is(200, "A verification number was sent.", "the number that ends with 78").hides("1234")
	p = p.having("Connect").fill("Verification number", notThe(s.code(cell.Value))).press("Connect").is(422, "The number is wrong, used or too old.")
	p = p.having("Connect").fill("Verification number", s.code(cell.Value)).press("Connect").is(200, "Your phone number is connected.", "+81••••••••78").hides("9012345678")
	b.get("/contacts").is(200, "Mobile phone number None")

	if _, err := s.SignInPhone(t.Context(), authtest.Client(), cell.Value); err != nil || s.code(cell.Value) == "" {
		t.Errorf("to sign in with it: %v", err)
	}
	p = s.connecting(p, "+819087654321").is(200, "ends with 21")
	p = p.having("Connect").fill("Verification number", s.code("+819087654321")).press("Connect").is(200, "+81••••••••21").hides("••78")
	p.press("Disconnect").is(200, "Your phone number is disconnected.", "No phone number is connected.")
	if !s.told(s.People["account"].Address, string(notify.LinkChanged)) {
		t.Error("the member is not told")
	}
}

// connecting sends a number for the one that is typed.
func (s *stage) connecting(p *shown, number string) *shown {
	s.t.Helper()
	return p.having("Send verification number").fill("Mobile phone number", number).press("Send verification number")
}

func TestPhoneNumberIsRefused(t *testing.T) {
	t.Parallel()
	s := openMethods(t, allowPhone)
	b := s.signedIn("account")
	p := s.connecting(b.get("/security/phone"), "12").is(422, "Is no mobile number with its country, like +81 90 1234 5678")
	if got := p.having("Send verification number").values.Get("number"); got != "12" {
		t.Errorf("the field has %q", got)
	}
	p = s.connecting(b.get("/security/phone"), cell.Value).is(200, "ends with 78")
	first := s.code(cell.Value)
	p.press("Send another number").is(200, "A verification number was sent.")
	p.having("Connect").fill("Verification number", first).press("Connect").is(422, "The number is wrong, used or too old.")
	for range 9 {
		p.having("Connect").fill("Verification number", notThe(s.code(cell.Value))).press("Connect")
	}
	p.having("Connect").fill("Verification number", s.code(cell.Value)).press("Connect").is(429, "Ten verification numbers and ten wrong ones a day")

	again := s.signedIn("account").get("/security/phone/number").is(200, "enter the phone number again")
	if again.at.Path != "/security/phone" {
		t.Errorf("without a number that waits: %s", again.at)
	}
}

// What took ten minutes begins again; a sign-in that is no longer fresh comes back to the number that waits.
func TestPhoneNumberThatWaitsTooLong(t *testing.T) {
	t.Parallel()
	s := openMethods(t, allowPhone)
	b := s.signedIn("account")
	s.clock.pass(8 * time.Minute)
	p := s.connecting(b.get("/security/phone"), cell.Value).is(200)
	s.clock.pass(3 * time.Minute)
	p.having("Connect").fill("Verification number", s.code(cell.Value)).press("Connect").leadsToConfirm("/security/phone/number")
	s.clock.pass(8 * time.Minute)
	p.having("Connect").fill("Verification number", s.code(cell.Value)).press("Connect").leadsToConfirm("/security/phone/number")
	b.get("/security/phone").is(200, "No phone number is connected.")
}

// One number is one member's; who proved that he has it too is told that it is connected, and not to whom.
func TestPhoneNumberOfAnother(t *testing.T) {
	t.Parallel()
	s := openMethods(t, allowPhone)
	s.connected(s.signedIn("account"), cell.Value)
	s.clock.pass(time.Minute + time.Second)
	p := s.connecting(s.signedIn("admin").get("/security/phone"), cell.Value).is(200)
	p.having("Connect").fill("Verification number", s.code(cell.Value)).press("Connect").
		is(409, "This phone number is connected to another account.", "No phone number is connected.").hides(s.People["account"].Address)
}

func (s *stage) connected(b *browser, number string) {
	s.t.Helper()
	p := s.connecting(b.get("/security/phone"), number).is(200)
	p.having("Connect").fill("Verification number", s.code(number)).press("Connect").is(200, "Your phone number is connected.")
}

// Do not approve: the number is kept and not used, and no other one is connected.
func TestPhoneIsNotApproved(t *testing.T) {
	t.Parallel()
	s := openMethods(t, allowPhone)
	b := s.signedIn("account")
	page := b.get("/security/phone").is(200)
	s.connected(b, cell.Value)
	s.rule(func(p *policy.Policy) { p.SignIn.Phone = policy.Deny })
	b.get("/security/phone").is(200, "Your number stays connected, and is not used.", "+81••••••••78").hides("Send verification number")
	s.signedIn("admin").get("/security/phone").is(200, "does not approve this way to sign in.").hides("stays connected", "Send verification number")
	s.connecting(page, "+819087654321").is(403, "This way to sign in is not open for you") // a page from before
	b.get("/security/phone").press("Disconnect").is(200, "No phone number is connected.")
}

// The cookie that waits is for no script, and for this site alone.
func TestCookieOfThePhoneNumber(t *testing.T) {
	t.Parallel()
	s := openMethods(t, allowPhone)
	b := s.signedIn("account")
	b.http.CheckRedirect = noRedirect
	p := s.connecting(b.get("/security/phone"), cell.Value).is(303)
	cookies := strings.Join(p.header["Set-Cookie"], "\n")
	for line := range strings.Lines(cookies) {
		if strings.HasPrefix(line, phoneLinkCookie) && (!strings.Contains(line, "HttpOnly") || !strings.Contains(line, "Secure") || !strings.Contains(line, "SameSite=Strict")) {
			t.Errorf("cookie %s", line)
		}
	}
	if !strings.Contains(cookies, phoneLinkCookie) || strings.Contains(p.header.Get("Location"), "lk_") {
		t.Errorf("cookies %s, location %s", cookies, p.header.Get("Location"))
	}
	if _, err := s.ConfirmPhoneLink(t.Context(), s.Actor(t, "account"), phoneTicket(t, cookies), codeOf(s, cell.Value)); !denied(err, authcore.TicketInvalid) {
		t.Errorf("in another session: %v", err)
	}
}

func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// phoneTicket is the ticket in the cookie that was set.
func phoneTicket(t *testing.T, cookies string) secret.String {
	t.Helper()
	_, rest, _ := strings.Cut(cookies, phoneLinkCookie+"=")
	value, _, _ := strings.Cut(rest, ";")
	_, ticket, ok := strings.Cut(value, "~")
	if !ok {
		t.Fatalf("no ticket in %s", cookies)
	}
	return secret.New(ticket)
}

func codeOf(s *stage, to string) secret.String { return secret.New(s.code(to)) }
