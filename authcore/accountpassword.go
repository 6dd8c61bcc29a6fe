package authcore

import (
	"context"
	"time"

	"latchkey/authcore/password"
)

// AccountPassword is what a member is told of his account password.
type AccountPassword struct {
	SetAt     time.Time
	ExpiresAt time.Time // by the policy of now; zero: never
}

// MyAccountPassword answers the actor's own.
func (c *Core) MyAccountPassword(ctx context.Context, a Actor) (AccountPassword, error) {
	t, err := c.self(ctx, a)
	if err != nil {
		return AccountPassword{}, err
	}
	r, _, err := readDirect[password.Record](ctx, c, password.Key(a.Domain, a.Member))
	if err != nil || r == nil {
		return AccountPassword{}, err
	}
	return AccountPassword{SetAt: r.SetAt, ExpiresAt: r.ExpiresAt(t.tenant.Policy.Password)}, nil
}
