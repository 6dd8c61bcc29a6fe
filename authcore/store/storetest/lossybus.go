package storetest

import (
	"context"
	"sync"
	"sync/atomic"

	"latchkey/authcore/store"
)

// LossyBus loses messages over another bus. Use it as one value.
type LossyBus struct {
	store.Bus
	Drops atomic.Bool // every message, without telling anybody
	Deaf  atomic.Bool // nobody can subscribe

	mu   sync.Mutex
	gaps []context.CancelFunc // of the subscriptions; guarded by mu
}

// Publish keeps store.Bus, but for what it loses.
func (b *LossyBus) Publish(ctx context.Context, topic string, msg []byte) error {
	if b.Drops.Load() {
		return nil
	}
	return b.Bus.Publish(ctx, topic, msg)
}

// Subscribe keeps store.Bus.
func (b *LossyBus) Subscribe(ctx context.Context, topic string) (<-chan []byte, error) {
	if b.Deaf.Load() {
		return nil, store.ErrUnavailable
	}
	ctx, cancel := context.WithCancel(ctx)
	b.mu.Lock()
	b.gaps = append(b.gaps, cancel)
	b.mu.Unlock()
	return b.Bus.Subscribe(ctx, topic)
}

// Gap ends every subscription.
func (b *LossyBus) Gap() {
	b.mu.Lock()
	gaps := b.gaps
	b.gaps = nil
	b.mu.Unlock()
	for _, cut := range gaps {
		cut()
	}
}
