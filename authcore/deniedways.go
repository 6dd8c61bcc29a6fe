package authcore

import (
	"context"
	"fmt"
	"slices"

	"latchkey/authcore/audit"
	"latchkey/authcore/member"
	"latchkey/policy"
)

// maxDeniedWays is more than there are ways: those of the house and as many providers as a policy may name.
const maxDeniedWays = 20

// DenyWays sets which ways to sign in beside the password are denied to one member, whatever his domain allows. It holds
// from his next sign-in: his sessions go on, and what he linked is kept, unused.
func (c *Core) DenyWays(ctx context.Context, a Actor, address string, ways []string, ifRevision int64) (Profile, error) {
	t, err := c.memberFor(ctx, a, address, changeMember)
	if err != nil {
		return Profile{}, err
	}
	denied := slices.Compact(slices.Sorted(slices.Values(ways)))
	for _, w := range denied {
		if !policy.KnownWay(w) || len(denied) > maxDeniedWays {
			return Profile{}, invalid(policy.Mistake{Field: "ways", Reason: fmt.Sprintf(
				"must be at most %d of line, phone, quick, passkey and oidc. with a provider's name", maxDeniedWays)})
		}
	}
	err = c.changeMember(ctx, a, &t, audit.WaysDeny, func(m *member.Member) error {
		if m.Status == member.Deleted {
			return deny(NotFound, "")
		}
		m.DeniedWays = denied
		return over(t, ifRevision)
	})
	if err != nil {
		return Profile{}, err
	}
	return c.MemberOf(ctx, a, address)
}
