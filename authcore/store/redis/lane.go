package redis

import (
	"context"
	"slices"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

// Bounds of one pipeline.
const (
	pipeCommands = 128     // commands: others wait for it
	pipeBytes    = 8 << 20 // there or back, for a record may have a megabyte, and a list too
)

// lane is the way of the calls of one kind: those that wait for a worker, in their order. Who gives up before a worker
// came is taken out, so that nothing of his is sent later.
type lane struct {
	*breaker               // bounds how many wait
	wake     chan struct{} // somebody waits; holds one

	mu      sync.Mutex
	waiting []*request // guarded by mu
	ended   error      // why nobody serves it any more; nil: it is served; guarded by mu
	answer  int        // bytes of a value that is read, about; guarded by mu

	used sync.Pool // of requests that were answered
}

func newLane() *lane { return &lane{breaker: newBreaker(), wake: make(chan struct{}, 1)} }

// request is one call on its way.
type request struct {
	cmds  []goredis.Cmder // not the caller's any more until done
	size  int             // as far as it is known before
	reads int             // commands that each answer a value
	err   error           // of the pipeline as a whole; read after done
	done  chan struct{}   // takes one without waiting
	late  *time.Timer     // runs while the caller waits
	after func(error)     // instead of done, for whom nobody waits
}

func (l *lane) request(cmds []goredis.Cmder) *request {
	req, _ := l.used.Get().(*request)
	if req == nil {
		req = &request{done: make(chan struct{}, 1), late: time.NewTimer(callLimit)}
		req.late.Stop()
	}
	req.cmds, req.size, req.reads = cmds, size(cmds), reads(cmds)
	return req
}

// end tells what became of the pipeline that a request was in. From then on it is its caller's.
func (r *request) end(err error) {
	if r.after != nil {
		r.after(err)
		return
	}
	r.err = err
	r.done <- struct{}{}
}

// send hands cmds to a worker and waits for it. After an error that is ctx's, or until's, the commands may still belong
// to the worker, and their words are left.
func (l *lane) send(ctx context.Context, until time.Time, cmds []goredis.Cmder) error {
	req := l.request(cmds)
	if err := l.put(req); err != nil {
		return err
	}
	req.late.Reset(time.Until(until))
	err := context.DeadlineExceeded
	select {
	case <-req.done:
		err = req.err
		req.late.Stop()
		req.cmds, req.err = nil, nil
		l.used.Put(req)
		return err
	case <-ctx.Done():
		err = ctx.Err()
	case <-req.late.C:
	}
	req.late.Stop()
	l.remove(req)
	leave(cmds)
	return err
}

// put gets a request in line, or answers why the lane has ended.
func (l *lane) put(req *request) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended != nil {
		return l.ended
	}
	l.waiting = append(l.waiting, req)
	l.call()
	return nil
}

// call wakes a worker, if none is awake. The caller holds mu.
func (l *lane) call() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// take takes those who wait, as many as go into one pipeline, and leaves the others to the next worker.
func (l *lane) take(taken []*request) []*request {
	l.mu.Lock()
	defer l.mu.Unlock()
	for n, bytes := 0, 0; len(taken) < len(l.waiting) && n < pipeCommands && bytes < pipeBytes; {
		req := l.waiting[len(taken)]
		taken = append(taken, req)
		n += len(req.cmds)
		bytes += req.size + req.reads*l.answer
	}
	l.waiting = slices.Delete(l.waiting, 0, len(taken))
	if len(l.waiting) > 0 {
		l.call()
		return taken
	}
	select {
	case <-l.wake: // of those who came while this worker woke up
	default:
	}
	return taken
}

func (l *lane) remove(req *request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if at := slices.Index(l.waiting, req); at >= 0 {
		l.waiting = slices.Delete(l.waiting, at, at+1)
	}
}

// learn looks how large the values are that were read. What is expected rises at once and falls slowly, so that a burst
// of large ones goes in one pipeline at most.
func (l *lane) learn(cmds []goredis.Cmder) {
	read, bytes := 0, 0
	for _, cmd := range cmds {
		if c, is := cmd.(*goredis.StringCmd); is && c.Err() == nil {
			read++
			bytes += len(c.Val())
		}
	}
	if read == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.answer = max(bytes/read, l.answer-l.answer/8)
}

// close ends those who wait, and who comes later, with why.
func (l *lane) close(why error) {
	l.mu.Lock()
	waiting := l.waiting
	l.waiting, l.ended = nil, why
	l.mu.Unlock()
	for _, req := range waiting {
		req.end(why)
	}
}
