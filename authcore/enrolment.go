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
	"latchkey/authcore/password"
	"latchkey/authcore/secret"
	"latchkey/authcore/session"
	"latchkey/authcore/signin"
	"latchkey/authcore/store"
	"latchkey/policy"
)

// Where two-step is asked of a member who has no method, his sign-in ends only when he verified one: a contact that a code
// was sent to and came back from, or an authenticator app. Until then nothing of it is kept.

// enrollable are the kinds that the installation can verify.
func (c *Core) enrollable() []signin.Method {
	var l []signin.Method
	for _, kind := range []string{member.Email, member.Mobile} {
		if by, method := wayOf(member.Contact{Kind: kind}); c.canSend(by) {
			l = append(l, method)
		}
	}
	return append(l, signin.ByApp)
}

// enrolling answers the sign-in whose ticket asks for enrolment, if kind may be enrolled in it.
func (c *Core) enrolling(ctx context.Context, client Client, tk secret.String, kind signin.Method) (*underway, error) {
	u, err := c.at(ctx, client, tk, EnrolmentRequired)
	if err != nil {
		return nil, err
	}
	if step, _ := u.next.(signin.Enrolment); !slices.Contains(step.Methods, kind) {
		return nil, invalid(policy.Mistake{Field: "method", Reason: "is none of the methods that this step lets you enrol"})
	}
	return u, nil
}

// SignInEnrolSend sends a code to a contact that a member enters in his sign-in. It answers until when the code is good.
func (c *Core) SignInEnrolSend(ctx context.Context, client Client, tk secret.String, kind signin.Method, value string) (time.Time, error) {
	u, err := c.enrolling(ctx, client, tk, kind)
	if err != nil {
		return time.Time{}, err
	}
	to, err := c.newContact(string(kind), value)
	if err != nil {
		return time.Time{}, err
	}
	by, _ := wayOf(to)
	m := u.person.Member
	return c.askCode(ctx, codeAsk{
		ticket: u.enrolTicket(), domain: u.Domain, member: u.Member, address: m.Address(), client: client,
		channel: by, to: to.Value, language: m.Language, note: to.Kind + " " + to.Value,
	})
}

// enrolTicket is what the code of an enrolment belongs to.
func (u *underway) enrolTicket() otp.Ticket {
	return otp.Ticket{Purpose: otp.ForContact, ID: session.Hash(u.token)}
}

// newContact is a contact as a member types it.
func (c *Core) newContact(kind, value string) (member.Contact, error) {
	k, ok := c.takeContact(kind, value)
	if !ok || !goodContact(k) {
		return k, invalid(policy.Mistake{Field: "contact", Reason: "is neither an e-mail address nor a mobile number like +819012345678"})
	}
	return k, nil
}

// EnrolApp is the secret of an authenticator app on its way to the app: shown once.
type EnrolApp struct{ Secret, URL secret.String }

// SignInEnrolApp makes the secret of an authenticator app, which counts once a code of it was typed. The one that the
// ticket had is void.
func (c *Core) SignInEnrolApp(ctx context.Context, client Client, tk secret.String) (EnrolApp, error) {
	u, err := c.enrolling(ctx, client, tk, signin.ByApp)
	if err != nil {
		return EnrolApp{}, err
	}
	key, url, err := otp.NewApp(u.tenant.Domain.Name, u.person.Member.Address())
	if err != nil {
		return EnrolApp{}, err
	}
	p, err := json.Marshal(otp.Seal(c.o.Keys, u.Domain, u.Member, key, c.now()))
	if err != nil {
		return EnrolApp{}, broken("keep the secret of an app", err)
	}
	if err := c.o.Ephemeral.Put(ctx, appKey(tk), p, TicketFor); err != nil {
		return EnrolApp{}, broken("keep the secret of an app", err)
	}
	return EnrolApp{Secret: key, URL: url}, nil
}

// appKey names the sealed secret of an app that a sign-in is about to enrol.
func appKey(tk secret.String) store.Key {
	return store.Key{Partition: "ticket", Name: "app/" + session.Hash(tk)}
}

// SignInEnrol verifies what a member enrols in his sign-in. What is wrong leaves the ticket good, within the limits on
// codes.
func (c *Core) SignInEnrol(ctx context.Context, client Client, tk secret.String, answer SecondAnswer) (SignInResult, error) {
	start := c.now()
	u, err := c.enrolling(ctx, client, tk, answer.Method)
	if err != nil {
		return SignInResult{}, err
	}
	u.Method = answer.Method
	if answer.Method == signin.ByApp {
		err = c.guess(ctx, u.Domain, u.Member, c.enrolledApp(client, u, answer.Code))
	} else {
		err = c.tryCodeThen(ctx, u.enrolTicket(), u.Domain, u.Member, answer.Code, c.enrolledContact(client, u))
	}
	if err != nil {
		return SignInResult{}, c.refuseStep(ctx, client, u, start, err)
	}
	u.Trust = answer.Trust
	if err := c.look(ctx, u); err != nil {
		return SignInResult{}, err
	}
	return c.goOn(ctx, client, u)
}

// spendOnce takes the ticket before anything is written, and once, however often the batch is tried.
func (c *Core) spendOnce(ctx context.Context, u *underway) error {
	if u.Done.Enrolled {
		return nil
	}
	return c.spend(ctx, u, signin.MethodEnrolled)
}

// enrolledContact keeps the contact that a code came back from.
func (c *Core) enrolledContact(client Client, u *underway) afterwards {
	return func(ctx context.Context, note string) ([]store.Op, error) {
		kind, value, _ := strings.Cut(note, " ")
		if signin.Method(kind) != u.Method {
			return nil, deny(BadCode, "")
		}
		if err := c.spendOnce(ctx, u); err != nil {
			return nil, err
		}
		return c.enrolOps(ctx, client, u, audit.ContactChange, func(m *member.Member) {
			m.Contacts = append(slices.Clone(m.Contacts), member.Contact{Kind: kind, Value: value, Verified: true})
		})
	}
}

// enrolledApp keeps the authenticator app that shows the code.
func (c *Core) enrolledApp(client Client, u *underway, typed secret.String) comparison {
	return func(ctx context.Context) (bool, []store.Op, error) {
		p, err := c.o.Ephemeral.Get(ctx, appKey(u.token))
		if errors.Is(err, store.ErrNotFound) {
			return false, nil, nil
		}
		if err != nil {
			return false, nil, err
		}
		var begun otp.App
		if err := json.Unmarshal(p, &begun); err != nil {
			return false, nil, err
		}
		app, err := begun.Spend(c.o.Keys, u.Domain, u.Member, typed, c.now())
		if errors.Is(err, otp.ErrWrong) {
			return false, nil, nil
		}
		if err != nil {
			return false, nil, err
		}
		key := otp.Key(u.Domain, u.Member)
		methods, rev, err := readDirect[otp.Methods](ctx, c, key)
		if err != nil {
			return false, nil, err
		}
		if methods.HasApp() {
			return false, nil, deny(TicketInvalid, "")
		}
		next := methods.Copy()
		next.App = &app
		if err := c.spendOnce(ctx, u); err != nil {
			return false, nil, err
		}
		ops, err := c.enrolOps(ctx, client, u, audit.TwoStepMethod, func(*member.Member) {})
		return true, append(ops, member.PutOp(key, next, rev)), err
	}
}

// enrolOps write the member's record with his first method, and who asked for two-step. He is told in his inbox. A method
// that came meanwhile is what the sign-in asks for, and nothing is enrolled beside it.
func (c *Core) enrolOps(ctx context.Context, client Client, u *underway, action audit.Action, change func(*member.Member)) ([]store.Op, error) {
	m, rev, err := readDirect[member.Member](ctx, c, member.Key(u.Domain, u.Member))
	if err != nil {
		return nil, err
	}
	if m == nil || m.Status != member.Active || m.Epoch != u.Epochs.Member || !slices.Equal(m.Contacts, u.person.Member.Contacts) {
		return nil, deny(TicketInvalid, "")
	}
	account, proven, err := readDirect[password.Record](ctx, c, password.Key(u.Domain, u.Member))
	if err != nil {
		return nil, err
	}
	if account != nil && account.Epoch != u.Epochs.Credential {
		return nil, deny(TicketInvalid, "")
	}
	if len(m.Contacts) >= maxContacts {
		return nil, deny(LimitReached, "")
	}
	next := *m
	change(&next)
	if _, err := c.hintContacts(ctx, u.Domain, u.Member, m.Contacts, next.Contacts); err != nil {
		return nil, err
	}
	entry := c.webEntry(m, client, action)
	entry.Detail = "enrolled_" + string(u.Method)
	ops := []store.Op{audit.Op(entry), unchanged(password.Key(u.Domain, u.Member), proven)}
	if m.TwoStep == "" {
		next.TwoStep = member.ByPolicy
		on := c.webEntry(m, client, audit.TwoStepOn)
		on.Detail = string(member.ByPolicy)
		ops = append(ops, audit.Op(on))
	}
	ops = append(ops, member.PutOp(member.Key(u.Domain, u.Member), next, rev))
	return append(ops, c.notice(m, notify.Event{Kind: notify.MethodChanged, At: c.now(), From: client.From(), Name: string(u.Method)})...), nil
}
