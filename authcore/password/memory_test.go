package password

import (
	"bytes"
	"fmt"
	"sync"
	"testing"

	"golang.org/x/crypto/argon2"
)

// Memory that is used again gives what fresh memory gives, whatever was hashed in it before and beside.
func TestMemoriesHashAsArgon2Does(t *testing.T) {
	for _, p := range []Params{{64, 1, 1}, {64, 2, 1}, {67, 3, 2}, {9, 1, 4}, {1, 1, 1}, {256, 2, 3}, {19456, 2, 1}} {
		t.Run(fmt.Sprint(p), func(t *testing.T) {
			m := newMemories(p)
			var all sync.WaitGroup
			for g := range 4 {
				all.Go(func() {
					for i := range 3 {
						password, salt := fmt.Appendf(nil, "password %d %d", g, i), fmt.Appendf(nil, "salt %d of %d", i, g)
						n := uint32(16 + 16*i)
						if got, want := m.key(password, salt, n), argon2.IDKey(password, salt, p.Time, p.MemoryKiB, p.Threads, n); !bytes.Equal(got, want) {
							t.Errorf("%s: %x, want %x", password, got, want)
						}
					}
				})
			}
			all.Wait()
		})
	}
}

// A second hash makes no garbage to speak of.
func TestMemoriesAreUsedAgain(t *testing.T) {
	m := newMemories(Params{MemoryKiB: 19456, Time: 1, Threads: 1})
	r := testing.Benchmark(func(b *testing.B) {
		for range b.N {
			m.key([]byte("password"), []byte("12345678"), 32)
		}
	})
	if r.N < 4 {
		t.Skipf("only %d hashes in a second: too busy a machine to tell", r.N)
	}
	if each := r.AllocedBytesPerOp(); each > 10<<20 {
		t.Errorf("%d KiB of garbage a hash, want none but now and then", each>>10)
	}
}

func BenchmarkHash(b *testing.B) {
	m := newMemories(Params{}.withDefaults())
	b.ReportAllocs()
	for range b.N {
		m.key([]byte("password"), []byte("1234567890123456"), keyBytes)
	}
}

func BenchmarkHashAnew(b *testing.B) {
	b.ReportAllocs()
	for range b.N {
		idKey(Params{}.withDefaults(), []byte("password"), []byte("1234567890123456"), keyBytes)
	}
}
