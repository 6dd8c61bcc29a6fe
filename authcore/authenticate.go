package authcore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"latchkey/authcore/apppass"
	"latchkey/authcore/lockout"
	"latchkey/authcore/member"
	"latchkey/authcore/password"
	"latchkey/authcore/secret"
	"latchkey/authcore/store/cache"
	"latchkey/policy"
)

// The order of an attempt is fixed, so that a refusal tells nothing: find (the same records for a name that nobody has),
// gate (throttle), rule (which credential counts), verify (app passwords first, they cost nothing; the account password
// only where it counts somewhere in the domain, and then always one hash), judge (what may be told), open, record.

// trial is an attempt on its way. It dies with Authenticate, or when its record is written.
type trial struct {
	a               Attempt
	doors           []string
	secret          secret.String
	start           time.Time
	from            string // the client's address
	source          string
	name            member.Name // zero: the text is no name
	print           string      // of the name: for throttle and lease
	hold            time.Duration
	known           bool // the member signed in from this source before
	failed          bool // wrong ones for this name from this source are counted
	tenant          *member.Tenant
	person          member.Person
	apps            *apppass.Record
	account         *password.Record
	accountRevision int64
	sources         *lockout.Sources
	accepts         policy.Accepts // what counts for this member; Nothing for a name that nobody has
	onlyApps        bool           // no member of the domain may use the account password at a door
	crowded         bool           // it has a place in the crowd
	cached          bool           // it is decided by what is held, without the records
	soon            bool           // its record is being written while it goes on
	detail          string         // for the audit: a closed word more than the client is told
}

// Authenticate decides one attempt at a door. An error means that it could not be decided: the client is told to come
// again, and nothing was counted. A refusal is answered no earlier than start + hold. For every allowed Decision Ended
// must be called once; DAV requests that belong to a standing session share its Decision and its end. An allowed Decision
// is on record, but that of an attempt with StandsFollows: that one is when Stands has answered.
func (c *Core) Authenticate(ctx context.Context, a Attempt) (Decision, error) {
	ctx = c.Rationed(ctx)
	t := c.begin(a)
	defer c.crowd.leave(t)
	d, err := c.decide(ctx, t)
	if err != nil && ctx.Err() == nil && c.standsIn(err) {
		if d, ok := c.decideHeld(ctx, a); ok {
			return d, nil
		}
	}
	if err != nil {
		return Decision{Reason: Unavailable, RetryAfter: retryBroken}, err
	}
	if d.Allowed() {
		return d, nil
	}
	if err := c.recordRefusal(ctx, t, d); err != nil {
		return Decision{Reason: Unavailable, RetryAfter: retryBroken}, err
	}
	if !d.Reason.Temporary() {
		c.wait(ctx, t.start.Add(t.hold))
	}
	return d, nil
}

// retryBroken is what a client waits before it tries a broken server again.
const retryBroken = 5 * time.Second

func (c *Core) begin(a Attempt) *trial {
	t := &trial{a: a, doors: a.Doors, start: c.now(), from: a.Conn.Client.Addr().Unmap().String(), source: lockout.Source(a.Conn.Client.Addr()), hold: max(0, c.o.Hold)}
	if len(t.doors) == 0 {
		t.doors = []string{a.Door}
	}
	if p, ok := a.Credential.(Password); ok {
		t.secret = p.Secret
		t.name, _ = member.ParseName(p.UnverifiedName, a.Conn.DefaultDomain)
	}
	return t
}

func (c *Core) decide(ctx context.Context, t *trial) (Decision, error) {
	if t.a.Credential == nil {
		return Decision{Reason: BadCredentials}, nil
	}
	if err := c.find(ctx, t); err != nil {
		return Decision{}, broken("find member", err)
	}
	if d, err := c.gate(ctx, t); err != nil || d.Reason != "" {
		return d, err
	}
	c.rule(t)
	item := t.apps.Match(c.o.Keys, t.secret)
	if c.mayBeOld(t, item) {
		if err := c.findAnew(ctx, t); err != nil {
			return Decision{}, broken("find member", err)
		}
		item = t.apps.Match(c.o.Keys, t.secret)
	}
	if lacks := t.apps.Unsure(c.o.Keys, t.secret); item == nil && lacks != "" { // of a fleet: keys were rotated while this node was away
		return Decision{}, fmt.Errorf("app passwords of member %s: this process lacks server key %s", t.person.ID, lacks)
	}
	if item != nil && t.accepts == policy.AppPassword {
		d := t.judgeApp(item, c.now())
		if d.Allowed() {
			d, err := c.open(ctx, t, grant{credential: item.ID, name: item.Name, until: item.ExpiresAt})
			if err == nil && d.Allowed() {
				c.keyAnew(d, item, t.secret)
			}
			return d, err
		}
		if d.Reason != t.refusal().Reason {
			return d, nil
		}
	}
	if !c.crowd.enter(t) {
		return t.noRoom(), nil
	}
	if t.onlyApps {
		return Decision{Reason: AppPasswordRequired}, nil
	}
	return c.decideAccount(ctx, t, item != nil)
}

// mayBeOld: another node may have made, lifted or opened what this one refuses by what it holds, and the message of it
// be on its way or lost. An allowed attempt is looked at by the records anyway (Stands).
func (c *Core) mayBeOld(t *trial, item *apppass.Item) bool {
	if c.o.Fleet == nil || t.cached || t.name.Domain == "" {
		return false
	}
	return item == nil || t.accepts != policy.AppPassword || !t.judgeApp(item, c.now()).Allowed()
}

// findAnew finds and rules once more, by the records.
func (c *Core) findAnew(ctx context.Context, t *trial) error {
	t.tenant, t.person, t.apps, t.account, t.sources = nil, member.Person{}, nil, nil, nil
	t.accountRevision, t.known, t.accepts, t.onlyApps, t.detail = 0, false, policy.Nothing, false, ""
	if err := c.find(cache.Past(ctx), t); err != nil {
		return err
	}
	c.rule(t)
	return nil
}

// find reads the same records whether the name is somebody's or nobody's.
func (c *Core) find(ctx context.Context, t *trial) (err error) {
	if t.name.Domain == "" {
		return nil
	}
	t.print = c.print("name", t.name.String())
	if t.tenant, err = c.dir.Tenant(ctx, t.name.Domain); err != nil || t.tenant == nil {
		return err
	}
	d := t.tenant.Domain.ID
	if t.person, err = c.dir.Person(ctx, d, t.name); err != nil {
		return err
	}
	if err := c.authorization(ctx, t); err != nil {
		return err
	}
	return c.readPerson(ctx, t)
}

func (c *Core) readPerson(ctx context.Context, t *trial) (err error) {
	d, id := t.tenant.Domain.ID, t.person.ID
	if t.apps, _, err = cache.Read[apppass.Record](ctx, c.records, apppass.Key(d, id)); err != nil {
		return err
	}
	if t.account, t.accountRevision, err = cache.Read[password.Record](ctx, c.records, password.Key(d, id)); err != nil {
		return err
	}
	if t.sources, _, err = cache.Read[lockout.Sources](ctx, c.records, lockout.SourcesKey(d, id)); err != nil && !t.cached {
		return err // what is held may lack it: the first sign-in from a source writes it
	}
	t.known = t.sources.Knows(t.source, t.start)
	return nil
}

// authorization: the SASL authorization identity is empty or the member's own name (RFC 4616 section 2); anything else
// is treated as a name that nobody has.
func (c *Core) authorization(ctx context.Context, t *trial) error {
	p, _ := t.a.Credential.(Password)
	if p.AuthorizeAs == "" {
		return nil
	}
	own := false
	if n, err := member.ParseName(p.AuthorizeAs, t.a.Conn.DefaultDomain); err == nil && t.person.Member != nil {
		own = slices.Contains(t.person.Member.Addresses, n.String())
	}
	if own {
		return nil
	}
	t.detail = "authorization_identity"
	var err error
	t.person, err = c.dir.PersonByID(ctx, t.tenant.Domain.ID, c.dir.Shadow(t.tenant.Domain.ID, t.name))
	return err
}

func (c *Core) gate(ctx context.Context, t *trial) (Decision, error) {
	var d member.DomainID
	if t.tenant != nil {
		d = t.tenant.Domain.ID
	}
	v, err := c.throttle.Look(ctx, t.source, d, t.print, t.known)
	if err != nil {
		return Decision{}, err
	}
	t.hold = v.Hold
	if v.Retry > 0 {
		t.detail = "source"
		return Decision{Reason: Throttled, RetryAfter: v.Retry}, nil
	}
	t.failed = v.Own
	return Decision{}, nil
}

// rule says which credential counts. A deleted member is nobody.
func (c *Core) rule(t *trial) {
	if t.tenant == nil {
		return
	}
	born := t.tenant.Domain.BornRequired(c.o.Cutoff)
	t.onlyApps = t.tenant.Policy.ThirdParty.OnlyAppPasswords(born, t.start)
	if m := t.person.Member; m != nil && m.Status != member.Deleted {
		t.accepts = m.Accepts(t.tenant.Domain, t.tenant.Policy, c.o.Cutoff, t.start)
	}
}

// refusal is what is told to everybody whose attempt is simply not allowed: it depends on the domain alone.
func (t *trial) refusal() Decision {
	if t.onlyApps {
		return Decision{Reason: AppPasswordRequired}
	}
	return Decision{Reason: BadCredentials}
}

// crowdDetail marks in the audit who found no room in the crowd.
const crowdDetail = "crowd"

func (t *trial) noRoom() Decision {
	t.detail = crowdDetail
	return Decision{Reason: Throttled, RetryAfter: retryBroken}
}

// judgeApp says what a right app password is told.
func (t *trial) judgeApp(item *apppass.Item, now time.Time) Decision {
	switch verdict := item.Judge(t.doors, t.a.Conn.Client.Addr(), now); {
	case verdict == apppass.Refused:
		t.detail = "expired_or_network"
		return t.refusal()
	case t.person.Member.Status != member.Active:
		return Decision{Reason: Suspended}
	case verdict == apppass.OutOfScope:
		t.detail = "scope"
		return Decision{Reason: DoorClosed}
	case !t.doorOpen():
		return Decision{Reason: DoorClosed}
	default:
		return Decision{Reason: Allowed}
	}
}

func (t *trial) doorOpen() bool {
	for _, d := range t.doors {
		if slices.Contains(t.person.Member.ClosedDoors, d) {
			return false
		}
	}
	return t.tenant.Domain.Open(t.doors...)
}

// decideAccount verifies the account password where it counts, and costs the same where it does not. An app password
// that does not count, app, is no guess at the account password.
func (c *Core) decideAccount(ctx context.Context, t *trial, app bool) (Decision, error) {
	if t.tenant == nil {
		return Decision{Reason: BadCredentials}, nil
	}
	counts := t.accepts == policy.AccountPassword && t.person.Member.Status == member.Active && !app
	v, err := c.verify(ctx, t.check(counts))
	if errors.Is(err, lockout.ErrHeld) || errors.Is(err, password.ErrBusy) {
		t.detail = "busy"
		return Decision{Reason: Throttled, RetryAfter: retryBroken}, nil
	}
	switch {
	case err != nil:
		return Decision{}, broken("verify account password", err)
	case v.wait > 0:
		t.detail = "member"
		return Decision{Reason: Throttled, RetryAfter: v.wait}, nil
	case !v.right:
		return t.refusal(), nil
	case v.state == password.Expired:
		return Decision{Reason: PasswordExpired}, nil
	case v.state != password.Good:
		return Decision{Reason: PasswordChangeRequired}, nil
	case !t.doorOpen():
		return Decision{Reason: DoorClosed}, nil
	}
	return c.open(ctx, t, grant{credential: AccountCredential, account: t.secret, credentialEpoch: v.epoch})
}

// check is the account password of an attempt to verify.
func (t *trial) check(counts bool) check {
	return check{
		tenant: t.tenant, name: t.name, person: t.person, counts: counts, known: t.known, secret: t.secret, from: t.from,
		account: t.account, accountRevision: t.accountRevision,
	}
}

// wait holds a refusal back until at, without a slot or a lock, or until the client is gone.
func (c *Core) wait(ctx context.Context, at time.Time) {
	d := at.Sub(c.now())
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
