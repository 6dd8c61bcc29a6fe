package authcore

import (
	"context"
	"errors"
	"time"

	"latchkey/authcore/member"
	"latchkey/authcore/notify"
	"latchkey/authcore/quick"
	"latchkey/authcore/store"
)

// cloneTold marks that a member was told that a credential may have been copied.
type cloneTold struct {
	At time.Time `json:"at"`
}

// tellClonedEach is how often a member is told of one credential: whoever holds the copy may try it as often as he likes.
const tellClonedEach = 24 * time.Hour

// tellCloned tells the member that a credential may have been copied, once in tellClonedEach. Of attempts that race the
// first one tells.
func (c *Core) tellCloned(ctx context.Context, s assertion, cred quick.Credential) error {
	name := "possible-clone/" + c.print("possible clone", string(s.member.ID), string(cred.ID))
	key := store.Key{Partition: member.Partition(s.domain), Name: name}
	was, rev, err := readDirect[cloneTold](ctx, c, key)
	now := c.now().UTC()
	if err != nil || was != nil && now.Before(was.At.Add(tellClonedEach)) {
		return err
	}
	told := notify.Event{Kind: notify.CounterWentBack, Name: s.name, At: now, From: s.from}
	mark := expiring(member.PutOp(key, cloneTold{now}, rev), now.Add(tellClonedEach))
	if err := c.apply(ctx, s.domain, append(c.notice(s.member, told), mark)...); !errors.Is(err, store.ErrConflict) {
		return err
	}
	return nil
}
