package secret

import (
	"crypto/x509"
	"encoding/hex"
	"slices"
)

// Several processes that share a store hold the same keys. A new one goes to one of them first: it is held back there,
// opening what was made with it and making nothing, until all have it.

// Check is what may be told of a key so that others see whether theirs is the same. It is an HMAC under the key itself, for
// this purpose alone; of a signing key over its public half.
type Check struct {
	ID    string `json:"id"`
	Kind  string `json:"kind"` // "mac" or "sign"
	Value string `json:"check"`
}

// checkBytes of a check: two keys of one name that differ by accident never share one, and a key of 256 bits is not found
// by any number of them.
const checkBytes = 16

// Checks answers those of all keys, in the order of the file: the newest of each kind first.
func (k *Keys) Checks() []Check {
	r := k.held.Load()
	var l []Check
	for _, m := range r.mac {
		l = append(l, Check{m.id, kindMAC, checkOf(m.key, m.id)})
	}
	for _, s := range r.sign {
		pub, err := x509.MarshalPKIXPublicKey(&s.Private.PublicKey)
		if err != nil {
			pub = nil // cannot happen for a P-256 key
		}
		l = append(l, Check{s.ID, kindSign, checkOf([]byte("latchkey public key"), s.ID, string(pub))})
	}
	return l
}

func checkOf(key []byte, parts ...string) string {
	return hex.EncodeToString(macOf(key, "server key check", parts)[:checkBytes])
}

// Hold has nothing be made with the keys named. The oldest of a kind is used where all are held.
func (k *Keys) Hold(ids []string) {
	k.change(func(back []string) []string { return slices.Concat(back, ids) })
}

// Free has the keys named be used again.
func (k *Keys) Free(ids []string) {
	k.change(func(back []string) []string {
		return slices.DeleteFunc(slices.Clone(back), func(id string) bool { return slices.Contains(ids, id) })
	})
}

// HeldBack names the keys that nothing is made with yet.
func (k *Keys) HeldBack() (l []string) {
	r := k.held.Load()
	for _, id := range r.back {
		if r.has(id) {
			l = append(l, id)
		}
	}
	return l
}

func (k *Keys) change(back func([]string) []string) {
	for {
		old := k.held.Load()
		next := *old
		next.back = back(old.back)
		if k.held.CompareAndSwap(old, &next) {
			return
		}
	}
}

// current is the key that new things are made with.
func (k *ring) current() macKey {
	for _, m := range k.mac {
		if !slices.Contains(k.back, m.id) {
			return m
		}
	}
	return k.mac[len(k.mac)-1]
}
