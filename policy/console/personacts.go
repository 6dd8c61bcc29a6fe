package console

import (
	"crypto/rand"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/member"
	"latchkey/authcore/session"
)

// What an administrator does to a member. What cannot be undone by the next press asks on a page of its own first, which
// says what follows.

func (s *server) personActRoutes() {
	for _, word := range []string{"suspend", "sign-out", "delete", "reset-two-step"} {
		s.signedIn("GET /members/{address}/"+word, func(p *page) error { return p.askAct(word) })
		s.signedIn("POST /members/{address}/"+word, func(p *page) error { return p.act(word) })
	}
	for _, word := range []string{"lift", "restore", "ask-change"} {
		s.signedIn("POST /members/{address}/"+word, func(p *page) error { return p.act(word) })
	}
	s.signedIn("GET /members/{address}/reset-password", (*page).resetWanted)
	s.signedIn("POST /members/{address}/reset-password", (*page).resetDone)
	for _, kind := range []string{"app-passwords", "passkeys", "quick-devices"} {
		s.signedIn("GET /members/{address}/"+kind+"/{id}/delete", func(p *page) error { return p.askDelete(kind) })
		s.signedIn("POST /members/{address}/"+kind+"/{id}/delete", func(p *page) error { return p.deleted(kind) })
	}
	s.signedIn("POST /members/{address}/sessions/{id}/end", (*page).personSessionEnded)
}

// actor's target, when he may act on him and the member is there to be acted on.
func (p *page) target() (authcore.Profile, error) {
	m, err := p.core.MemberOf(p.ctx, p.actor, p.r.PathValue("address"))
	switch {
	case err != nil:
		return m, err
	case !p.actor.MayChange(m):
		return m, &authcore.Denial{Reason: authcore.Forbidden}
	case m.Member.Status == member.Deleted:
		return m, &authcore.Denial{Reason: authcore.NotFound}
	}
	return m, nil
}

func (p *page) askAct(word string) error {
	m, err := p.target()
	if err != nil {
		return err
	}
	a := m.Member.Address()
	c := confirmation{Action: memberPath(a, word), Back: memberPath(a)}
	switch word {
	case "suspend":
		c.Title, c.Button = p.t("Suspend %s?", a), p.t("Suspend")
		c.Sentences = []string{
			p.t("The member is signed out of everything within a second: the web, the mobile app and every program."),
			p.t("Nobody can sign in to the account until an administrator removes the suspension. App passwords, passkeys and contacts are kept."),
		}
	case "sign-out":
		c.Title, c.Button = p.t("Sign %s out everywhere?", a), p.t("Sign out everywhere")
		c.Sentences = []string{
			p.t("Every session ends within a second: the web, the mobile app and every program."),
			p.t("The member may sign in again at once, and programs do so with the password they have. Devices of quick login must be registered again."),
		}
	case "delete":
		c.Title, c.Button = p.t("Delete %s?", a), p.t("Delete")
		c.Sentences = []string{
			p.t("The member is signed out of everything within a second and cannot sign in any more."),
			p.t("You can restore the member for 7 days. Until then the addresses stay reserved."),
			p.t("After that the addresses may be given to somebody new, who inherits nothing. The mailbox on the mail server is not touched."),
		}
	case "reset-two-step":
		c.Title, c.Button = p.t("Reset the 2-step verification of %s?", a), p.t("Reset 2-step verification")
		c.Sentences = []string{
			p.t("The authenticator app and the recovery codes are removed, and what the member switched on is switched off. Passkeys and contacts are kept."),
			p.t("If the domain requires 2-step verification, a member without a method registers one at the next sign-in. The member is told by message."),
		}
	}
	return p.confirm(c)
}

// act does what a page has asked for, or what needs no asking.
func (p *page) act(word string) error {
	var err error
	address, said := p.r.PathValue("address"), "saved"
	switch word {
	case "suspend":
		_, err = p.core.Suspend(p.ctx, p.actor, address)
		said = "suspended"
	case "lift":
		_, err = p.core.Lift(p.ctx, p.actor, address)
		said = "lifted"
	case "sign-out":
		_, err = p.core.SignOutEverywhere(p.ctx, p.actor, address)
		said = "member_signed_out"
	case "delete":
		err = p.core.DeleteMember(p.ctx, p.actor, address)
		said = "member_deleted"
	case "restore":
		_, err = p.core.UpdateMember(p.ctx, p.actor, address, authcore.MemberChange{Restore: true}, 0)
		said = "restored"
	case "ask-change":
		must := true
		_, err = p.core.UpdateMember(p.ctx, p.actor, address, authcore.MemberChange{MustChange: &must}, 0)
		said = "change_asked"
	case "reset-two-step":
		_, err = p.core.ResetTwoStep(p.ctx, p.actor, address)
		said = "two_step_reset"
	}
	if err != nil {
		return p.personAgain(err)
	}
	return p.redirect(memberPath(address), said)
}

// resetForm asks how to reset a password.
type resetForm struct {
	Address, Path, Once string
	Keep                bool
	Apps                int
}

func (p *page) resetWanted() error {
	m, err := p.target()
	if err != nil {
		return err
	}
	return p.show("memberreset.html", resetForm{Address: m.Member.Address(), Path: memberPath(m.Member.Address()), Once: rand.Text(), Apps: m.AppPasswords})
}

// resetMade shows the temporary password, once.
type resetMade struct {
	Address, Secret, Path string
	Until                 time.Time
	Kept                  bool
}

func (p *page) resetDone() error {
	ctx, err := p.onceHere()
	if err != nil {
		return err
	}
	address, keep := p.r.PathValue("address"), p.form("keep") != ""
	temporary, until, err := p.core.ResetPassword(ctx, p.actor, address, keep)
	if err != nil {
		return p.personAgain(err)
	}
	return p.show("memberresetmade.html", resetMade{Address: address, Secret: temporary.Reveal(), Path: memberPath(address), Until: until, Kept: keep})
}

// named finds the name of what is to be deleted.
func (p *page) named(kind, address, id string) (string, error) {
	switch kind {
	case "app-passwords":
		l, err := p.core.AppPasswordsOf(p.ctx, p.actor, address)
		for _, a := range l {
			if a.ID == id {
				return a.Name, err
			}
		}
		return "", orNotFound(err)
	case "passkeys":
		l, err := p.core.PasskeysOf(p.ctx, p.actor, address)
		for _, k := range l {
			if k.ID == id {
				return k.Name, err
			}
		}
		return "", orNotFound(err)
	default:
		l, err := p.core.QuickDevicesOf(p.ctx, p.actor, address)
		for _, d := range l {
			if d.ID == id {
				return d.Name, err
			}
		}
		return "", orNotFound(err)
	}
}

func orNotFound(err error) error {
	if err == nil {
		return &authcore.Denial{Reason: authcore.NotFound}
	}
	return err
}

func (p *page) askDelete(kind string) error {
	m, err := p.target()
	if err != nil {
		return err
	}
	a, id := m.Member.Address(), p.r.PathValue("id")
	name, err := p.named(kind, a, id)
	if err != nil {
		return err
	}
	c := confirmation{Action: memberPath(a, kind, id, "delete"), Back: memberPath(a), Button: p.t("Delete")}
	switch kind {
	case "app-passwords":
		c.Title = p.t("Delete the app password “%s” of %s?", name, a)
		c.Sentences = []string{p.t("The program that uses it is signed out within a second and cannot sign in any more. Only the member can create another one.")}
	case "passkeys":
		c.Title = p.t("Delete the passkey “%s” of %s?", name, a)
		c.Sentences = []string{p.t("It cannot be used to sign in any more, even if it is the member's last method of 2-step verification. Sessions go on.")}
	default:
		c.Title = p.t("Delete the device “%s” of %s?", name, a)
		c.Sentences = []string{p.t("Quick login on it ends. Sessions go on.")}
	}
	return p.confirm(c)
}

func (p *page) deleted(kind string) error {
	var err error
	address, id := p.r.PathValue("address"), p.r.PathValue("id")
	switch kind {
	case "app-passwords":
		err = p.core.DeleteAppPasswordOf(p.ctx, p.actor, address, id)
	case "passkeys":
		err = p.core.DeletePasskeyOf(p.ctx, p.actor, address, id)
	default:
		err = p.core.DeleteQuickDeviceOf(p.ctx, p.actor, address, id)
	}
	if err != nil {
		return p.personAgain(err)
	}
	return p.redirect(memberPath(address), "thing_deleted")
}

func (p *page) personSessionEnded() error {
	address := p.r.PathValue("address")
	if err := p.core.EndSession(p.ctx, p.actor, address, session.ID(p.r.PathValue("id"))); err != nil {
		return p.personAgain(err)
	}
	return p.redirect(memberPath(address), "door_session_ended")
}
