package authcore

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"iter"
	"slices"
	"sync"
	"time"

	"latchkey/authcore/member"
	"latchkey/authcore/session"
	"latchkey/authcore/store"
)

// How a revocation reaches the sessions of every node:
//
//   - The batch that ends sessions puts the record "revoked" of the domain, whose revision rises by that, and one under
//     "revoked/" that says whom it is about and stays for some minutes.
//   - The bus tells every node at once.
//   - A message may get lost. The net under the bus (recheck.go) reads the revision of "revoked" of every domain in use on
//     this node each Options.Recheck, and at once after a gap of the bus. Without a net, as in a process alone, a gap asks
//     for all sessions.
//   - While the records cannot be read, the lease runs from the last time that they were: proxy.Live cuts when it is over.
//
// A session is in the registry before it is judged for the first time, by the records, so no revocation comes too early
// for it; one that is written later raises a revision that the net has not seen.

// Revocation tells that live sessions must be judged again.
type Revocation struct {
	Resync  bool            // a gap: judge all of them
	Domain  member.DomainID // else: those of this domain
	Member  member.ID       // and, if set, of this member
	Session session.ID      // and, if set, this one

	Unread time.Time `json:"-"` // set: none is to be judged; the domain's revocations could not be read since then, and the lease runs
	Reread bool      `json:"-"` // none is to be judged; they were read, and that lease ends
}

// Matches says whether r asks to judge s again.
func (r Revocation) Matches(s Standing) bool {
	if r.Reread || !r.Unread.IsZero() {
		return false
	}
	return r.Resync || r.Domain == s.Domain && (r.Member == "" || r.Member == s.Member) && (r.Session == "" || r.Session == s.Session)
}

const (
	revocationTopic = "revocations"

	revokedName   = "revoked"
	revokedPrefix = "revoked/"
	// revokedFor is how long the net can tell whom a revocation was about. Clocks may differ by as much.
	revokedFor = 5 * time.Minute
)

// revokedOps go into every batch that ends sessions.
func (c *Core) revokedOps(r Revocation) []store.Op {
	last := member.PutOp(store.Key{Name: revokedName}, r, store.AnyRevision)
	about := member.PutOp(store.Key{Name: revokedPrefix + rand.Text()}, r, store.AnyRevision)
	about.ExpiresAt = c.now().Add(revokedFor)
	return []store.Op{last, about}
}

// revoke writes a batch that ends sessions and tells every node which to judge again. The client's hanging up does not end
// it: what is told must be written by then. Telling may fail: the net finds it.
func (c *Core) revoke(ctx context.Context, r Revocation, ops ...store.Op) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleFor)
	defer cancel()
	err := c.apply(ctx, r.Domain, slices.Concat(ops, c.revokedOps(r))...)
	if errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrInvalid) {
		return err
	}
	c.tell(ctx, r) // after a failure too: it may have been written
	return err
}

func (c *Core) tell(ctx context.Context, r Revocation) {
	msg, err := json.Marshal(r)
	if err == nil {
		err = c.o.Bus.Publish(context.WithoutCancel(ctx), revocationTopic, msg)
	}
	if err != nil {
		c.log.Error("tell a revocation", "domain", r.Domain, "error", err)
	}
}

// Revocations yields what live sessions must be judged again, until ctx ends. Without a net it asks for all of them at
// the start and after every gap; with one, the net looks instead.
func (c *Core) Revocations(ctx context.Context) iter.Seq[Revocation] {
	return func(yield func(Revocation) bool) {
		ctx, cancel := context.WithCancel(ctx)
		found, gaps := make(chan Revocation), make(chan struct{}, 1)
		var sources sync.WaitGroup
		defer sources.Wait()
		defer cancel()
		sources.Go(func() { c.listen(ctx, found, gaps) })
		if c.o.Recheck > 0 {
			sources.Go(func() { c.recheck(ctx, found, gaps) })
		}
		for {
			select {
			case r := <-found:
				if !yield(r) {
					return
				}
			case s := <-c.madeRooms:
				if !yield(Revocation{Domain: s.Domain, Member: s.Member, Session: s.ID}) {
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}
}

// listen follows the bus.
func (c *Core) listen(ctx context.Context, found chan<- Revocation, gaps chan<- struct{}) {
	for ctx.Err() == nil {
		ch, err := c.o.Bus.Subscribe(ctx, revocationTopic)
		if err != nil {
			c.log.Error("follow revocations", "error", err)
			c.pause(ctx)
			continue
		}
		c.gap(ctx, found, gaps)
		for msg := range ch {
			var r Revocation
			if json.Unmarshal(msg, &r) != nil {
				c.gap(ctx, found, gaps)
				continue
			}
			send(ctx, found, r)
		}
	}
}

// gap is that messages may have been lost until now.
func (c *Core) gap(ctx context.Context, found chan<- Revocation, gaps chan<- struct{}) {
	if c.o.Recheck <= 0 {
		send(ctx, found, Revocation{Resync: true})
		return
	}
	select {
	case gaps <- struct{}{}:
	default: // one waits to be taken: it will be after this one
	}
}

func send(ctx context.Context, found chan<- Revocation, r Revocation) {
	select {
	case found <- r:
	case <-ctx.Done():
	}
}

// madeRoom follows a session out that had to go.
func (c *Core) madeRoom(s session.Door) {
	c.giveBack(context.Background(), s)
	c.roomWasMade(s)
}

// roomWasMade tells this node's doors that a session had to go. When they lag behind, its next request opens a new one
// anyway.
func (c *Core) roomWasMade(s session.Door) {
	select {
	case c.madeRooms <- s:
	default:
	}
}
