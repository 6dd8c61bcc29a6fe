package authcore

import (
	"context"
	"errors"
	"slices"
	"time"

	"latchkey/authcore/member"
	"latchkey/authcore/secret"
	"latchkey/authcore/session"
	"latchkey/authcore/signin"
	"latchkey/policy"
)

// SecondMethod is one method of the second step that a member has, as somebody sees it who proved the first factor.
type SecondMethod struct {
	Kind signin.Method
	ID   string // which of his contacts; empty for other kinds
	To   string // the contact, masked

	contact string // its id in the profile
}

// SecondAnswer is what somebody comes with to a second step.
type SecondAnswer struct {
	Method    signin.Method
	Code      secret.String // what was sent, an authenticator app's, or a recovery code
	Assertion []byte        // of a passkey, as the browser gives it
	Trust     bool          // spare this browser the next time
}

// secondMethods lists what the member has and the installation can use. A contact of his profile counts whoever entered
// it: his own entries were verified, and an administrator's or a directory's count at once.
func (c *Core) secondMethods(ctx context.Context, d member.DomainID, m *member.Member) ([]SecondMethod, error) {
	steps, err := c.secondSteps(ctx, d, m)
	if err != nil {
		return nil, err
	}
	var l []SecondMethod
	for _, s := range steps {
		v := SecondMethod{Kind: s.Method, To: s.Masked, contact: s.Contact}
		if s.Contact != "" { // under a key: without one the id of a number tells the number
			v.ID = c.print("second method", string(m.ID), s.Contact)[:16]
		}
		l = append(l, v)
	}
	return l, nil
}

// kinds are those of the methods, each once.
func kinds(l []SecondMethod) []signin.Method {
	var k []signin.Method
	for _, m := range l {
		if !slices.Contains(k, m.Kind) {
			k = append(k, m.Kind)
		}
	}
	return k
}

// provenOnce says that the member proved a method, whether or not it can be used now: a code that was sent to him came
// back, or he has a passkey and two-step was on for him.
func provenOnce(m *member.Member, passkey bool) bool {
	return m.TwoStep != "" && passkey || slices.ContainsFunc(m.Contacts, func(k member.Contact) bool { return k.Verified })
}

// SignInSend sends a code to one of the member's contacts, for the second step. It answers until when the code is good.
func (c *Core) SignInSend(ctx context.Context, client Client, tk secret.String, kind signin.Method, id string) (time.Time, error) {
	u, err := c.at(ctx, client, tk, TwoStepRequired)
	if err != nil {
		return time.Time{}, err
	}
	offered := u.offered()
	i := slices.IndexFunc(offered, func(m SecondMethod) bool { return m.contact != "" && m.Kind == kind && (id == "" || m.ID == id) })
	if i < 0 {
		return time.Time{}, invalid(policy.Mistake{Field: "method", Reason: "is none of the methods that this step offers a code by"})
	}
	return c.sendSecondStep(ctx, client, session.Hash(tk), u.Domain, u.person.Member, offered[i].contact, kinds(offered))
}

// offered are the methods of a step that is a second one.
func (u *underway) offered() []SecondMethod {
	step, _ := u.next.(signin.TwoStep)
	return among(u.methods, step.Methods)
}

// SignInTwoStep passes the second step of a sign-in. What is wrong leaves the ticket good, within the limits on codes.
func (c *Core) SignInTwoStep(ctx context.Context, client Client, tk secret.String, answer SecondAnswer) (SignInResult, error) {
	start := c.now()
	u, err := c.at(ctx, client, tk, TwoStepRequired)
	if err != nil {
		return SignInResult{}, err
	}
	if !slices.Contains(kinds(u.offered()), answer.Method) {
		return SignInResult{}, invalid(policy.Mistake{Field: "method", Reason: "is none of the methods that this step offers"})
	}
	u.Method = answer.Method
	if err := c.trySecond(ctx, client, u, answer); err != nil {
		return SignInResult{}, c.refuseStep(ctx, client, u, start, err)
	}
	if err := c.spend(ctx, u, signin.SecondStepPassed); err != nil {
		return SignInResult{}, err
	}
	u.Trust = answer.Trust
	if err := c.look(ctx, u); err != nil {
		return SignInResult{}, err
	}
	return c.goOn(ctx, client, u)
}

// trySecond looks at an answer, which is right this once.
func (c *Core) trySecond(ctx context.Context, client Client, u *underway, answer SecondAnswer) error {
	return c.trySecondStep(ctx, secondTry{
		client: client, ticket: session.Hash(u.token), domain: u.Domain, member: u.Member, method: answer.Method, typed: answer.Code,
		answer: answer.Assertion,
	})
}

// refuseStep records a wrong answer at a step like a refused sign-in, merged with its equals, and holds it back.
func (c *Core) refuseStep(ctx context.Context, client Client, u *underway, start time.Time, why error) error {
	var d *Denial
	if !errors.As(why, &d) {
		return why
	}
	wctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleFor)
	defer cancel()
	e := c.stepEntry(u, client, string(d.Reason))
	key := c.print("audit", "step", c.bound(client), string(e.Action), e.Reason, string(u.Member), e.Detail)
	if err := c.merge(wctx, member.Partition(u.Domain), e, key, time.Hour); err != nil {
		return err
	}
	if d.Reason == BadCode {
		c.wait(ctx, start.Add(max(0, c.o.Hold)))
	}
	return why
}
