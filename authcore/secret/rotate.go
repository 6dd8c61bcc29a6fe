package secret

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// A rotation makes a new key beside the old ones, which stay as long as something hangs on them. What was made under an
// old key is made anew at its next use; the operator drops the old key when nothing hangs on it any more.

// A signing key is published PublishedBefore it signs: upstreams fetch or are given the public keys in that time. One
// that signs no more stays published for PublishedAfter: longer than its last token lives, with clocks that are off.
const (
	PublishedBefore = 24 * time.Hour
	PublishedAfter  = 10 * time.Minute
)

// Why a key is not dropped, and what to do.
var (
	ErrCurrentKey = errors.New("is in use: rotate first")
	ErrNoKey      = errors.New("there is no such key")
)

// maxKeys bounds each kind: with more, nobody looks after what hangs on the old ones.
const maxKeys = 16

// ErrManyKeys: drop old ones first.
var ErrManyKeys = fmt.Errorf("there are %d keys of a kind already: drop some that nothing hangs on", maxKeys)

// Rotated is k with a new current key for fingerprints, a new signing key, or both.
func (k *Keys) Rotated(now time.Time, mac, sign bool) (*Keys, error) {
	next := *k.held.Load()
	if mac {
		next.mac = append([]macKey{newMAC(now)}, next.mac...)
	}
	if sign {
		s, err := newSigning(now)
		if err != nil {
			return nil, err
		}
		next.sign = append([]SigningKey{s}, next.sign...)
	}
	if len(next.mac) > maxKeys || len(next.sign) > maxKeys {
		return nil, ErrManyKeys
	}
	return keysOf(next), nil
}

// Without is k without the key; ErrCurrentKey when new things are made with it or old ones are still being checked,
// ErrNoKey when there is none.
func (k *Keys) Without(id string, now time.Time) (*Keys, error) {
	r := *k.held.Load()
	if !r.has(id) {
		return nil, fmt.Errorf("%w: %s", ErrNoKey, id)
	}
	former := slices.ContainsFunc(r.sign, func(s SigningKey) bool { return s.ID == id && !r.published(s, now) })
	pending := slices.ContainsFunc(r.sign, func(s SigningKey) bool { return s.ID == id && now.Before(s.from()) && r.signer(now).ID != id })
	old := slices.ContainsFunc(r.mac, func(m macKey) bool { return m.id == id && id != r.current().id })
	if !former && !pending && !old {
		return nil, fmt.Errorf("%s %w", id, ErrCurrentKey)
	}
	r.mac = slices.DeleteFunc(slices.Clone(r.mac), func(m macKey) bool { return m.id == id })
	r.sign = slices.DeleteFunc(slices.Clone(r.sign), func(s SigningKey) bool { return s.ID == id })
	return keysOf(r), nil
}

// Take makes k hold what from holds, at once and for everybody who has k.
func (k *Keys) Take(from *Keys) { k.held.Store(from.held.Load()) }

// SigningAt answers the key that signs at now: the newest that was published long enough, or the oldest when none was.
func (k *Keys) SigningAt(now time.Time) SigningKey { return k.held.Load().signer(now) }

// Published answers the signing keys whose public halves upstreams should have at now, that which signs first.
func (k *Keys) Published(now time.Time) []SigningKey {
	r := k.held.Load()
	l := []SigningKey{r.signer(now)}
	for _, s := range r.sign {
		if s.ID != l[0].ID && r.published(s, now) {
			l = append(l, s)
		}
	}
	return l
}

// from is when a key signs, if it is not the only one.
func (s SigningKey) from() time.Time { return s.Created.Add(PublishedBefore) }

func (k *ring) signer(now time.Time) SigningKey {
	for _, s := range k.sign { // the newest first
		if !now.Before(s.from()) && !slices.Contains(k.back, s.ID) {
			return s
		}
	}
	return k.sign[len(k.sign)-1]
}

// published: it signs, is to sign, or signed until PublishedAfter ago.
func (k *ring) published(s SigningKey, now time.Time) bool {
	return s.ID == k.signer(now.Add(-PublishedAfter)).ID || s.ID == k.signer(now).ID || now.Before(s.from())
}
