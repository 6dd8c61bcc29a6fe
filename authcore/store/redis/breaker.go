package redis

import (
	"fmt"
	"sync"
	"time"

	"latchkey/authcore/store"
)

// A breaker stands before one lane of a shard, so that a dead server holds neither connections nor callers, and a hung
// one only for the time of one call. Closed: calls go through. Open: they end at once. Half-open: one goes through on
// trial, and what becomes of it decides. A lane each, for writes may hang alone, when replicas do not acknowledge.
//
// It opens when one call spent its whole time, repeats included, without an answer: one broken connection is no such
// call, and whatever the server says, however bad, shows that it is there.
const (
	// shortestOpen and longestOpen are how long it stays open; each trial that fails doubles it. The longest is how late
	// a server that is back is noticed.
	shortestOpen = 200 * time.Millisecond
	longestOpen  = time.Second
	// maxWaiting callers wait for one lane: 4096 of them are some 40 ms of a busy server's work. Whoever comes behind
	// them would wait in vain.
	maxWaiting = 4096
)

// outcome is how a call ended, as far as it tells of the server.
type outcome uint8

const (
	unanswered outcome = iota // it spent its whole time
	answered                  // with whatever
	deserted                  // its caller went away before
)

// The names of a breaker's state, for metrics and /readyz.
const (
	BreakerClosed   = "closed"
	BreakerHalfOpen = "half-open"
	BreakerOpen     = "open"
)

// BreakerState is what a breaker tells of itself.
type BreakerState struct {
	State   string
	Since   time.Time // when it opened; zero while it is closed
	Cause   string    // why; names an address at most
	Waiting int       // callers
	Refused uint64    // calls that it ended at once, in all
}

type breaker struct {
	mu      sync.Mutex // guards the rest
	since   time.Time  // when it opened; zero: closed
	until   time.Time  // no trial before
	pause   time.Duration
	trial   bool   // one is under way
	cause   string // of the last failure
	waiting int
	refused uint64
}

func newBreaker() *breaker { return &breaker{} }

// allow answers store.ErrUnavailable while the breaker is open. Each call that is allowed ends with done.
func (b *breaker) allow() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.refuses(); err != nil {
		b.refused++
		return err
	}
	b.waiting++
	b.trial = !b.since.IsZero()
	return nil
}

// refuses answers why a call may not go through now. The caller holds mu.
func (b *breaker) refuses() error {
	switch {
	case b.waiting >= maxWaiting:
		return fmt.Errorf("%w: %d calls wait for redis", store.ErrUnavailable, b.waiting)
	case b.since.IsZero():
		return nil
	case b.trial || time.Now().Before(b.until):
		return fmt.Errorf("%w: redis was not reached since %s: %s", store.ErrUnavailable, b.since.UTC().Format(time.RFC3339), b.cause)
	}
	return nil
}

// done tells how a call that was allowed ended; err is why it was unanswered, and names no value.
func (b *breaker) done(end outcome, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waiting--
	switch end {
	case answered:
		b.pause, b.trial, b.since, b.cause = 0, false, time.Time{}, ""
	case deserted:
		b.trial = false // it tells nothing: the next one is the trial
	case unanswered:
		b.failed(err)
	}
}

// failed opens it, or leaves it open for longer. The caller holds mu.
func (b *breaker) failed(err error) {
	opened := !b.since.IsZero()
	if opened && !b.trial {
		return // it was under way when the breaker opened
	}
	now := time.Now()
	if !opened {
		b.since = now
	}
	b.pause = min(max(2*b.pause, shortestOpen), longestOpen)
	b.until, b.trial, b.cause = now.Add(b.pause), false, err.Error()
}

func (b *breaker) state() BreakerState {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := BreakerState{State: BreakerClosed, Since: b.since, Waiting: b.waiting, Refused: b.refused}
	if b.since.IsZero() {
		return s
	}
	s.State, s.Cause = BreakerOpen, b.cause
	if b.trial || !time.Now().Before(b.until) {
		s.State = BreakerHalfOpen
	}
	return s
}

// Breakers are the states of all breakers by what they stand before, "127.0.0.1:6379 writes": two for each server.
func (db *DB) Breakers() map[string]BreakerState {
	all := make(map[string]BreakerState)
	for _, s := range db.router.masters() {
		all[s.name+" reads"] = s.reads.state()
		all[s.name+" writes"] = s.writes.state()
	}
	return all
}
