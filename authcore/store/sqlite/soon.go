package sqlite

import (
	"context"
	"sync"
	"time"

	"latchkey/authcore/store"
)

// A commit costs ten times what one more batch in it does, so those who come together share one. How many come together is
// what soon expects from how many came last: one alone waits for nobody, and in a storm the first waits a little.
const (
	patience     = time.Millisecond     // for each that is expected: where they come more seldom, commits are cheap enough
	mostPatience = 5 * time.Millisecond // of the first: less than anybody notices
	mostExpected = groupRequests / 2
)

// soon are batches whose callers go on meanwhile. The writer takes them when as many have come as are expected, when the
// first has waited long enough for them, and when it commits something else.
type soon struct {
	due   chan struct{} // takes one: the writer is to come
	timer *time.Timer   // rings when the first has waited long enough

	mu     sync.Mutex
	list   []*request // guarded by mu
	expect int        // so many came together, one at least; guarded by mu
	late   bool       // the first has waited long enough; guarded by mu
	closed bool       // guarded by mu
}

func newSoon() *soon {
	s := &soon{due: make(chan struct{}, 1), expect: 1}
	s.timer = time.AfterFunc(time.Hour, s.ring)
	s.timer.Stop()
	return s
}

// ApplySoon keeps store.SoonApplier.
func (db *DB) ApplySoon(_ context.Context, partition string, ops []store.Op, done func(int64, error)) {
	if err := store.CheckBatch(partition, ops); err != nil {
		done(0, err)
	} else if !db.soon.add(&request{ctx: context.Background(), partition: partition, ops: ops, size: bytesOf(ops), tell: done}) {
		done(0, errClosed)
	}
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
	case s.expect:
		s.call()
	case 1:
		s.timer.Reset(min(time.Duration(s.expect)*patience, mostPatience))
	}
	return true
}

// ring says that those who were expected do not come.
func (s *soon) ring() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.list) > 0 {
		s.late = true
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
	s.learn()
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

// learn expects as many as came, if more came or nobody else did in time. It needs mu.
func (s *soon) learn() {
	if came := min(len(s.list), mostExpected); came > s.expect || s.late && came > 0 {
		s.expect = came
	}
	s.late = false
}

// close lets nothing more in.
func (s *soon) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.timer.Stop()
}
