package password

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"latchkey/authcore/secret"
)

// More who want a hash than there are slots for: what a hash takes (ns/op), how long its owner has waited by then, and how many
// were told to come again for each that was computed. The slots bound the memory whatever comes: B/op.
func BenchmarkSlots(b *testing.B) {
	for _, clients := range []int{1, 16, 256} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			b.ReportAllocs()
			crowd := &crowd{h: NewHasher(Params{}, 0), left: b.N}
			var all sync.WaitGroup
			for range clients {
				all.Go(func() { crowd.member(b) })
			}
			all.Wait()
			crowd.report(b)
		})
	}
}

// crowd is who wants hashes.
type crowd struct {
	h *Hasher

	mu      sync.Mutex
	left    int             // hashes that are still wanted; guarded by mu
	waits   []time.Duration // until a hash was there; guarded by mu
	refused int             // guarded by mu
}

func (c *crowd) take() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.left--
	return c.left >= 0
}

// member wants one hash after the other, and comes again when he is told to.
func (c *crowd) member(b *testing.B) {
	for c.take() {
		began := time.Now()
		for !c.hash(b) {
			time.Sleep(time.Millisecond)
		}
		c.mu.Lock()
		c.waits = append(c.waits, time.Since(began))
		c.mu.Unlock()
	}
}

func (c *crowd) hash(b *testing.B) bool {
	s, err := c.h.Acquire(b.Context())
	if errors.Is(err, ErrBusy) {
		c.mu.Lock()
		c.refused++
		c.mu.Unlock()
		return false
	}
	if err != nil {
		b.Error(err)
		return true
	}
	s.Dummy(secret.New("password"))
	s.Release()
	return true
}

func (c *crowd) report(b *testing.B) {
	slices.Sort(c.waits)
	b.ReportMetric(float64(c.waits[len(c.waits)/2].Milliseconds()), "ms-p50")
	b.ReportMetric(float64(c.waits[len(c.waits)*99/100].Milliseconds()), "ms-p99")
	b.ReportMetric(float64(c.refused)/float64(b.N), "busy/op")
}
