package authcore

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"latchkey/authcore/audit"
	"latchkey/authcore/member"
	"latchkey/authcore/notify"
	"latchkey/authcore/otp"
	"latchkey/authcore/quick"
	"latchkey/authcore/secret"
	"latchkey/authcore/store"
	"latchkey/policy"
)

// A contact that the member enters is verified by a code then and there, and the change counts when the new one is
// verified. What an administrator or an import enters counts at once, unverified: the first right code verifies it, and
// the contact that went is told.

// enrolling is who proves a method of his own: somebody signed in, or in the enrolment step of a sign-in.
type enrolling struct {
	client Client
	ticket string // what the codes belong to: id of the session, or session.Hash of the ticket's token
	domain member.DomainID
	member member.ID
	proven bool // he proved himself lately, or is in a sign-in that asks for a method: he may change, not only verify
}

// ContactWish is a contact that a member enters for himself.
type ContactWish struct {
	Kind     string // member.Email or member.Mobile
	Value    string // a number as people write it
	Replaces string // id of the one that goes when this one is verified; empty: none
}

// ContactCode says where a code went.
type ContactCode struct {
	Contact   string // its id
	Masked    string
	ExpiresAt time.Time
}

// pendingContact waits for its code. It may be lost: then it is entered again.
type pendingContact struct {
	Kind     string `json:"kind"`
	Value    string `json:"value"`
	Replaces string `json:"replaces,omitempty"`
}

func (e enrolling) pendingKey(what, id string) store.Key {
	return store.Key{Partition: "enrolment", Name: what + "/" + e.ticket + "/" + id}
}

func (e enrolling) codeTicket(contact string) otp.Ticket {
	return otp.Ticket{Purpose: otp.ForContact, ID: e.ticket + "/" + contact}
}

// person reads the member with his domain.
func (c *Core) enroller(ctx context.Context, e enrolling) (*member.Tenant, *member.Member, error) {
	t, err := c.dir.TenantByID(ctx, e.domain)
	if err != nil {
		return nil, nil, err
	}
	p, err := c.dir.PersonByID(ctx, e.domain, e.member)
	if err != nil {
		return nil, nil, err
	}
	if t == nil || p.Member == nil {
		return nil, nil, deny(NotFound, "")
	}
	return t, p.Member, nil
}

// takeContact reads a contact as somebody typed it.
func (c *Core) takeContact(kind, value string) (member.Contact, bool) {
	k := member.Contact{Kind: kind, Value: strings.TrimSpace(value)}
	switch kind {
	case member.Mobile:
		n, err := member.ParseMobile(k.Value, c.o.Region)
		k.Value = n
		return k, err == nil
	case member.Email:
		n, err := member.ParseName(k.Value, "")
		k.Value = n.String()
		return k, err == nil
	}
	return k, false
}

// beginContact sends a code to a contact that the member enters.
func (c *Core) beginContact(ctx context.Context, e enrolling, w ContactWish) (ContactCode, error) {
	t, m, err := c.enroller(ctx, e)
	if err != nil {
		return ContactCode{}, err
	}
	if t.Policy.ProfileManagedExternally {
		return ContactCode{}, deny(ProfileManagedExternally, "")
	}
	if !e.proven {
		return ContactCode{}, deny(ReauthenticationRequired, "")
	}
	k, ok := c.takeContact(w.Kind, w.Value)
	if !ok {
		return ContactCode{}, invalid(policy.Mistake{Field: "value", Reason: "is neither an e-mail address nor a mobile number like +819012345678"})
	}
	if old, there := findContact(m, k.ContactID()); there {
		return c.codeToContact(ctx, e, m, old)
	}
	if _, there := findContact(m, w.Replaces); w.Replaces != "" && !there {
		return ContactCode{}, deny(NotFound, "")
	}
	if len(m.Contacts) >= maxContacts && w.Replaces == "" {
		return ContactCode{}, deny(LimitReached, "")
	}
	p, err := json.Marshal(pendingContact{k.Kind, k.Value, w.Replaces})
	if err != nil {
		return ContactCode{}, broken("keep contact", err)
	}
	if err := c.o.Ephemeral.Put(ctx, e.pendingKey("contact", k.ContactID()), p, TicketFor); err != nil {
		return ContactCode{}, broken("keep contact", err)
	}
	return c.codeToContact(ctx, e, m, k)
}

// resendContact sends a code to a contact that is saved or waits for its code.
func (c *Core) resendContact(ctx context.Context, e enrolling, id string) (ContactCode, error) {
	k, err := c.contactAt(ctx, e, id)
	if err != nil {
		return ContactCode{}, err
	}
	_, m, err := c.enroller(ctx, e)
	if err != nil {
		return ContactCode{}, err
	}
	return c.codeToContact(ctx, e, m, k)
}

// contactAt answers the contact that is saved or waits for its code; NotFound when there is none.
func (c *Core) contactAt(ctx context.Context, e enrolling, id string) (member.Contact, error) {
	_, m, err := c.enroller(ctx, e)
	if err != nil {
		return member.Contact{}, err
	}
	if k, ok := findContact(m, id); ok {
		return k, nil
	}
	w, err := c.pendingContact(ctx, e, id)
	return member.Contact{Kind: w.Kind, Value: w.Value}, err
}

func (c *Core) codeToContact(ctx context.Context, e enrolling, m *member.Member, k member.Contact) (ContactCode, error) {
	channel, _ := wayOf(k)
	if !c.canSend(channel) {
		return ContactCode{}, invalid(policy.Mistake{Field: "kind", Reason: "cannot be verified: no code can be sent this way here"})
	}
	id := k.ContactID()
	until, err := c.askCode(ctx, codeAsk{
		ticket: e.codeTicket(id), domain: e.domain, member: e.member, address: m.Address(), client: e.client, channel: channel, to: k.Value,
		language: m.Language, note: id,
	})
	return ContactCode{Contact: id, Masked: k.Masked(), ExpiresAt: until}, err
}

// pendingContact answers the contact that waits for its code; NotFound when there is none.
func (c *Core) pendingContact(ctx context.Context, e enrolling, id string) (w pendingContact, err error) {
	p, err := c.o.Ephemeral.Get(ctx, e.pendingKey("contact", id))
	if errors.Is(err, store.ErrNotFound) || err == nil && json.Unmarshal(p, &w) != nil {
		return w, deny(NotFound, "")
	}
	if err != nil {
		return w, broken("read contact", err)
	}
	return w, nil
}

// confirmContact verifies a contact by the code that was sent to it, and makes the change that waits for it.
func (c *Core) confirmContact(ctx context.Context, e enrolling, id string, code secret.String) error {
	if _, err := c.contactAt(ctx, e, id); err != nil {
		return err // nothing to compare with, and nothing to count
	}
	return c.tryCodeThen(ctx, e.codeTicket(id), e.domain, e.member, code, func(ctx context.Context, note string) ([]store.Op, error) {
		t := secondTry{client: e.client, domain: e.domain, member: e.member}
		var told []store.Op
		ops, err := c.passedOps(ctx, t, func(m *member.Member) (err error) {
			told, err = c.verified(ctx, e, m, note)
			return err
		})
		return append(ops, told...), err
	})
}

// verified changes m's contacts once the one with this id is verified, and answers what tells of it.
func (c *Core) verified(ctx context.Context, e enrolling, m *member.Member, id string) (told []store.Op, err error) {
	if _, saved := findContact(m, id); saved {
		entry := c.webEntry(m, e.client, audit.ContactChange)
		entry.Detail = "verified"
		return []store.Op{audit.Op(entry)}, verifyContact(m, id)
	}
	w, err := c.pendingContact(ctx, e, id)
	if err != nil {
		return nil, deny(BadCode, "")
	}
	managed, err := c.managed(ctx, e.domain)
	if err != nil || managed {
		return nil, orDenied(err, deny(ProfileManagedExternally, ""))
	}
	was := *m
	k := member.Contact{Kind: w.Kind, Value: w.Value, Verified: true}
	i := slices.IndexFunc(m.Contacts, func(o member.Contact) bool { return w.Replaces != "" && o.ContactID() == w.Replaces })
	m.Contacts = slices.Clone(m.Contacts)
	if i >= 0 {
		m.Contacts[i] = k
	} else if len(m.Contacts) < maxContacts {
		m.Contacts = append(m.Contacts, k)
	} else {
		return nil, deny(LimitReached, "")
	}
	return c.contactOps(&was, m, c.webEntry(m, e.client, audit.ContactChange)), nil
}

func orDenied(err, denied error) error {
	if err != nil {
		return err
	}
	return denied
}

func (c *Core) managed(ctx context.Context, d member.DomainID) (bool, error) {
	t, err := c.dir.TenantByID(ctx, d)
	if err != nil || t == nil {
		return true, err
	}
	return t.Policy.ProfileManagedExternally, nil
}

// contactOps are the audit of a change of contacts, and what tells of it: the member, and each contact that went.
func (c *Core) contactOps(was, is *member.Member, entry audit.Entry) []store.Op {
	gone, come := lost(was.Contacts, is.Contacts), lost(is.Contacts, was.Contacts)
	if len(gone)+len(come) == 0 {
		return nil
	}
	entry.Changes = memberChanges(*was, *is)
	e := notify.Event{Kind: notify.ContactChanged, At: c.now(), From: entry.From, Address: is.Address(), Name: masks(gone) + " → " + masks(come)}
	ops := append(c.notice(is, e), audit.Op(entry))
	for _, k := range gone {
		channel, _ := wayOf(k)
		ops = append(ops, c.noticeTo(channel, k.Value, is.Language, e)...)
	}
	return ops
}

// lost answers the contacts of old that next does not have.
func lost(old, next []member.Contact) (l []member.Contact) {
	for _, k := range old {
		if !slices.ContainsFunc(next, func(n member.Contact) bool { return n.Kind == k.Kind && n.Value == k.Value }) {
			l = append(l, k)
		}
	}
	return l
}

func masks(l []member.Contact) string {
	if len(l) == 0 {
		return "–"
	}
	s := make([]string, len(l))
	for i, k := range l {
		s[i] = k.Masked()
	}
	return strings.Join(s, ", ")
}

// readContacts writes contacts that an administrator or an import enters as they are kept. What cannot be read is left for
// memberMistakes to judge: a number that no library knows may still be one.
func (c *Core) readContacts(l []member.Contact) []member.Contact {
	var next []member.Contact
	for _, k := range l {
		if read, ok := c.takeContact(k.Kind, k.Value); ok {
			k.Value = read.Value
		}
		if !slices.ContainsFunc(next, func(o member.Contact) bool { return o.ContactID() == k.ContactID() }) {
			next = append(next, k)
		}
	}
	return next
}

// takeContacts puts the contacts that an administrator enters into the change, and answers what tells of it.
func (c *Core) takeContacts(a Actor, t target, ch *MemberChange) ([]store.Op, error) {
	if ch.Contacts == nil {
		return nil, nil
	}
	next := *t.person.Member
	next.Contacts = keepVerified(next.Contacts, c.readContacts(*ch.Contacts), a.command)
	ch.Contacts = &next.Contacts
	if len(next.Contacts) > maxContacts {
		return nil, asInvalid(memberMistakes(next)) // before anybody is told
	}
	return c.contactOps(t.person.Member, &next, c.entry(a, t, audit.ContactChange)), nil
}

// keepVerified carries over what is verified to a list of contacts that somebody else enters; a command's list may say so
// itself.
func keepVerified(old, next []member.Contact, believed bool) []member.Contact {
	l := slices.Clone(next)
	for i := range l {
		k, there := findContact(&member.Member{Contacts: old}, l[i].ContactID())
		l[i].Verified = there && k.Verified || believed && l[i].Verified
	}
	return l
}

// BeginContact sends a code to a contact that the actor enters; it is his once VerifyContact saw the code.
func (c *Core) BeginContact(ctx context.Context, a Actor, w ContactWish) (ContactCode, error) {
	e, err := c.enrollingSelf(ctx, a)
	if err != nil {
		return ContactCode{}, err
	}
	return c.beginContact(ctx, e, w)
}

// SendContactCode sends a code, or another one, to a contact that is saved or waits for its code.
func (c *Core) SendContactCode(ctx context.Context, a Actor, id string) (ContactCode, error) {
	e, err := c.enrollingSelf(ctx, a)
	if err != nil {
		return ContactCode{}, err
	}
	return c.resendContact(ctx, e, id)
}

// MyContact answers one of the actor's contacts, saved or waiting for its code; NotFound when there is none.
func (c *Core) MyContact(ctx context.Context, a Actor, id string) (member.Contact, error) {
	e, err := c.enrollingSelf(ctx, a)
	if err != nil {
		return member.Contact{}, err
	}
	return c.contactAt(ctx, e, id)
}

// VerifyContact ends what BeginContact or SendContactCode began.
func (c *Core) VerifyContact(ctx context.Context, a Actor, id string, code secret.String) (TwoStepView, error) {
	e, err := c.enrollingSelf(ctx, a)
	if err != nil {
		return TwoStepView{}, err
	}
	if err := c.confirmContact(ctx, e, id, code); err != nil {
		return TwoStepView{}, err
	}
	return c.MyTwoStep(ctx, a)
}

// RemoveContact takes a contact away. It is refused where it is the last method of a member of whom two-step is asked.
func (c *Core) RemoveContact(ctx context.Context, a Actor, id string) error {
	t, err := c.self(ctx, a)
	if err != nil {
		return err
	}
	if err := c.confirmed(a); err != nil {
		return err
	}
	return c.retry(func() error {
		if t.tenant.Policy.ProfileManagedExternally {
			return deny(ProfileManagedExternally, "")
		}
		next := *t.person.Member
		k, ok := findContact(&next, id)
		if !ok {
			return deny(NotFound, "")
		}
		next.Contacts = slices.DeleteFunc(slices.Clone(next.Contacts), func(o member.Contact) bool { return o == k })
		ops, err := c.stillHasMethod(ctx, t, &next)
		if err != nil {
			return err
		}
		ops = append(ops, c.contactOps(t.person.Member, &next, c.entry(a, t, audit.ContactChange))...)
		hinted, err := c.hintContacts(ctx, t.domain(), next.ID, t.person.Member.Contacts, next.Contacts)
		if err != nil {
			return err
		}
		if err := c.apply(ctx, t.domain(), append(ops, member.PutOp(member.Key(t.domain(), next.ID), next, t.person.Revision))...); err != nil {
			return err
		}
		c.clear(context.WithoutCancel(ctx), hinted)
		return nil
	}, func() error { return c.again(ctx, &t) })
}

// stillHasMethod refuses to leave a member of whom two-step is asked without a method. Its step holds that the others are
// still there when the batch is written.
func (c *Core) stillHasMethod(ctx context.Context, t target, next *member.Member) ([]store.Op, error) {
	if !next.TwoStepOn(t.tenant.Policy) {
		return nil, nil
	}
	methods, rev, err := readDirect[otp.Methods](ctx, c, otp.Key(t.domain(), next.ID))
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(next.Contacts, c.reaches) {
		return nil, nil
	}
	if methods.HasApp() {
		return []store.Op{unchanged(otp.Key(t.domain(), next.ID), rev)}, nil
	}
	return c.heldPasskey(ctx, t)
}

// heldPasskey refuses where there is no passkey that could be the last method, and holds that it stays.
func (c *Core) heldPasskey(ctx context.Context, t target) ([]store.Op, error) {
	key := quick.PasskeysKey(t.domain(), t.person.ID)
	keys, rev, err := readDirect[quick.Passkeys](ctx, c, key)
	if err != nil {
		return nil, err
	}
	if len(keys.Credentials()) == 0 || !c.opensPasskeys(t.person.Member, t.tenant.Policy) {
		return nil, deny(TwoStepMethodMissing, "It is your last method of 2-step verification: add another one first.")
	}
	return []store.Op{unchanged(key, rev)}, nil
}

// reaches says whether a code can be sent to a contact.
func (c *Core) reaches(k member.Contact) bool {
	channel, _ := wayOf(k)
	return c.canSend(channel)
}

func (c *Core) enrollingSelf(ctx context.Context, a Actor) (enrolling, error) {
	if _, err := c.self(ctx, a); err != nil {
		return enrolling{}, err
	}
	return enrolling{client: a.Client, ticket: string(a.Session), domain: a.Domain, member: a.Member, proven: c.confirmed(a) == nil}, nil
}
