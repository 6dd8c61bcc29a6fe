package lockout

import (
	"context"
	"hash/maphash"
	"maps"
	"sync"
	"time"

	"latchkey/authcore/store"
)

// Notes are the sources for which nothing was counted when a node of a fleet asked, so that it need not ask at each
// attempt. The first failure from a source voids its note on every node, over the bus; a gap of the bus voids all. The
// first step of the throttle comes at the third failure, long after the first was heard.
//
// A message that is lost without a gap leaves a note for as long as a held record of a fleet is trusted then. A throttle
// may be lost altogether: what limits guesses for good are records. nil notes nothing.
type Notes struct {
	Bus store.Bus
	Now func() time.Time

	mu    sync.Mutex
	hears bool                // without the bus nothing is noted; guarded by mu
	notes map[string]note     // by source; guarded by mu
	voids [voidStripes]uint64 // how often sources of a stripe were voided; guarded by mu
	seed  maphash.Seed        // guarded by mu; set when the bus is heard first
}

// note says of a source, until its time is over, that nothing is counted for it; or that something is and all were told.
type note struct {
	clean bool
	until time.Time
}

const (
	notesTopic  = "throttle"
	noteFor     = time.Minute
	maxNotes    = 16_384 // some 100 bytes each
	voidStripes = 64     // a read under way is spoilt by one void in so many
	hearAgain   = time.Second
)

// Run follows the bus until ctx ends.
func (n *Notes) Run(ctx context.Context) {
	for ctx.Err() == nil {
		heard, err := n.Bus.Subscribe(ctx, notesTopic)
		if err != nil {
			pauseFor(ctx, hearAgain)
			continue
		}
		n.hear(true)
		for source := range heard {
			n.void(string(source))
		}
		n.hear(false)
	}
}

// hear begins anew, for messages may have been lost.
func (n *Notes) hear(hears bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.seed, n.notes, n.hears = maphash.MakeSeed(), map[string]note{}, hears
	for i := range n.voids {
		n.voids[i]++
	}
}

// clean says that nothing is counted for source. If it cannot say so, asked is what keep wants to hear when the store has.
func (n *Notes) clean(source string) (clean bool, asked uint64) {
	if n == nil {
		return false, 0
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.hears {
		return false, 0
	}
	held := n.notes[source]
	return held.clean && n.Now().Before(held.until), *n.stripe(source)
}

// stripe needs mu, and that the bus is heard.
func (n *Notes) stripe(source string) *uint64 {
	return &n.voids[maphash.String(n.seed, source)%voidStripes]
}

// keep notes that nothing was counted for source, unless it was voided since clean answered asked.
func (n *Notes) keep(source string, asked uint64) {
	if n == nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.hears && *n.stripe(source) == asked {
		n.set(source, note{clean: true, until: n.Now().Add(noteFor)})
	}
}

// set needs mu.
func (n *Notes) set(source string, to note) {
	if len(n.notes) >= maxNotes {
		now := n.Now()
		maps.DeleteFunc(n.notes, func(_ string, held note) bool { return !now.Before(held.until) })
	}
	if len(n.notes) >= maxNotes {
		clear(n.notes)
	}
	n.notes[source] = to
}

// void forgets that source was clean, and remembers that everybody was told. told says that they were already.
func (n *Notes) void(source string) (told bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.hears {
		return false
	}
	held, now := n.notes[source], n.Now()
	*n.stripe(source)++
	if !held.clean && now.Before(held.until) {
		return true
	}
	n.set(source, note{until: now.Add(noteFor)})
	return false
}

// failed voids the note of a source from which so many distinct failures are counted now. The first one is told: whoever
// asks from then on finds it.
func (n *Notes) failed(ctx context.Context, source string, count int64) {
	if n == nil {
		return
	}
	if told := n.void(source); !told && count <= 1 {
		_ = n.Bus.Publish(ctx, notesTopic, []byte(source)) // who is not told forgets it within noteFor
	}
}

func pauseFor(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
