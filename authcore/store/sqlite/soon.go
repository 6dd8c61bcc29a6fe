package sqlite

import (
	"context"
	"sync"
	"time"

	"latchkey/authcore/store"
)

// soonWithin is how long a batch that nobody waits for may wait for others. A commit costs ten times what one more batch in
// it does.
const soonWithin = 5 * time.Millisecond

// soon are batches whose callers go on meanwhile. The writer takes them when one of them is waited for, when there are
// enough of them, when it commits something else, and when the first has waited for soonWithin.
type soon struct {
	due   chan struct{} // takes one: the writer is to come
	timer *time.Timer   // rings when the first has waited long enough

	mu     sync.Mutex
	list   []*request // guarded by mu
	closed bool       // guarded by mu
}

func newSoon() *soon {
	s := &soon{due: make(chan struct{}, 1)}
	s.timer = time.AfterFunc(time.Hour, s.call)
	s.timer.Stop()
	return s
}

// ApplySoon keeps store.SoonApplier.
func (db *DB) ApplySoon(_ context.Context, partition string, ops []store.Op, done func(int64, error)) (hurry func()) {
	if err := store.CheckBatch(partition, ops); err != nil {
		done(0, err)
	} else if !db.soon.add(&request{ctx: context.Background(), partition: partition, ops: ops, size: bytesOf(ops), tell: done}) {
		done(0, errClosed)
	}
	return db.soon.hurry
}

// add answers false once the store is closed.
func (s *soon) add(req *request) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.list = append(s.list, req)
	switch len(s.list) {
	case 1:
		s.timer.Reset(soonWithin)
	case groupRequests / 2:
		s.call()
	}
	return true
}

// hurry has what waits committed now.
func (s *soon) hurry() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.list) > 0 {
		s.call()
	}
}

func (s *soon) call() {
	select {
	case s.due <- struct{}{}:
	default: // the writer is on its way
	}
}

// take moves what waits into a group of the writer's, as much as fits.
func (s *soon) take(group []*request) []*request {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, size := 0, 0
	for n < len(s.list) && n < groupRequests && size < groupBytes {
		size += s.list[n].size
		n++
	}
	group = append(group, s.list[:n]...)
	left := copy(s.list, s.list[n:])
	clear(s.list[left:])
	if s.list = s.list[:left]; left > 0 {
		s.call()
	} else {
		s.timer.Stop()
	}
	return group
}

// close lets nothing more in.
func (s *soon) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.timer.Stop()
}
