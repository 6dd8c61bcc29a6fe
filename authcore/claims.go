package authcore

import (
	"context"

	"latchkey/authcore/member"
)

// names says from the member's own records whether he has a value that is unique across domains. A deleted member who
// cannot be restored any more has none.
func (c *Core) names(ctx context.Context, d member.DomainID, id member.ID, kind, value string) (bool, error) {
	m, _, err := readDirect[member.Member](ctx, c, member.Key(d, id))
	if err != nil || m == nil || m.Status == member.Deleted && c.now().Sub(m.DeletedAt) >= member.RestorableFor {
		return false, err
	}
	if issuer, ok := member.ClaimedProvider(kind); ok {
		l, _, err := readDirect[member.ProviderLinks](ctx, c, member.ProviderLinksKey(d, id))
		return l.Names(issuer, value), err
	}
	switch kind {
	case member.ClaimPhone:
		l, _, err := readDirect[member.PhoneLink](ctx, c, member.PhoneLinkKey(d, id))
		return l != nil && l.Number == value, err
	default:
		return false, nil
	}
}
