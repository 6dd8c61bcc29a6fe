package authcore

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"latchkey/authcore/member"
	"latchkey/authcore/store"
)

// hints are what a change of a member's contacts does to the index: those that come were written before his record is,
// those that go are taken away after it was. Every write of a member's record that may change contacts goes through
// hintContacts, in each of its tries anew: so a hint that a racing change is about to need is never taken away, for its
// revision has risen since this one looked at it.
type hints struct {
	stale []staleHint
}

type staleHint struct {
	key      store.Key
	revision int64
}

// hintContacts writes the hints of contacts that are in is and not in was, and looks at those that go. It comes right
// before the member's record is written over the one that was read with was.
func (c *Core) hintContacts(ctx context.Context, d member.DomainID, id member.ID, was, is []member.Contact) (hints, error) {
	for _, k := range without(is, was) {
		key := member.HintKey(k, d, id)
		if _, err := c.o.Records.Apply(ctx, key.Partition, member.PutOp(key, member.Hint{Domain: d, Member: id}, store.AnyRevision)); err != nil {
			return hints{}, broken("write the hint of a contact", err)
		}
	}
	var h hints
	for _, k := range without(was, is) {
		key := member.HintKey(k, d, id)
		switch rec, err := c.o.Records.Get(ctx, key); {
		case err == nil:
			h.stale = append(h.stale, staleHint{key, rec.Revision})
		case !errors.Is(err, store.ErrNotFound):
			return hints{}, broken("read the hint of a contact", err)
		}
	}
	return h, nil
}

// clear takes away the hints of contacts that are gone from the member's record. One that stays is harmless.
func (c *Core) clear(ctx context.Context, h hints) {
	for _, s := range h.stale {
		op := store.Op{Kind: store.Delete, Name: s.key.Name, IfRevision: s.revision}
		if _, err := c.o.Records.Apply(ctx, s.key.Partition, op); err != nil && !errors.Is(err, store.ErrConflict) {
			c.log.Warn("take away the hint of a contact", "error", err)
		}
	}
}

// without are the contacts of l that are not in other.
func without(l, other []member.Contact) (rest []member.Contact) {
	for _, k := range l {
		if !slices.ContainsFunc(other, k.Same) {
			rest = append(rest, k)
		}
	}
	return rest
}

// Bounds of a search by contact. Every search reads at least evenFinds members, so that one that finds nobody costs what
// one that finds somebody does; who names more has to ask an administrator.
const (
	evenFinds = 20
	maxFinds  = 100
)

// membersOf answers the members, of all domains, whose profile names the contact.
func (c *Core) membersOf(ctx context.Context, k member.Contact) (l []found, err error) {
	recs, err := c.o.Records.List(ctx, k.Partition(), store.Query{Prefix: member.HintPrefix, Limit: maxFinds})
	if err != nil {
		return nil, broken("list the hints of a contact", err)
	}
	for i := range max(len(recs), evenFinds) {
		h := member.Hint{Domain: noDomain, Member: member.ID(fmt.Sprintf("nobody-%02d", i))}
		if i < len(recs) {
			if err := decode(recs[i], &h); err != nil {
				return nil, err
			}
		}
		m, _, err := readDirect[member.Member](ctx, c, member.Key(h.Domain, h.Member))
		if err != nil {
			return nil, err
		}
		if m != nil && m.Status != member.Deleted && slices.ContainsFunc(m.Contacts, k.Same) {
			l = append(l, found{h.Domain, m})
		}
	}
	return l, nil
}

type found struct {
	domain member.DomainID
	member *member.Member
}
