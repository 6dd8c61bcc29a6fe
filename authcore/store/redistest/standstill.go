package redistest

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Standstill answers how long this process got no time since it was called first: what passed between two answers is taken off
// a limit that is measured from outside.
func Standstill(t testing.TB) func() time.Duration {
	const step = 5 * time.Millisecond
	var stood atomic.Int64
	var ended sync.WaitGroup
	stop := make(chan struct{})
	ended.Go(func() {
		for last := time.Now(); ; last = time.Now() {
			select {
			case <-stop:
				return
			case <-time.After(step):
				stood.Add(int64(time.Since(last) - step))
			}
		}
	})
	t.Cleanup(func() { close(stop); ended.Wait() })
	return func() time.Duration { return time.Duration(stood.Load()) }
}
