package password

import (
	"encoding/binary"
	"sync"
	_ "unsafe" // for go:linkname
	"weak"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/blake2b"
)

// A hash takes 19 MiB. argon2.IDKey makes them anew each time and leaves them to the collector: at the rate of a guesser
// that is a gigabyte of garbage a second, a collection for every second hash, and thousands of page faults for each, which
// cost more than the hashes. So what IDKey does between making the memory and leaving it is called from here, over memory
// that is used again. The names below are the package's own; a test holds the result against IDKey's for every shape.

// block is argon2's: 1 KiB.
type block [128]uint64

const syncPoints = 4 // slices of a lane (RFC 9106 section 3.4)

// argon2id is the type y of the hash (RFC 9106 section 3.2).
const argon2id = 2

//go:linkname initHash golang.org/x/crypto/argon2.initHash
func initHash(password, salt, key, data []byte, time, memory, threads, keyLen uint32, mode int) [blake2b.Size + 8]byte

//go:linkname blake2bHash golang.org/x/crypto/argon2.blake2bHash
func blake2bHash(out, in []byte)

//go:linkname processBlocks golang.org/x/crypto/argon2.processBlocks
func processBlocks(b []block, time, memory, threads uint32, mode int)

//go:linkname extractKey golang.org/x/crypto/argon2.extractKey
func extractKey(b []block, memory, threads, keyLen uint32) []byte

// memories are those of hashes of one cost. Whoever hashes holds a slot, so that no more are in use than there are slots;
// what nobody uses goes with the next collection, so that a server at rest keeps none.
type memories struct {
	params Params
	blocks uint32

	mu   sync.Mutex
	free []weak.Pointer[[]block] // of those that nobody uses; guarded by mu
}

func newMemories(p Params) *memories {
	lane := syncPoints * uint32(p.Threads)
	return &memories{params: p, blocks: max(p.MemoryKiB/lane*lane, 2*lane)}
}

// key is argon2.IDKey with the parameters that the memory is for.
func (m *memories) key(password, salt []byte, n uint32) []byte {
	p := m.params
	b := m.borrow()
	defer m.giveBack(b)
	h0 := initHash(password, salt, nil, nil, p.Time, p.MemoryKiB, uint32(p.Threads), n, argon2id)
	m.begin(*b, h0)
	processBlocks(*b, p.Time, m.blocks, uint32(p.Threads), argon2id)
	return extractKey(*b, m.blocks, uint32(p.Threads), n)
}

// borrow answers blocks of zeros.
func (m *memories) borrow() *[]block {
	m.mu.Lock()
	defer m.mu.Unlock()
	for n := len(m.free); n > 0; n = len(m.free) {
		b := m.free[n-1].Value()
		m.free = m.free[:n-1]
		if b != nil {
			return b
		}
	}
	fresh := make([]block, m.blocks)
	return &fresh
}

// giveBack wipes what a hash left: nothing of it lies about, and the next one begins with zeros.
func (m *memories) giveBack(b *[]block) {
	clear(*b)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.free = append(m.free, weak.Make(b))
}

// begin makes the first two blocks of each lane (RFC 9106 section 3.2, steps 3 and 4).
func (m *memories) begin(b []block, h0 [blake2b.Size + 8]byte) {
	var first [1024]byte
	threads := uint32(m.params.Threads)
	for lane := range threads {
		binary.LittleEndian.PutUint32(h0[blake2b.Size+4:], lane)
		for i := range uint32(2) {
			binary.LittleEndian.PutUint32(h0[blake2b.Size:], i)
			blake2bHash(first[:], h0[:])
			for j := range b[0] {
				b[lane*(m.blocks/threads)+i][j] = binary.LittleEndian.Uint64(first[8*j:])
			}
		}
	}
}

// idKey hashes with any other parameters: those of a hash that was made elsewhere or before.
func idKey(p Params, password, salt []byte, n uint32) []byte {
	return argon2.IDKey(password, salt, p.Time, p.MemoryKiB, p.Threads, n)
}
