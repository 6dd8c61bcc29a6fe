package authcore

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"latchkey/authcore/apppass"
	"latchkey/authcore/member"
	"latchkey/authcore/store"
	"latchkey/authcore/store/cache"
)

// lastUse gathers when app passwords were used, and writes each at most once a minute: never on an attempt's path. A
// crash loses a minute of it, which is no more than it promises.
type lastUse struct {
	mu      sync.Mutex
	pending map[usedPassword]apppass.Use // guarded by mu
	written map[usedPassword]time.Time   // guarded by mu
}

type usedPassword struct {
	domain member.DomainID
	member member.ID
	item   string
}

const (
	useEvery  = time.Minute
	useFlush  = 5 * time.Second
	maxUsed   = 100_000 // app passwords in use within a minute; the rest waits for its next use
	brokenFor = time.Second
)

func newLastUse() *lastUse {
	return &lastUse{pending: map[usedPassword]apppass.Use{}, written: map[usedPassword]time.Time{}}
}

func (u *lastUse) mark(t *trial, d Decision, now time.Time) {
	if d.Credential == AccountCredential {
		return
	}
	k := usedPassword{d.Domain, d.Member, d.Credential}
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.pending) < maxUsed {
		u.pending[k] = apppass.Use{At: now.UTC().Truncate(time.Second), Door: t.a.Door, From: t.from, Agent: t.a.Conn.Agent}
	}
}

// due takes out what may be written now; all of it when the server stops.
func (u *lastUse) due(now time.Time, all bool) map[usedPassword]apppass.Use {
	u.mu.Lock()
	defer u.mu.Unlock()
	out := map[usedPassword]apppass.Use{}
	for k, use := range u.pending {
		if all || now.Sub(u.written[k]) >= useEvery {
			out[k] = use
			u.written[k] = now
			delete(u.pending, k)
		}
	}
	for k, at := range u.written {
		if now.Sub(at) >= useEvery && u.pending[k].At.IsZero() {
			delete(u.written, k)
		}
	}
	return out
}

// wait puts back what could not be written, unless it was used since.
func (u *lastUse) wait(l map[usedPassword]apppass.Use) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for k, use := range l {
		delete(u.written, k)
		if _, newer := u.pending[k]; !newer && len(u.pending) < maxUsed {
			u.pending[k] = use
		}
	}
}

func (c *Core) writeUses(ctx context.Context) {
	tick := time.NewTicker(useFlush)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			c.flushUses(ctx, false)
			c.flushClients(ctx)
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleFor)
			defer cancel()
			c.flushUses(last, true)
			c.flushClients(last)
			return
		}
	}
}

func (c *Core) flushUses(ctx context.Context, all bool) {
	c.flushRekeys(ctx)
	l := c.lastUse.due(c.now(), all)
	for k, use := range l {
		err := c.writeUse(ctx, k, use)
		if errors.Is(err, store.ErrUnavailable) { // all others would end so
			c.log.Warn("write last uses: they wait", "waiting", len(l), "error", err)
			c.lastUse.wait(l)
			return
		}
		delete(l, k)
		if err != nil {
			c.log.Warn("write last use", "domain", k.domain, "error", err)
		}
	}
}

// writeUse writes one unless the app password was deleted meanwhile: nothing is kept of one that is gone.
func (c *Core) writeUse(ctx context.Context, k usedPassword, use apppass.Use) error {
	key := apppass.Key(k.domain, k.member)
	for range settleTries {
		apps, rev, err := cache.Read[apppass.Record](ctx, c.records, key)
		if err != nil || !apps.Has(k.item) {
			return err
		}
		err = c.apply(ctx, k.domain, unchanged(key, rev), member.PutOp(apppass.UseKey(k.domain, k.member, k.item), use, store.AnyRevision))
		if !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
	return store.ErrConflict
}

// pause keeps a loop from spinning while the store is broken.
func (c *Core) pause(ctx context.Context) {
	t := time.NewTimer(brokenFor + rand.N(brokenFor/2)) // so that nodes do not come back together
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
