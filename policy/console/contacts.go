package console

import (
	"errors"
	"net/url"

	"latchkey/authcore"
	"latchkey/authcore/member"
	"latchkey/policy"
)

// The personal e-mail addresses and mobile numbers of a member. One that he enters is his once the number that was sent to
// it came back; until then it waits, and this page shows it by its id and masked.

type contactsPage struct {
	Emails, Mobiles []contactRow
	Managed         bool // he cannot change them
}

func (p *page) contacts() error { return p.contactsAfter(nil) }

func (p *page) contactsAfter(err error) error {
	v, failed := p.core.MyTwoStep(p.ctx, p.actor)
	if failed != nil {
		return failed
	}
	return p.after(err, "contacts.html", contactsPage{
		Emails: rowsOf(v.Contacts, member.Email), Mobiles: rowsOf(v.Contacts, member.Mobile), Managed: v.Managed,
	})
}

func (p *page) contactRemove() error {
	if err := p.core.RemoveContact(p.ctx, p.actor, p.form("id")); err != nil {
		return p.contactsAfter(err)
	}
	return p.redirect(p.backTo("/contacts"), "contact_removed")
}

// newContactPage is the form for a contact, perhaps in the place of another one.
type newContactPage struct {
	Kind, Value string
	Replaces    string // as it is shown; empty: none
	Here        string
}

// Mobile says which of the two kinds it is.
func (n newContactPage) Mobile() bool { return n.Kind == member.Mobile }

func (p *page) contactNew() error { return p.contactNewAfter(nil) }

func (p *page) contactNewAfter(err error) error {
	n := newContactPage{Kind: member.Email, Value: p.form("value"), Here: p.Here()}
	if p.r.URL.Query().Get("kind") == member.Mobile {
		n.Kind = member.Mobile
	}
	if id := p.r.URL.Query().Get("replaces"); id != "" {
		k, failed := p.core.MyContact(p.ctx, p.actor, id)
		if failed != nil {
			return failed
		}
		n.Replaces = k.Value
	}
	return p.after(err, "contact-new.html", n)
}

func (p *page) contactAdd() error {
	q := p.r.URL.Query()
	w := authcore.ContactWish{Kind: member.Email, Value: p.form("value"), Replaces: q.Get("replaces")}
	if q.Get("kind") == member.Mobile {
		w.Kind = member.Mobile
	}
	sent, err := p.core.BeginContact(p.ctx, p.actor, w)
	if err != nil {
		return p.contactNewAfter(ofValue(ofCodes(err)))
	}
	to := "/contacts/" + sent.Contact
	if q.Get("next") != "" {
		to += "?" + url.Values{"next": {q.Get("next")}}.Encode()
	}
	return p.redirect(to, "")
}

// ofValue says beside the one field of the form what is wrong with the contact.
func ofValue(err error) error {
	var d *authcore.Denial
	if !errors.As(err, &d) || len(d.Mistakes) == 0 {
		return err
	}
	c := *d
	c.Mistakes = []policy.Mistake{{Field: "value", Reason: d.Mistakes[0].Reason}}
	return &c
}

// contactPage asks for the number that was sent to a contact.
type contactPage struct {
	ID, Masked string
	Mobile     bool
	Here, Back string
}

func (p *page) contact() error { return p.contactAfter(nil) }

func (p *page) contactAfter(err error) error {
	k, failed := p.core.MyContact(p.ctx, p.actor, p.r.PathValue("id"))
	if denied(failed, authcore.NotFound) {
		return p.redirect(p.backTo("/contacts"), "contact_gone")
	}
	if failed != nil {
		return failed
	}
	if k.Verified {
		return p.redirect(p.backTo("/contacts"), "")
	}
	return p.after(err, "contact.html", contactPage{
		ID: k.ContactID(), Masked: k.Masked(), Mobile: k.Kind == member.Mobile, Here: p.Here(), Back: p.backTo("/contacts"),
	})
}

func (p *page) contactSend() error {
	if _, err := p.core.SendContactCode(p.ctx, p.actor, p.r.PathValue("id")); err != nil {
		return p.contactAfter(ofCodes(err))
	}
	return p.redirect(p.Here(), "number_sent")
}

func (p *page) contactVerify() error {
	if _, err := p.core.VerifyContact(p.ctx, p.actor, p.r.PathValue("id"), p.secret("code")); err != nil {
		return p.contactAfter(ofCodes(err))
	}
	return p.redirect(p.backTo("/contacts"), "contact_verified")
}
