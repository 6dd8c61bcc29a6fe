package main

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// After a storm of sign-ins the process keeps twice what its sessions hold: the collector next looks when the heap has
// doubled (GOGC), and a quiet door does not double it for hours. With 5 000 idle sessions that was 9 KB a session, more
// than the session. So the memory goes back to the system when the storm has passed: one collection, 40 ms of a core
// there. A sign-in meets it no more than any other collection, and the next storm asks for its pages anew, which it did
// the first time too.

const (
	// lookEvery is how often it is looked whether there is anything to give back.
	lookEvery = time.Second
	// leastSpare and spareShare: less than that, or less than this share of what lives, is not worth a collection.
	leastSpare = 2 << 20
	spareShare = 16
	// calmFor: what would be used up within this time, as things are, is kept.
	calmFor = 60
	// idleShare of the time may pass without giving back, at least, for each part spent on it: a fiftieth of a core.
	idleShare = 50
)

// heapUse is what the runtime says of its memory, in octets.
type heapUse struct {
	allocated uint64 // since the process began
	live      uint64 // what the last collection found, stacks too
	spare     uint64 // mapped and free, or garbage in part
}

// lull finds the moments in which to give memory back.
type lull struct {
	allocated uint64    // at the last look
	next      time.Time // no earlier than that
}

// look says whether memory is to be given back now. It is called every lookEvery.
func (l *lull) look(now time.Time, u heapUse) bool {
	rate := u.allocated - l.allocated
	l.allocated = u.allocated
	return u.spare >= max(leastSpare, u.live/spareShare) && u.spare > rate*calmFor && !now.Before(l.next)
}

// gave notes how long it took.
func (l *lull) gave(began, ended time.Time) { l.next = ended.Add(idleShare * ended.Sub(began)) }

// giveSpareBack gives memory back in every lull until ctx ends, and paces the collector.
func giveSpareBack(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	m := newHeapGauge()
	l, p := lull{allocated: m.read().allocated}, newPace()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		use := m.read()
		p.follow(use.live)
		if began := time.Now(); l.look(began, use) {
			debug.FreeOSMemory()
			l.gave(began, time.Now())
		}
	}
}

// heapGauge asks the runtime, which does not stop the program for it.
type heapGauge []metrics.Sample

func newHeapGauge() heapGauge {
	return heapGauge{
		{Name: "/gc/heap/allocs:bytes"}, {Name: "/gc/heap/live:bytes"}, {Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/free:bytes"}, {Name: "/memory/classes/heap/stacks:bytes"},
	}
}

func (m heapGauge) read() heapUse {
	metrics.Read(m)
	allocated, live, objects := m[0].Value.Uint64(), m[1].Value.Uint64(), m[2].Value.Uint64()
	free, stacks := m[3].Value.Uint64(), m[4].Value.Uint64()
	return heapUse{allocated: allocated, live: live + stacks, spare: free + max(objects, live) - live}
}
