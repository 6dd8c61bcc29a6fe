package memory

import (
	"bytes"
	"context"
	"sync"

	"latchkey/authcore/store"
)

// backlog is how many messages a subscriber may be behind before its channel is closed. A revocation storm of one
// administrator's action is a few hundred messages; whoever is further behind reads the records again anyway.
const backlog = 512

// Bus carries messages within the process. It is safe for concurrent use. The zero value is ready.
type Bus struct {
	mu     sync.Mutex
	topics map[string]map[*subscriber]bool // guarded by mu
	closed bool                            // guarded by mu
}

type subscriber struct {
	ch   chan []byte
	stop func() bool // ends the watch on its context
}

// NewBus makes one without subscribers.
func NewBus() *Bus { return &Bus{} }

// Publish keeps store.Bus. It never waits: a subscriber that is too far behind is cut off.
func (b *Bus) Publish(ctx context.Context, topic string, msg []byte) error {
	if err := store.CheckTopic(topic); err != nil {
		return err
	}
	if err := store.CheckValue(msg); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for s := range b.topics[topic] {
		select {
		case s.ch <- bytes.Clone(msg):
		default:
			b.drop(topic, s)
		}
	}
	return nil
}

// Subscribe keeps store.Bus.
func (b *Bus) Subscribe(ctx context.Context, topic string) (<-chan []byte, error) {
	if err := store.CheckTopic(topic); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, store.ErrUnavailable
	}
	s := &subscriber{ch: make(chan []byte, backlog)}
	if b.topics == nil {
		b.topics = make(map[string]map[*subscriber]bool)
	}
	if b.topics[topic] == nil {
		b.topics[topic] = make(map[*subscriber]bool)
	}
	b.topics[topic][s] = true
	s.stop = context.AfterFunc(ctx, func() { b.leave(topic, s) })
	return s.ch, nil
}

// Close ends every subscription.
func (b *Bus) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	for topic, subscribers := range b.topics {
		for s := range subscribers {
			b.drop(topic, s)
		}
	}
	return nil
}

func (b *Bus) leave(topic string, s *subscriber) {
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
