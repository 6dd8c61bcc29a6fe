package main

import (
	"context"
	"runtime"
	"runtime/metrics"
	"testing"
	"time"
)

func TestLull(t *testing.T) {
	const mib = 1 << 20
	start := time.Now()
	tests := map[string]struct {
		at     time.Duration // after the last time, which took 40 ms
		before uint64        // what had been allocated at the last look
		now    heapUse
		want   bool
	}{
		"after a storm":             {time.Minute, 1000 * mib, heapUse{1000 * mib, 40 * mib, 40 * mib}, true},
		"a sign-in now and then":    {time.Minute, 1000 * mib, heapUse{1000*mib + 100<<10, 40 * mib, 40 * mib}, true},
		"in a storm":                {time.Minute, 900 * mib, heapUse{1000 * mib, 40 * mib, 40 * mib}, false},
		"used up within the minute": {time.Minute, 999 * mib, heapUse{1000 * mib, 40 * mib, 40 * mib}, false},
		"little":                    {time.Minute, 1000 * mib, heapUse{1000 * mib, 12 * mib, 1 * mib}, false},
		"little beside what lives":  {time.Minute, 1000 * mib, heapUse{1000 * mib, 800 * mib, 40 * mib}, false},
		"again too soon":            {1 * time.Second, 1000 * mib, heapUse{1000 * mib, 40 * mib, 40 * mib}, false},
		"again":                     {2 * time.Second, 1000 * mib, heapUse{1000 * mib, 40 * mib, 40 * mib}, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			l := lull{allocated: test.before}
			l.gave(start.Add(-40*time.Millisecond), start)
			if got := l.look(start.Add(test.at), test.now); got != test.want {
				t.Errorf("look = %v", got)
			}
		})
	}
}

// The memory of what is gone goes back to the system, without anybody who asks for it.
func TestSpareMemoryIsGivenBack(t *testing.T) {
	const size = 64 << 20
	released := []metrics.Sample{{Name: "/memory/classes/heap/released:bytes"}}
	runtime.GC()
	garbage := make([]byte, size)
	for i := 0; i < len(garbage); i += 4096 {
		garbage[i] = 1
	}
	runtime.KeepAlive(garbage)
	runtime.GC() // which comes by itself within two minutes
	metrics.Read(released)
	before := released[0].Value.Uint64()
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan struct{})
	go func() { giveSpareBack(ctx); close(over) }()
	deadline := time.Now().Add(20 * time.Second)
	for released[0].Value.Uint64() < before+size*3/4 {
		if time.Now().After(deadline) {
			t.Fatalf("%d MiB are released after %d MiB of garbage, %d before", released[0].Value.Uint64()>>20, size>>20, before>>20)
		}
		time.Sleep(100 * time.Millisecond)
		metrics.Read(released)
	}
	cancel()
	<-over
}
