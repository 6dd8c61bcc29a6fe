package authcore

import (
	"context"
	"errors"
	"fmt"
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

// wishes are what is not usual about a new password.
type wishes struct {
	temporary bool      // an administrator hands it out
	setAt     time.Time // an import says when; zero: now
	resetBy   string    // the kind of contact whose code stands in for the password that was forgotten
}

// newPassword checks a password against every rule at once and hashes it.
func (c *Core) newPassword(ctx context.Context, d member.DomainID, p member.Person, typed secret.String, w wishes) (setting, error) {
	t, err := c.dir.TenantByID(ctx, d)
	if err != nil {
		return setting{}, err
	}
	prepared, ok := password.Prepare(typed)
	if !ok {
		return setting{}, rulesBroken([]policy.Rule{policy.NotAllowed})
	}
	old, rev, err := cache.ReadDirect[password.Record](ctx, c.o.Records, password.Key(d, p.ID))
	if err != nil {
		return setting{}, err
	}
	broken := t.Policy.Password.Check(prepared.Reveal())
	if len(broken) > 0 && !w.temporary {
		return setting{}, rulesBroken(broken)
	}
	slot, err := c.hasher.Acquire(ctx)
	if errors.Is(err, password.ErrBusy) {
		return setting{}, denyReason(Throttled, retryBroken)
	}
	if err != nil {
		return setting{}, err
	}
	defer slot.Release()
	if old != nil && old.Temporary {
		same, err := slot.Verify(old.Hash, prepared)
		if err != nil {
			return setting{}, fmt.Errorf("temporary password of member %s: %w", p.ID, err)
		}
		if same {
			return setting{}, rulesBroken([]policy.Rule{policy.SameAsCurrent})
		}
	}
	hash := slot.Hash(prepared)
	if w.setAt.IsZero() {
		w.setAt = c.now()
	}
	next := old.Next(hash, w.setAt)
	if w.temporary {
		next = old.NextTemporary(hash, c.now())
	}
	next.ResetBy = w.resetBy
	return setting{epoch: next.Epoch, ops: []store.Op{
		member.PutOp(password.Key(d, p.ID), next, rev),
		{Kind: store.Delete, Name: lockout.Key(d, p.ID).Name, IfRevision: store.AnyRevision},
	}}, nil
}

func rulesBroken(rules []policy.Rule) error {
	var m []policy.Mistake
	for _, r := range rules {
		m = append(m, policy.Mistake{Field: "new_password", Reason: string(r)})
	}
	return invalid(m...)
}
