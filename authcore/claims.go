package authcore

import (
	"context"

	"latchkey/authcore/member"
)

// names says from the member's own records whether he has a value that is unique across domains. A deleted member who
// cannot be restored any more has none.
func (c *Core) names(ctx context.Context, d member.DomainID, id member.ID, kind, value string) (bool, error) {
	m, _, err := readDirect[member.Member](ctx, c, member.Key(d, id))
	if err != nil {
		return false, err
	}
	var named bool
	if issuer, ok := member.ClaimedProvider(kind); ok {
		l, _, err := readDirect[member.ProviderLinks](ctx, c, member.ProviderLinksKey(d, id))
		if err != nil {
			return false, err
		}
		named = l.Names(issuer, value)
	} else if kind == member.ClaimPhone {
		l, _, err := readDirect[member.PhoneLink](ctx, c, member.PhoneLinkKey(d, id))
		if err != nil {
			return false, err
		}
		named = l != nil && l.Number == value
	}
	return named && m != nil && (m.Status != member.Deleted || c.now().Sub(m.DeletedAt) < member.RestorableFor), nil
}
