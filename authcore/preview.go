package authcore

import (
	"context"
	"slices"
	"time"

	"latchkey/authcore/apppass"
	"latchkey/authcore/member"
	"latchkey/authcore/otp"
	"latchkey/authcore/quick"
	"latchkey/authcore/signin"
	"latchkey/authcore/store"
	"latchkey/policy"
)

// A preview says what saving a policy would do, before it is saved: whom it locks out, which ways of sign-in it ends for
// whom, and whose programs stop at their next connection. It goes through the members page by page and keeps counts and
// one page of each list.

// Preview is the answer.
type Preview struct {
	Members       int // active ones
	LockedOut     int // could not sign in any more with the account password
	AlreadyOut    int // of them: cannot today
	LockedOutList []PreviewLockedOut
	Ending        int // keep their account password, and lose another way that stays allowed
	EndingList    []PreviewEnding
	Stopping      int // programs stop at their next connection
	WithoutApps   int // of them: have no app password to go on with
	StoppingList  []PreviewStopping
	StoppingFrom  time.Time // when they stop; zero: when the policy is saved
	Next          PreviewAfter
}

// PreviewLockedOut is one member who could not sign in.
type PreviewLockedOut struct {
	Address string
	Already bool
}

// PreviewEnding is one member who could not sign in any more by ways that he has and may use: after them a second step
// would be asked, and all that he has for it is the same thing once more.
type PreviewEnding struct {
	Address string
	Ways    []string // policy.WayPhone, policy.WayPasskey
}

// PreviewStopping is one member whose programs would stop.
type PreviewStopping struct {
	Address      string
	Counts       policy.Accepts // what would count instead
	AppPasswords int
}

// PreviewAfter says where each list goes on; empty: at its beginning, or at no more.
type PreviewAfter struct{ LockedOut, Ending, Stopping string }

// previewPage is how many members one answer names of each list.
const previewPage = 100

// PreviewPolicy answers what saving p would do to the members of a domain. Every answer counts all of them.
func (c *Core) PreviewPolicy(ctx context.Context, a Actor, domain string, p policy.Policy, after PreviewAfter) (Preview, error) {
	t, err := c.domainFor(ctx, a, domain, readDomain)
	if err != nil {
		return Preview{}, err
	}
	if m := p.Validate(t.Domain.BornRequired(c.o.Cutoff)); len(m) > 0 {
		return Preview{}, invalid(m...)
	}
	v := &preview{core: c, tenant: t, next: p, now: c.now(), then: c.now(),
		outs: page{after: after.LockedOut}, ends: page{after: after.Ending}, stops: page{after: after.Stopping}}
	if from := p.ThirdParty.RequiredFrom; from != nil && from.After(v.now) {
		v.then, v.StoppingFrom = *from, *from
	}
	q := store.Query{Prefix: memberPrefix, Limit: store.MaxListLimit}
	for {
		recs, err := c.o.Records.List(ctx, member.Partition(t.Domain.ID), q)
		if err != nil {
			return Preview{}, broken("list members", err)
		}
		for _, r := range recs {
			var m member.Member
			if err := decode(r, &m); err != nil {
				return Preview{}, err
			}
			if err := v.look(ctx, &m); err != nil {
				return Preview{}, err
			}
			q.After = r.Name
		}
		if len(recs) < store.MaxListLimit {
			return v.Preview, nil
		}
	}
}

// preview is one on its way.
type preview struct {
	Preview
	core      *Core
	tenant    *member.Tenant
	next      policy.Policy
	outs      page
	ends      page
	stops     page
	now, then time.Time // then: when the new policy has come into force whole
}

func (v *preview) look(ctx context.Context, m *member.Member) error {
	if m.Status != member.Active {
		return nil
	}
	v.Members++
	if err := v.signIns(ctx, m); err != nil {
		return err
	}
	return v.stopping(ctx, m)
}

// signIns asks the sign-in machine what follows each first factor, under both policies.
func (v *preview) signIns(ctx context.Context, m *member.Member) error {
	mails := func(k member.Contact) bool { return k.Kind == member.Email && v.core.reaches(k) }
	if !m.TwoStepOn(v.next) || slices.ContainsFunc(m.Contacts, mails) {
		return nil // an e-mail is a second thing beside every factor: the records of the others need not be read
	}
	methods, err := v.core.methodsOf(ctx, v.tenant.Domain.ID, m)
	if err != nil {
		return err
	}
	if v.missing(m, signin.Password, v.next, methods) {
		v.lockedOut(m, methods)
		return nil
	}
	return v.ending(ctx, m, methods)
}

// missing says that a sign-in ends without a second step.
func (v *preview) missing(m *member.Member, by signin.Factor, p policy.Policy, methods []signin.Method) bool {
	passkey := slices.Contains(methods, signin.ByPasskey)
	if passkey && !v.core.opensPasskeys(m, p) {
		methods = slices.DeleteFunc(slices.Clone(methods), func(k signin.Method) bool { return k == signin.ByPasskey })
	}
	f := signin.Facts{Factor: by, TwoStepAsked: m.TwoStepOn(p), Methods: methods, Proven: provenOnce(m, passkey),
		Managed: p.ProfileManagedExternally, Enrollable: v.core.enrollable()}
	_, missing := signin.Next(f, signin.Progress{}).(signin.Missing)
	return missing
}

func (v *preview) lockedOut(m *member.Member, methods []signin.Method) {
	already := v.missing(m, signin.Password, v.tenant.Policy, methods)
	v.LockedOut++
	if already {
		v.AlreadyOut++
	}
	if v.outs.takes(m, &v.Next.LockedOut) {
		v.LockedOutList = append(v.LockedOutList, PreviewLockedOut{m.Address(), already})
	}
}

// ending looks at the factors that are a second step too: after them, it does not count.
func (v *preview) ending(ctx context.Context, m *member.Member, methods []signin.Method) error {
	ends := func(way string, by signin.Factor) bool {
		return m.MayUse(way, v.tenant.Policy) && m.MayUse(way, v.next) &&
			v.missing(m, by, v.next, methods) && !v.missing(m, by, v.tenant.Policy, methods)
	}
	var ways []string
	if ends(policy.WayPhone, signin.Phone) {
		link, _, err := readDirect[member.PhoneLink](ctx, v.core, member.PhoneLinkKey(v.tenant.Domain.ID, m.ID))
		if err != nil {
			return err
		}
		if link != nil {
			ways = append(ways, policy.WayPhone)
		}
	}
	if slices.Contains(methods, signin.ByPasskey) && ends(policy.WayPasskey, signin.Passkey) {
		ways = append(ways, policy.WayPasskey)
	}
	if len(ways) == 0 {
		return nil
	}
	v.Ending++
	if v.ends.takes(m, &v.Next.Ending) {
		v.EndingList = append(v.EndingList, PreviewEnding{m.Address(), ways})
	}
	return nil
}

// methodsOf is secondSteps past the cache, for a walk over a large domain would leave nothing else in it, and with passkeys
// whether or not a policy opens them.
func (c *Core) methodsOf(ctx context.Context, d member.DomainID, m *member.Member) (l []signin.Method, err error) {
	for _, k := range m.Contacts {
		if _, method := wayOf(k); c.reaches(k) {
			l = append(l, method)
		}
	}
	methods, _, err := readDirect[otp.Methods](ctx, c, otp.Key(d, m.ID))
	if err != nil {
		return nil, err
	}
	if methods.HasApp() {
		l = append(l, signin.ByApp)
	}
	if methods.Left() > 0 {
		l = append(l, signin.ByRecovery)
	}
	keys, _, err := readDirect[quick.Passkeys](ctx, c, quick.PasskeysKey(d, m.ID))
	if err != nil {
		return nil, err
	}
	if len(keys.Credentials()) > 0 {
		l = append(l, signin.ByPasskey)
	}
	return l, nil
}

// stopping compares the one kind of credential that counts at the doors.
func (v *preview) stopping(ctx context.Context, m *member.Member) error {
	d := v.tenant.Domain
	was := m.Accepts(d, v.tenant.Policy, v.core.o.Cutoff, v.now)
	is := m.Accepts(d, v.next, v.core.o.Cutoff, v.then)
	if was == is {
		return nil
	}
	apps, _, err := readDirect[apppass.Record](ctx, v.core, apppass.Key(d.ID, m.ID))
	if err != nil {
		return err
	}
	n := 0
	if apps != nil {
		n = len(apps.Items)
	}
	if is == policy.AccountPassword && n == 0 {
		return nil // nothing could have signed in that would stop
	}
	v.Stopping++
	if n == 0 {
		v.WithoutApps++
	}
	if v.stops.takes(m, &v.Next.Stopping) {
		v.StoppingList = append(v.StoppingList, PreviewStopping{m.Address(), is, n})
	}
	return nil
}

// page is one answer's part of a list of members in the order of their ids.
type page struct {
	after, last string
	n           int
}

// takes says whether a member belongs to the page; next becomes its last one when somebody follows.
func (p *page) takes(m *member.Member, next *string) bool {
	switch id := string(m.ID); {
	case id <= p.after:
		return false
	case p.n < previewPage:
		p.n, p.last = p.n+1, id
		return true
	default:
		*next = p.last
		return false
	}
}
