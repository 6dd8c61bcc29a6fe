// Package password keeps account passwords: argon2id hashes made and compared in a bounded number of slots, what a new
// password must be, and until when one holds. It refuses to hash without a slot, so that memory and processors stay
// bounded whatever is sent, and it never keeps a password itself.
package password

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"

	"golang.org/x/crypto/argon2"

	"latchkey/authcore/secret"
)

// Params are the cost of a hash (RFC 9106; the defaults are OWASP's for argon2id).
type Params struct {
	MemoryKiB uint32 // 0: 19456
	Time      uint32 // 0: 2
	Threads   uint8  // 0: 1
}

// Upper bounds of what a stored hash may ask for: more would let a bad record stop the server.
const (
	maxMemoryKiB = 1 << 20
	maxTime      = 64
	maxThreads   = 16
	saltBytes    = 16
	keyBytes     = 32
)

func (p Params) withDefaults() Params {
	if p.MemoryKiB == 0 {
		p.MemoryKiB = 19456
	}
	if p.Time == 0 {
		p.Time = 2
	}
	if p.Threads == 0 {
		p.Threads = 1
	}
	return p
}

// work is how much memory is filled in all: what the time of a hash goes by.
func (p Params) work() uint64 { return uint64(p.MemoryKiB) * uint64(p.Time) }

// ErrBusy: all slots are taken and the queue is full. Tell the client to come again; nothing was verified.
var ErrBusy = errors.New("password hashing is busy")

// Hasher owns the slots.
type Hasher struct {
	params   Params
	memories *memories
	slots    chan struct{}
	queue    chan struct{} // those who hold a slot and those who wait for one
	dummy    string
	hashes   atomic.Int64
}

// QueuePerSlot bounds who waits for a slot: at about 40 ms a hash the last in the queue waits a second and a half.
const QueuePerSlot = 40

// NewHasher makes a Hasher. With slots 0 there is one slot less than there are processors, and one at least: a hash keeps a
// processor busy for as long as thousands of other steps take, and who has nothing to hash must not queue behind them.
func NewHasher(p Params, slots int) *Hasher {
	if slots <= 0 {
		slots = max(1, runtime.GOMAXPROCS(0)-1)
	}
	p = p.withDefaults()
	h := &Hasher{params: p, memories: newMemories(p), slots: make(chan struct{}, slots), queue: make(chan struct{}, slots*QueuePerSlot)}
	var salt [saltBytes]byte
	_, _ = rand.Read(salt[:])
	var never [keyBytes]byte // no password is known that hashes to zeros
	h.dummy = encode(h.params, salt[:], never[:])
	return h
}

// Hashes counts the slow hashes computed, dummies included.
func (h *Hasher) Hashes() int64 { return h.hashes.Load() }

// InUse answers how many slots are taken and how many attempts wait for one.
func (h *Hasher) InUse() (taken, waiting int) {
	taken = len(h.slots)
	return taken, max(0, len(h.queue)-taken)
}

// Full says that Acquire would answer ErrBusy: whoever asks first spares the steps before it.
func (h *Hasher) Full() bool { return len(h.queue) == cap(h.queue) }

// Slot is the right to compute hashes, one at a time, until Release.
type Slot struct{ h *Hasher }

// Acquire waits for a slot until ctx ends. It answers ErrBusy at once when too many wait already.
func (h *Hasher) Acquire(ctx context.Context) (*Slot, error) {
	select {
	case h.queue <- struct{}{}:
	default:
		return nil, ErrBusy
	}
	select {
	case h.slots <- struct{}{}:
		return &Slot{h: h}, nil
	case <-ctx.Done():
		<-h.queue
		return nil, fmt.Errorf("wait for a hash slot: %w", context.Cause(ctx))
	}
}

// Release gives the slot back; the first call counts.
func (s *Slot) Release() {
	if s.h == nil {
		return
	}
	<-s.h.slots
	<-s.h.queue
	s.h = nil
}

// Hash makes a hash in PHC string format. The secret must be prepared.
func (s *Slot) Hash(prepared secret.String) string {
	salt := make([]byte, saltBytes)
	_, _ = rand.Read(salt)
	return encode(s.h.params, salt, s.h.key(s.h.params, prepared, salt, keyBytes))
}

// quick is the cost of a random password's hash: a slow one would add nothing to its 85 bits.
func quick() Params { return Params{MemoryKiB: 64, Time: 1, Threads: 1} }

// HashRandom is Hash for a password that NewTemporary made, and costs nearly nothing.
func (s *Slot) HashRandom(prepared secret.String) string {
	salt := make([]byte, saltBytes)
	_, _ = rand.Read(salt)
	return encode(quick(), salt, s.h.key(quick(), prepared, salt, keyBytes))
}

// Again hashes a verified password anew where its hash is not what Hash makes now: of another server, of a random
// password, or of other parameters. It answers nothing where the old one is good, or the password was wrong. Hashes whose
// cost is unknown or below ours cost one of ours beside, right or wrong, so that they never answer faster than an unknown name.
func (s *Slot) Again(hash string, prepared secret.String, right bool) string {
	p, _, _, err := decode(hash)
	dearer := err == nil && p.work() >= s.h.params.work()
	if p == s.h.params || dearer && !right {
		return ""
	}
	if next := s.Hash(prepared); right {
		return next
	}
	return ""
}

// Verify says whether the prepared secret is the one that hash was made of; an error says that it is no hash that is known.
func (s *Slot) Verify(hash string, prepared secret.String) (bool, error) {
	if !strings.HasPrefix(hash, "$argon2id$") {
		verify, err := parseForeign(hash)
		if err != nil {
			return false, err
		}
		s.h.hashes.Add(1)
		return verify(prepared.Reveal())
	}
	p, salt, want, err := decode(hash)
	if err != nil {
		return false, err
	}
	got := s.h.key(p, prepared, salt, uint32(len(want)))
	return subtle.ConstantTimeCompare(got, want) == 1, nil
}

// Dummy costs what Verify costs and answers nothing.
func (s *Slot) Dummy(prepared secret.String) {
	_, _ = s.Verify(s.h.dummy, prepared)
}

func (h *Hasher) key(p Params, prepared secret.String, salt []byte, n uint32) []byte {
	if p == h.params || p != quick() {
		h.hashes.Add(1)
	}
	if p == h.params {
		return h.memories.key([]byte(prepared.Reveal()), salt, n)
	}
	return idKey(p, []byte(prepared.Reveal()), salt, n)
}

var b64 = base64.RawStdEncoding

func encode(p Params, salt, key []byte) string {
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, p.MemoryKiB, p.Time, p.Threads,
		b64.EncodeToString(salt), b64.EncodeToString(key))
}

var errFormat = errors.New("not an argon2id hash in PHC string format")

func decode(phc string) (p Params, salt, key []byte, err error) {
	f := strings.Split(phc, "$")
	if len(f) != 6 || f[0] != "" || f[1] != "argon2id" {
		return p, nil, nil, errFormat
	}
	var version int
	if n, err := fmt.Sscanf(f[2], "v=%d", &version); n != 1 || err != nil || version != argon2.Version {
		return p, nil, nil, errFormat
	}
	if n, err := fmt.Sscanf(f[3], "m=%d,t=%d,p=%d", &p.MemoryKiB, &p.Time, &p.Threads); n != 3 || err != nil {
		return p, nil, nil, errFormat
	}
	if p.MemoryKiB > maxMemoryKiB || p.Time > maxTime || p.Threads > maxThreads || p.Time == 0 || p.Threads == 0 {
		return p, nil, nil, errFormat
	}
	salt, e1 := b64.DecodeString(f[4])
	key, e2 := b64.DecodeString(f[5])
	if e1 != nil || e2 != nil || len(salt) < 8 || len(key) < 16 || len(key) > 128 {
		return p, nil, nil, errFormat
	}
	return p, salt, key, nil
}
