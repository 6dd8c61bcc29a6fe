package authcore

import (
	"context"
	"errors"
	"sync"

	"latchkey/authcore/apppass"
	"latchkey/authcore/member"
	"latchkey/authcore/secret"
	"latchkey/authcore/store"
	"latchkey/authcore/store/cache"
)

// rekeys gathers app passwords that were used under an old server key, and writes them under the current one: never on
// an attempt's path. A crash loses some of them, until their next use.
type rekeys struct {
	mu      sync.Mutex
	pending map[usedPassword]apppass.Keyed // at most maxUsed; guarded by mu
}

func (r *rekeys) add(k usedPassword, to apppass.Keyed) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.pending == nil {
		r.pending = make(map[usedPassword]apppass.Keyed)
	}
	if len(r.pending) < maxUsed {
		r.pending[k] = to
	}
}

func (r *rekeys) take() map[usedPassword]apppass.Keyed {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.pending
	r.pending = nil
	return l
}

// keyAnew notes that an app password which was just let in stands under an old server key.
func (c *Core) keyAnew(d Decision, item *apppass.Item, typed secret.String) {
	if to, stale := item.Fresh(c.o.Keys, typed); stale {
		c.rekeys.add(usedPassword{d.Domain, d.Member, d.Credential}, to)
	}
}

func (c *Core) flushRekeys(ctx context.Context) {
	for k, to := range c.rekeys.take() {
		err := c.writeRekey(ctx, k, to)
		if errors.Is(err, store.ErrUnavailable) {
			return // the next sign-in notes it again
		}
		if err != nil {
			c.log.Warn("key an app password anew", "domain", k.domain, "error", err)
		}
	}
}

// writeRekey writes one unless it was deleted or keyed anew meanwhile. No epoch rises: it is the same app password.
func (c *Core) writeRekey(ctx context.Context, k usedPassword, to apppass.Keyed) error {
	if to.KeyID != c.o.Keys.CurrentMAC() {
		return nil // there was another rotation: nothing may come to hang on a key that can be dropped
	}
	key := apppass.Key(k.domain, k.member)
	for range settleTries {
		apps, rev, err := cache.ReadDirect[apppass.Record](ctx, c.o.Records, key)
		if err != nil {
			return err
		}
		next, changed := apps.Rekeyed(k.item, to)
		if !changed {
			return nil
		}
		if err := c.apply(ctx, k.domain, member.PutOp(key, next, rev)); !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
	return store.ErrConflict
}
