package authcore

import (
	"context"

	"latchkey/authcore/member"
)

// OpenDoors are the doors that a domain has open; none for one that is closed, or that there is not. Anybody may know:
// trying tells the same.
func (c *Core) OpenDoors(ctx context.Context, domain string) ([]string, error) {
	name, err := member.ParseDomain(domain)
	if err != nil {
		return nil, nil
	}
	t, err := c.dir.Tenant(ctx, name)
	if err != nil || t == nil || t.Domain.Closed {
		return nil, err
	}
	return t.Domain.Doors, nil
}
