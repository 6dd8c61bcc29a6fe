package password

import (
	"bytes"
	"fmt"
	"runtime"
	"runtime/debug"
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

// A second hash makes no garbage to speak of. The collector rests meanwhile: what nobody uses would go with it.
func TestMemoriesAreUsedAgain(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	const kib, hashes = 4096, 8
	m := newMemories(Params{MemoryKiB: kib, Time: 1, Threads: 1})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range hashes {
		m.key([]byte("password"), []byte("12345678"), 32)
	}
	runtime.ReadMemStats(&after)
	if made := (after.TotalAlloc - before.TotalAlloc) >> 10; made > 2*kib {
		t.Errorf("%d hashes of %d KiB made %d KiB, want the memory of one and little more", hashes, kib, made)
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
