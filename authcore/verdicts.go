package authcore

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"sync"
	"time"

	"latchkey/authcore/lockout"
	"latchkey/authcore/password"
	"latchkey/authcore/store/cache"
)

// verdicts remembers for a minute that a secret matched an account password, so that the requests of a calendar program
// do not cost a slow hash each. Only "this secret matched" is kept, under a key of this process that dies with it, bound
// to the revisions of the member and the password: any change of either voids it. Gate, rule and judge run every time.
type verdicts struct {
	key [32]byte
	now func() time.Time

	mu   sync.Mutex
	kept map[[32]byte]time.Time // until when; guarded by mu
}

const (
	verdictFor  = time.Minute
	maxVerdicts = 16_384 // one a member with a program that asks every few seconds; 1 MiB
)

func newVerdicts(now func() time.Time) *verdicts {
	v := &verdicts{now: now, kept: make(map[[32]byte]time.Time)}
	_, _ = rand.Read(v.key[:])
	return v
}

func (v *verdicts) print(k check) (p [32]byte) {
	h := hmac.New(sha256.New, v.key[:])
	var n [8]byte
	for _, s := range []string{k.name.String(), k.secret.Reveal(), string(k.person.ID)} {
		binary.BigEndian.PutUint64(n[:], uint64(len(s)))
		h.Write(n[:])
		h.Write([]byte(s))
	}
	for _, r := range []int64{k.person.Revision, k.accountRevision, k.account.Epoch} {
		binary.BigEndian.PutUint64(n[:], uint64(r))
		h.Write(n[:])
	}
	h.Sum(p[:0])
	return p
}

func (v *verdicts) has(p [32]byte) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	until, ok := v.kept[p]
	return ok && v.now().Before(until)
}

func (v *verdicts) keep(p [32]byte) {
	v.mu.Lock()
	defer v.mu.Unlock()
	now := v.now()
	if len(v.kept) >= maxVerdicts {
		for k, until := range v.kept {
			if !now.Before(until) || len(v.kept) >= maxVerdicts {
				delete(v.kept, k)
			}
		}
	}
	v.kept[p] = now.Add(verdictFor)
}

// verdictOf answers from memory that this very secret matched within the last minute. Where wrong ones were counted since,
// it says nothing: the right one must be verified and settled to begin the count anew.
func (c *Core) verdictOf(ctx context.Context, k check) (verdict, bool, error) {
	if !k.counts || k.account == nil || !c.verdicts.has(c.verdicts.print(k)) {
		return verdict{}, false, nil
	}
	f, _, err := cache.Read[lockout.Failures](ctx, c.records, lockout.Key(k.tenant.Domain.ID, k.person.ID))
	if err != nil || f != nil && f.Count > 0 {
		return verdict{}, false, err
	}
	state := k.account.State(k.tenant.Policy.Password, c.now())
	return verdict{right: true, state: state, epoch: k.account.Epoch}, state != password.Gone, nil
}

func (c *Core) remember(s *settling, v verdict) {
	if v.right {
		c.verdicts.keep(c.verdicts.print(s.check))
	}
}
