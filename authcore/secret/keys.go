package secret

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Keys are the server keys: those under which credentials are fingerprinted and the ones that sign tokens for
// upstreams. They live in a file of their own (0600) and never in the store or a backup. They are safe for concurrent
// use, and change only by Take.
type Keys struct{ held atomic.Pointer[ring] }

// ring is what Keys hold at one time. It is read-only.
type ring struct {
	mac  []macKey     // the newest first
	sign []SigningKey // the newest first
	back []string     // ids of those that nothing is made with yet
}

func keysOf(r ring) *Keys {
	k := &Keys{}
	k.held.Store(&r)
	return k
}

type macKey struct {
	id      string
	created time.Time
	key     []byte     // 32 bytes
	states  *sync.Pool // of macState: to key a hash costs as much as the hash, and most of its memory
}

func macKeyOf(id string, created time.Time, key []byte) macKey {
	return macKey{id: id, created: created, key: key, states: &sync.Pool{New: func() any { return &macState{hash: hmac.New(sha256.New, key)} }}}
}

// macState is keyed, and holds nothing of what was hashed before.
type macState struct {
	hash hash.Hash
	text []byte
}

// mac is macOf under m.
func (m macKey) mac(purpose string, parts []string) []byte {
	s := m.states.Get().(*macState)
	s.text = appendAll(s.text[:0], purpose, parts)
	s.hash.Write(s.text)
	sum := s.hash.Sum(nil)
	s.hash.Reset()
	clear(s.text)
	m.states.Put(s)
	return sum
}

// SigningKey signs tokens with ES256, from PublishedBefore after it was made on.
type SigningKey struct {
	ID      string
	Created time.Time
	Private *ecdsa.PrivateKey // P-256
}

// KeyInfo is what may be told of a key.
type KeyInfo struct {
	ID          string    `json:"id"`
	Kind        string    `json:"kind"` // "mac" or "sign"
	Created     time.Time `json:"created"`
	Fingerprint string    `json:"fingerprint"` // first 8 bytes of SHA-256 under a fixed label, in hex
	Current     bool      `json:"current"`
	SignsFrom   time.Time `json:"signs_from,omitzero"` // of a signing key that is published and does not sign yet
}

const (
	kindMAC  = "mac"
	kindSign = "sign"
)

// NewKeys makes one key of each kind.
func NewKeys(now time.Time) (*Keys, error) {
	p, err := newSigning(now)
	if err != nil {
		return nil, err
	}
	return keysOf(ring{mac: []macKey{newMAC(now)}, sign: []SigningKey{p}}), nil
}

func newMAC(now time.Time) macKey {
	key := make([]byte, sha256.Size)
	_, _ = rand.Read(key) // never fails since Go 1.24
	return macKeyOf("m"+randomID(), now.UTC().Truncate(time.Second), key)
}

func newSigning(now time.Time) (SigningKey, error) {
	p, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return SigningKey{}, fmt.Errorf("make signing key: %w", err)
	}
	return SigningKey{ID: "s" + randomID(), Created: now.UTC().Truncate(time.Second), Private: p}, nil
}

func randomID() string {
	var b [5]byte
	_, _ = rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// MAC is HMAC-SHA-256 under the current key over a purpose and length-prefixed parts. The id of the key goes beside what
// was made with it.
func (k *Keys) MAC(purpose string, parts ...string) (id string, mac []byte) {
	m := k.held.Load().current()
	return m.id, m.mac(purpose, parts)
}

// MACUnder is the same under the key named id; false when there is none.
func (k *Keys) MACUnder(id, purpose string, parts ...string) ([]byte, bool) {
	for _, m := range k.held.Load().mac {
		if m.id == id {
			return m.mac(purpose, parts), true
		}
	}
	return nil, false
}

// CurrentMAC is the id of the key that MAC uses.
func (k *Keys) CurrentMAC() string { return k.held.Load().current().id }

func macOf(key []byte, purpose string, parts []string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(appendAll(nil, purpose, parts))
	return h.Sum(nil)
}

// appendAll appends the purpose and the parts in one piece, each with its length.
func appendAll(b []byte, purpose string, parts []string) []byte {
	b = appendSized(b, purpose)
	for _, p := range parts {
		b = appendSized(b, p)
	}
	return b
}

func appendSized(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint64(b, uint64(len(s))), s...)
}

// Stable is the MAC under the oldest key: for what only gives a thing a name, and is compared with nothing that stands
// beside a key's id. So a rotation renames nothing, no wrong password is counted anew and no limit begins anew; dropping
// the oldest key does that, once, and it is for the operator to say when.
func (k *Keys) Stable(purpose string, parts ...string) []byte {
	l := k.held.Load().mac
	return l[len(l)-1].mac(purpose, parts)
}

// Fingerprint is a short name for a secret or a name: 12 bytes of Stable in base64url. It says that two are equal, and
// nothing else.
func (k *Keys) Fingerprint(purpose string, parts ...string) string {
	return base64.RawURLEncoding.EncodeToString(k.Stable(purpose, parts...)[:12])
}

// List tells of each key what may be told at now.
func (k *Keys) List(now time.Time) []KeyInfo {
	r := k.held.Load()
	var l []KeyInfo
	for _, m := range r.mac {
		l = append(l, KeyInfo{ID: m.id, Kind: kindMAC, Created: m.created, Fingerprint: keyPrint(m.key), Current: m.id == r.current().id})
	}
	current := k.SigningAt(now).ID
	for _, s := range r.sign {
		pub, err := x509.MarshalPKIXPublicKey(&s.Private.PublicKey)
		if err != nil {
			pub = nil // cannot happen for a P-256 key; an empty fingerprint is no secret either
		}
		i := KeyInfo{ID: s.ID, Kind: kindSign, Created: s.Created, Fingerprint: keyPrint(pub), Current: s.ID == current}
		if from := s.from(); !i.Current && now.Before(from) {
			i.SignsFrom = from
		}
		l = append(l, i)
	}
	return l
}

// Has says whether there is a key with the id.
func (k *Keys) Has(id string) bool { return k.held.Load().has(id) }

func (k *ring) has(id string) bool {
	return slices.ContainsFunc(k.mac, func(m macKey) bool { return m.id == id }) ||
		slices.ContainsFunc(k.sign, func(s SigningKey) bool { return s.ID == id })
}

func keyPrint(p []byte) string {
	m := macOf([]byte("latchkey key fingerprint"), "print", []string{string(p)})
	return hex.EncodeToString(m[:8])
}
