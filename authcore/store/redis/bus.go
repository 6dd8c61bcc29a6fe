package redis

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"latchkey/authcore/store"
)

// backlog is how many messages a subscriber may be behind before its channel is closed, as in store/memory: whoever is
// further behind reads the records again anyway.
const backlog = 512

// maxPublishers is how many calls of Publish may wait; a revocation storm of one node is a few hundred.
const maxPublishers = 4096

// Bus keeps store.Bus over Redis' sharded publish and subscribe (7.0), whose messages stay on the server that keeps the
// channel's slot. A node has one connection that hears (hearing.go) and one on which all that it publishes goes in
// order; messages go to the subscribers from here. It is safe for concurrent use.
//
// Every channel is closed on every gap: a connection that breaks, a server that falls silent, an answer to a
// publication that stays away, a message missing among those of another node, and a reader that is too slow. After a
// gap nobody is subscribed to anything: the next Subscribe waits for the next connection.
type Bus struct {
	db           *DB
	publications chan *publication // unbuffered: the callers that wait are the queue

	mu         sync.Mutex // guards the rest
	topics     map[string]map[*subscriber]bool
	hearing    *hearing      // nil: nothing is heard
	changed    chan struct{} // closed when hearing or failed is set; then a new one
	since      time.Time     // when hearing was set or ended
	failed     error         // why the last attempt to hear did not succeed; nil: none failed since hearing ended
	publishing int
	gaps       uint64
	started    bool
	closed     bool
}

// publication is one call of Publish on its way.
type publication struct {
	topic string
	msg   []byte
	left  <-chan struct{} // closed when the caller does not wait any more
	done  chan error      // takes one without waiting
}

type subscriber struct {
	ch   chan []byte
	stop func() bool // ends the watch on its context
}

// BusState is what the bus tells of itself.
type BusState struct {
	Hears bool
	Since time.Time // that it does, or does not; zero: it was not used yet
	Cause string    // why not
	Gaps  uint64    // how often hearing ended, in all
}

func newBus(db *DB) *Bus {
	return &Bus{
		db: db, publications: make(chan *publication), changed: make(chan struct{}),
		topics: make(map[string]map[*subscriber]bool),
	}
}

// Publish keeps store.Bus. When it answers nil, Redis has sent the message to every node that hears it. While nothing
// is heard since an attempt failed, it fails at once.
func (b *Bus) Publish(ctx context.Context, topic string, msg []byte) error {
	if err := cmp.Or(store.CheckTopic(topic), store.CheckValue(msg), ctx.Err()); err != nil {
		return err
	}
	if err := b.enter(); err != nil {
		return err
	}
	defer b.leave()
	limited, cancel := context.WithTimeout(ctx, b.db.options.limits.call)
	defer cancel()
	// A copy, for a caller who leaves early has his message back while it is sent.
	p := &publication{topic: topic, msg: bytes.Clone(msg), left: limited.Done(), done: make(chan error, 1)}
	select {
	case b.publications <- p:
	case <-limited.Done():
		return b.late(ctx, "publish")
	case <-b.db.closing:
		return errClosed
	}
	select {
	case err := <-p.done:
		return err
	case <-limited.Done():
		return b.late(ctx, "publish, perhaps done")
	}
}

// enter counts a caller of Publish in, unless it would wait in vain.
func (b *Bus) enter() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.start()
	switch {
	case b.closed:
		return errClosed
	case b.publishing >= maxPublishers:
		return fmt.Errorf("%w: %d messages wait to be published", store.ErrUnavailable, b.publishing)
	case b.hearing == nil && b.failed != nil:
		return fmt.Errorf("publish: %w", unavailable(b.failed))
	}
	b.publishing++
	return nil
}

func (b *Bus) leave() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.publishing--
}

// late answers for a call whose time is over: its caller's, or that of any call.
func (b *Bus) late(ctx context.Context, what string) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return fmt.Errorf("%s: %w", what, unavailable(cmp.Or(b.failed, errSilent)))
}

// Subscribe keeps store.Bus. It answers when this node hears: the channel gets every message whose Publish begins then.
func (b *Bus) Subscribe(ctx context.Context, topic string) (<-chan []byte, error) {
	if err := cmp.Or(store.CheckTopic(topic), ctx.Err()); err != nil {
		return nil, err
	}
	limited, cancel := context.WithTimeout(ctx, b.db.options.limits.call)
	defer cancel()
	for {
		a, changed, err := b.ask(ctx, topic)
		if err != nil {
			return nil, err
		}
		var admitted, over <-chan struct{}
		if a != nil {
			admitted, over, changed = a.admitted, a.hearing.over, nil
		}
		select {
		case <-admitted:
			return a.s.ch, nil
		case <-over: // perhaps after it was admitted: then there was a gap already
		case <-changed:
		case <-limited.Done():
			if a != nil && !b.withdraw(a) {
				return a.s.ch, nil
			}
			return nil, b.late(ctx, "subscribe")
		}
	}
}

// ask is a subscription that waits until a beat sent after it is heard: what was published before is not for it.
type ask struct {
	ctx      context.Context
	topic    string
	hearing  *hearing
	number   uint64
	s        *subscriber
	admitted chan struct{}
	done     bool // admitted or withdrawn; guarded by Bus.mu
}

// ask gets in line at the hearing, or answers a channel that is closed when there may be one.
func (b *Bus) ask(ctx context.Context, topic string) (*ask, <-chan struct{}, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.start()
	if b.closed {
		return nil, nil, errClosed
	}
	h := b.hearing
	if h == nil {
		return nil, b.changed, nil
	}
	h.asked++
	a := &ask{
		ctx: ctx, topic: topic, hearing: h, number: h.asked,
		s: &subscriber{ch: make(chan []byte, backlog)}, admitted: make(chan struct{}),
	}
	h.asks = append(h.asks, a)
	select {
	case h.wanted <- struct{}{}:
	default: // a beat is on its way that is not sent yet
	}
	return a, nil, nil
}

// withdraw answers false when a was admitted already.
func (b *Bus) withdraw(a *ask) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if a.done {
		return false
	}
	a.done = true
	return true
}

// admit subscribes those who asked up to number.
func (b *Bus) admit(h *hearing, number uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(h.asks) > 0 && h.asks[0].number <= number {
		a := h.asks[0]
		h.asks = h.asks[1:]
		if a.done || b.hearing != h {
			continue
		}
		a.done = true
		if b.topics[a.topic] == nil {
			b.topics[a.topic] = make(map[*subscriber]bool)
		}
		b.topics[a.topic][a.s] = true
		a.s.stop = context.AfterFunc(a.ctx, func() { b.unsubscribe(a.topic, a.s) })
		close(a.admitted)
	}
}

// deliver hands msg to the topic's subscribers. It never waits: one that is too far behind is cut off.
func (b *Bus) deliver(h *hearing, topic, msg string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.hearing != h {
		return
	}
	for s := range b.topics[topic] {
		select {
		case s.ch <- []byte(msg):
		default:
			b.drop(topic, s)
		}
	}
}

func (b *Bus) unsubscribe(topic string, s *subscriber) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.drop(topic, s)
}

// drop closes the channel of s, once. The caller holds mu.
func (b *Bus) drop(topic string, s *subscriber) {
	if !b.topics[topic][s] {
		return
	}
	delete(b.topics[topic], s)
	if len(b.topics[topic]) == 0 {
		delete(b.topics, topic)
	}
	s.stop()
	close(s.ch)
}

// State is for /readyz and metrics.
func (b *Bus) State() BusState {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := BusState{Hears: b.hearing != nil, Since: b.since, Gaps: b.gaps}
	if b.failed != nil && b.hearing == nil {
		s.Cause = plain(b.failed)
	}
	return s
}

// close ends every subscription, and begins nothing any more.
func (b *Bus) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	b.cut()
	b.change()
}

// start begins to hear at the first call. The caller holds mu.
func (b *Bus) start() {
	if b.started || b.closed {
		return
	}
	b.started = true
	b.db.workers.Go(b.run)
}

// hears notes that h is up, unless it is over already.
func (b *Bus) hears(h *hearing) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed || isClosed(h.over) {
		return
	}
	b.hearing, b.failed, b.since = h, nil, time.Now()
	b.change()
}

// missed notes why an attempt to hear failed.
func (b *Bus) missed(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.since.IsZero() {
		b.since = time.Now()
	}
	b.failed = err
	b.change()
}

// change wakes those who wait for a hearing. The caller holds mu.
func (b *Bus) change() {
	close(b.changed)
	b.changed = make(chan struct{})
}

// gap closes every channel, if h was still heard. It comes after h.over is closed.
func (b *Bus) gap(h *hearing) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.hearing == h {
		b.cut()
	}
}

// cut ends what is heard. The caller holds mu.
func (b *Bus) cut() {
	if b.hearing == nil {
		return
	}
	b.hearing.asks = nil
	b.hearing, b.since = nil, time.Now()
	b.gaps++
	for topic, subscribers := range b.topics {
		for s := range subscribers {
			b.drop(topic, s)
		}
	}
}

var errSilent = errors.New("nothing is heard from the server")
