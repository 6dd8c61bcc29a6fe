package authcore

import (
	"context"
	"fmt"
	"slices"

	"latchkey/authcore/member"
	"latchkey/authcore/store"
	"latchkey/policy"
)

func texts(names []member.Name) (l []string) {
	for _, n := range names {
		l = append(l, n.String())
	}
	return l
}

// takeAddresses makes canonical names of a primary address and aliases, all of the domain.
func takeAddresses(domain string, addresses []string) (names []member.Name, m []policy.Mistake) {
	if len(addresses) > maxAliases+1 {
		return nil, []policy.Mistake{{Field: "aliases", Reason: fmt.Sprintf("must be at most %d", maxAliases)}}
	}
	for i, s := range addresses {
		field := "aliases"
		if i == 0 {
			field = "address"
		}
		n, err := member.ParseName(s, "")
		switch {
		case err != nil:
			m = append(m, policy.Mistake{Field: field, Reason: fmt.Sprintf("%q is not an address like name@%s", s, domain)})
		case n.Domain != domain:
			m = append(m, policy.Mistake{Field: field, Reason: fmt.Sprintf("%q is not in the domain %s", s, domain)})
		case !slices.Contains(names, n):
			names = append(names, n)
		}
	}
	return names, m
}

// addressOps give the names in next to the member and take away those in old that are not in next.
func (c *Core) addressOps(ctx context.Context, d member.DomainID, id member.ID, old, next []member.Name, reuse bool) ([]store.Op, error) {
	var ops []store.Op
	for i, n := range next {
		key := member.AddressKey(d, n)
		rev, err := c.addressFree(ctx, d, id, n, reuse)
		if err != nil {
			return nil, err
		}
		ops = append(ops, member.PutOp(key, member.Address{Member: id, Primary: i == 0}, rev))
	}
	for _, n := range old {
		if !slices.Contains(next, n) {
			ops = append(ops, store.Op{Kind: store.Delete, Name: member.AddressKey(d, n).Name, IfRevision: store.AnyRevision})
		}
	}
	return ops, nil
}

// addressFree answers the revision over which the address may be written.
func (c *Core) addressFree(ctx context.Context, d member.DomainID, id member.ID, n member.Name, reuse bool) (int64, error) {
	a, rev, err := readDirect[member.Address](ctx, c, member.AddressKey(d, n))
	if err != nil || a == nil || a.Member == id {
		return rev, err
	}
	holder, _, err := readDirect[member.Member](ctx, c, member.Key(d, a.Member))
	if err != nil {
		return 0, err
	}
	switch {
	case holder == nil:
		return rev, nil
	case holder.Status != member.Deleted:
		return 0, deny(AddressTaken, "the address "+n.String()+" is a member's already")
	case c.now().Sub(holder.DeletedAt) < member.RestorableFor:
		return 0, deny(AddressTaken, n.String()+" belongs to a deleted member who can still be restored")
	case !reuse:
		return 0, deny(AddressWasUsed, n.String()+" was a deleted member's: confirm that the new one shall have it; nothing is inherited")
	}
	return rev, nil
}
