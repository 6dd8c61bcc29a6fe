package authcore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"latchkey/authcore/lockout"
	"latchkey/authcore/member"
	"latchkey/authcore/password"
	"latchkey/authcore/secret"
	"latchkey/authcore/store"
	"latchkey/authcore/store/cache"
	"latchkey/policy"
)

// setting is a new account password, checked and hashed, and the steps that write it.
type setting struct {
	ops   []store.Op
	epoch int64
}

// follows says that the password comes right after the one with this number, which was proven or reset by a code: none was
// set in between by somebody else.
func (s setting) follows(epoch int64) bool { return s.epoch == epoch+1 }

// wishes are what is not usual about a new password.
type wishes struct {
	temporary bool      // an administrator hands it out: it is random, and no rule is asked
	setAt     time.Time // an import says when; zero: now
	resetBy   string    // the kind of contact whose code stands in for the password that was forgotten
}

// newPassword checks a password against every rule at once and hashes it. It takes one slot, and in it a hash for each
// kept password that the policy compares with, one for a temporary password, and one for the new one: seven at most.
func (c *Core) newPassword(ctx context.Context, d member.DomainID, p member.Person, typed secret.String, w wishes) (setting, error) {
	t, err := c.dir.TenantByID(ctx, d)
	if err != nil {
		return setting{}, err
	}
	if t == nil {
		return setting{}, deny(NotFound, "")
	}
	prepared, ok := password.Prepare(typed)
	if !ok {
		return setting{}, rulesBroken(unprepared(t.Policy.Password, p, typed.Reveal()))
	}
	old, rev, err := cache.ReadDirect[password.Record](ctx, c.o.Records, password.Key(d, p.ID))
	if err != nil {
		return setting{}, err
	}
	slot, err := c.hasher.Acquire(ctx)
	if errors.Is(err, password.ErrBusy) {
		return setting{}, denyReason(Throttled, retryBroken)
	}
	if err != nil {
		return setting{}, err
	}
	defer slot.Release()
	if !w.temporary {
		if err := refused(slot, t.Policy.Password, p, old, prepared); err != nil {
			return setting{}, err
		}
	}
	next := c.nextPassword(slot, old, prepared, w)
	ops := []store.Op{
		member.PutOp(password.Key(d, p.ID), next, rev),
		{Kind: store.Delete, Name: lockout.Key(d, p.ID).Name, IfRevision: store.AnyRevision},
	}
	if w.temporary || w.resetBy != "" { // not by who knew the old one: what was registered under that goes with it
		ops = append(ops, c.withoutQuick(d, p.ID)...)
	}
	return setting{epoch: next.Epoch, ops: ops}, nil
}

// firstPassword is that of a new member: the one he brings along, hashed or not, or a temporary one, to be shown once.
func (c *Core) firstPassword(ctx context.Context, d member.DomainID, m *member.Member, n NewMember) (setting, secret.String, error) {
	if !n.PasswordHash.Empty() {
		if n.PasswordSetAt.IsZero() {
			n.PasswordSetAt = c.now()
		}
		first := (*password.Record)(nil).Next(n.PasswordHash.Reveal(), n.PasswordSetAt)
		return setting{epoch: first.Epoch, ops: []store.Op{member.PutOp(password.Key(d, m.ID), first, 0)}}, secret.String{}, nil
	}
	typed, shown := n.Password, secret.String{}
	if typed.Empty() {
		typed = password.NewTemporary()
		shown = typed
	}
	set, err := c.newPassword(ctx, d, member.Person{ID: m.ID, Member: m}, typed, wishes{temporary: n.Password.Empty(), setAt: n.PasswordSetAt})
	return set, shown, err
}

func (c *Core) nextPassword(slot *password.Slot, old *password.Record, prepared secret.String, w wishes) password.Record {
	if w.temporary {
		return old.NextTemporary(slot.HashRandom(prepared), c.now())
	}
	if w.setAt.IsZero() {
		w.setAt = c.now()
	}
	next := old.Next(slot.Hash(prepared), w.setAt)
	next.ResetBy = w.resetBy
	return next
}

// refused names every rule that a new password of p breaks, those on the passwords before it too, whatever else is wrong.
func refused(slot *password.Slot, rules policy.Password, p member.Person, old *password.Record, prepared secret.String) error {
	broken := rules.Check(prepared.Reveal(), loginNames(p)...)
	for _, hash := range old.Last(rules.NoReuseOfLast) {
		same, err := slot.Verify(hash, prepared)
		if err != nil {
			return fmt.Errorf("a kept password of member %s: %w", p.ID, err)
		}
		if same {
			broken = append(broken, policy.Reused)
			break
		}
	}
	if old != nil && old.Temporary {
		same, err := slot.Verify(old.Hash, prepared)
		if err != nil {
			return fmt.Errorf("temporary password of member %s: %w", p.ID, err)
		}
		if same {
			broken = append(broken, policy.SameAsCurrent)
		}
	}
	if len(broken) > 0 {
		return rulesBroken(broken)
	}
	return nil
}

// unprepared names the rules that a text breaks which cannot be a password at all.
func unprepared(rules policy.Password, p member.Person, typed string) []policy.Rule {
	broken := rules.Check(typed, loginNames(p)...)
	if typed == "" || slices.Contains(broken, policy.TooLong) || slices.Contains(broken, policy.NotAllowed) {
		return broken
	}
	broken = append(broken, policy.NotAllowed)
	slices.SortFunc(broken, func(a, b policy.Rule) int { return slices.Index(policy.Rules(), a) - slices.Index(policy.Rules(), b) })
	return broken
}

func loginNames(p member.Person) []string {
	if p.Member == nil {
		return nil
	}
	return p.Member.Addresses
}

func rulesBroken(rules []policy.Rule) error {
	var m []policy.Mistake
	for _, r := range rules {
		m = append(m, policy.Mistake{Field: "new_password", Reason: string(r)})
	}
	return invalid(m...)
}
