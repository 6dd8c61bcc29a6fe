package redis

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

// A hearing is the time from one gap to the next: two connections to one server, one that is subscribed and one that
// publishes. Whatever happens to either ends it, and the next one begins with new connections, so that nothing is
// resubscribed without a gap being told.
//
// Two channels lie in one slot. On the common one go the messages of all nodes, each with the name of the hearing that
// published it and its number, so that a missing one is noticed; a beat there tells the last number. On its own one a
// node hears its own beats alone: as long as they come, what it publishes reaches the server and comes back.
const (
	beatEvery = 100 * time.Millisecond
	// maxSilent beats may stay away. They are counted in ticks of this process: one that stood still was not deaf.
	maxSilent = 4
	// tellEvery is how many beats lie between two on the common channel: each costs every node a message.
	tellEvery = 10
	// forgetAfter is when a publisher that tells nothing is forgotten: it ended, or is cut off and told its callers so.
	forgetAfter = 10 * time.Second
	// maxHeard bounds the publishers that are known: a fleet of hundreds whose connections break each second.
	maxHeard = 10_000

	pauseToHear   = 20 * time.Millisecond // before the next attempt; doubles up to the longest, with jitter
	longestToHear = 300 * time.Millisecond
)

type hearing struct {
	bus    *Bus
	id     string // 16 random bytes
	client *goredis.Client
	pubsub *goredis.PubSub

	beats  atomic.Int64  // own beats that were heard
	wanted chan struct{} // asks for a beat now

	asks  []*ask // in the order of their numbers; guarded by bus.mu
	asked uint64 // the last number; guarded by bus.mu

	publishers map[string]*publisher // owned by read
	sequence   uint64                // of the last message published; owned by publish

	ending sync.Once
	over   chan struct{}
	cause  error // set before over is closed
	mu     sync.Mutex
	conns  []net.Conn // guarded by mu: two, and those that failed before
	ended  bool       // guarded by mu
}

// publisher is another hearing, or this one, as it is heard.
type publisher struct {
	last uint64
	at   time.Time
}

// run is the life of the bus: one hearing after the other.
func (b *Bus) run() {
	pause := pauseToHear
	for !isClosed(b.db.closing) {
		h, err := b.listen()
		if err == nil {
			pause = pauseToHear
			b.hears(h)
			if err = h.serve(); !errors.Is(err, errClosed) {
				b.db.log.Warn("the bus has a gap", "err", plain(err))
			}
		} else {
			b.missed(err)
			b.follow(err)
		}
		select {
		case <-time.After(pause/2 + mathrand.N(pause)):
		case <-b.db.closing:
		}
		pause = min(2*pause, longestToHear)
	}
}

// follow finds the server that keeps the channels' slot now.
func (b *Bus) follow(err error) {
	if addr, moved := goredis.IsMovedError(err); moved {
		b.db.router.moved(metaGroup, addr)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), b.db.options.limits.call)
	defer cancel()
	_ = b.db.router.refresh(ctx) // the next attempt tells whether that helped
}

// listen opens the connections and subscribes.
func (b *Bus) listen() (*hearing, error) {
	s := b.db.router.owner(metaGroup)
	if s == nil {
		return nil, errNoOwner
	}
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails
	h := &hearing{
		bus: b, id: string(id[:]), wanted: make(chan struct{}, 1), over: make(chan struct{}),
		publishers: map[string]*publisher{string(id[:]): {at: time.Now()}},
	}
	// The shard's own dialler knows TLS, and under Sentinel who is master.
	to := s.client.Options()
	o := b.db.options.server(to.Addr, nil)
	o.PoolSize, o.TLSConfig = 1, nil
	o.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		return h.dial(ctx, to, network, addr)
	}
	h.client = goredis.NewClient(o)
	ctx, cancel := context.WithTimeout(context.Background(), b.db.options.limits.call)
	defer cancel()
	h.pubsub = h.client.SSubscribe(ctx)
	if err := h.subscribe(ctx); err != nil {
		h.end(err)
		h.close()
		return nil, fmt.Errorf("subscribe: %w", err)
	}
	return h, nil
}

func (h *hearing) common() string { return h.bus.db.keys.group(metaGroup) + "bus" }
func (h *hearing) own() string    { return h.common() + ":" + h.id }

func (h *hearing) subscribe(ctx context.Context) error {
	channels := []string{h.common(), h.own()}
	if err := h.pubsub.SSubscribe(ctx, channels...); err != nil {
		return err
	}
	for range channels {
		got, err := h.pubsub.ReceiveTimeout(ctx, dialLimit)
		if err != nil {
			return err
		}
		if s, is := got.(*goredis.Subscription); !is || s.Kind != "ssubscribe" {
			return fmt.Errorf("the server confirms nothing: %T", got)
		}
	}
	return nil
}

// serve hears and publishes until the hearing is over, and answers why.
func (h *hearing) serve() error {
	var workers sync.WaitGroup
	workers.Go(h.read)
	workers.Go(h.publish)
	h.end(h.watch())
	h.close()
	workers.Wait()
	return h.cause
}

// watch answers why the hearing ends, at the latest when its own beats stay away.
func (h *hearing) watch() error {
	tick := time.NewTicker(beatEvery)
	defer tick.Stop()
	for silent := 0; silent <= h.bus.db.options.limits.silent; silent++ {
		select {
		case <-tick.C:
			if h.beats.Swap(0) > 0 {
				silent = 0
			}
		case <-h.over:
			return h.cause
		case <-h.bus.db.closing:
			return errClosed
		}
	}
	return errSilent
}

var (
	errGap     = errors.New("the bus connects anew")
	errMissing = errors.New("a message of another node is missing")
)

// end tells the gap, once; serve then closes the connections.
func (h *hearing) end(cause error) {
	h.ending.Do(func() {
		h.cause = cause
		close(h.over)
		h.bus.gap(h)
	})
}

func (h *hearing) close() {
	h.mu.Lock()
	h.ended = true
	for _, c := range h.conns {
		_ = c.Close() // what waits on it ends
	}
	h.conns = nil
	h.mu.Unlock()
	_ = h.pubsub.Close()
	_ = h.client.Close()
}

// dial opens a connection that ends the hearing when it breaks. After that there is none: go-redis would resubscribe.
func (h *hearing) dial(ctx context.Context, to *goredis.Options, network, addr string) (net.Conn, error) {
	if isClosed(h.over) {
		return nil, errGap
	}
	c, err := to.Dialer(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ended {
		_ = c.Close()
		return nil, errGap
	}
	c = &heardConn{Conn: c, hearing: h}
	h.conns = append(h.conns, c)
	return c, nil
}

// heardConn ends its hearing with the first error.
type heardConn struct {
	net.Conn
	hearing *hearing
}

func (c *heardConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err != nil {
		c.hearing.end(err)
	}
	return n, err
}

func (c *heardConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if err != nil {
		c.hearing.end(err)
	}
	return n, err
}

// read takes what the server sends, until the connection ends.
func (h *hearing) read() {
	for {
		got, err := h.pubsub.Receive(context.Background()) // serve closes the connection
		if err == nil {
			err = h.take(got)
		}
		if err != nil {
			h.end(err)
			return
		}
	}
}

func (h *hearing) take(got any) error {
	m, is := got.(*goredis.Message)
	switch {
	case !is: // a subscription that ended, or was made again
		return fmt.Errorf("the server sent %T", got)
	case m.Channel == h.own():
		return h.takeBeat(m.Payload)
	}
	e, err := parseEnvelope(m.Payload)
	if err != nil {
		return err
	}
	if err := h.follows(e); err != nil {
		return err
	}
	if e.topic != "" {
		h.bus.deliver(h, e.topic, e.msg)
	}
	return nil
}

// takeBeat reads a beat of our own.
func (h *hearing) takeBeat(beat string) error {
	if len(beat) != 16 {
		return fmt.Errorf("a beat of %d bytes", len(beat))
	}
	h.beats.Add(1)
	if published := binary.BigEndian.Uint64([]byte(beat[8:])); h.publishers[h.id].last != published {
		return errMissing
	}
	h.bus.admit(h, binary.BigEndian.Uint64([]byte(beat)))
	return nil
}

// follows answers errMissing when a message between the last one of this publisher and e did not come.
func (h *hearing) follows(e envelope) error {
	now := time.Now()
	p := h.publishers[e.from]
	if p == nil { // it was there before us, or begins
		h.forget(now)
		if len(h.publishers) >= maxHeard {
			return errors.New("too many publishers")
		}
		h.publishers[e.from] = &publisher{last: e.sequence, at: now}
		return nil
	}
	expected := p.last
	if e.topic != "" {
		expected++
	}
	if e.sequence != expected {
		return errMissing
	}
	p.last, p.at = e.sequence, now
	return nil
}

func (h *hearing) forget(now time.Time) {
	for id, p := range h.publishers {
		if id != h.id && now.Sub(p.at) > forgetAfter {
			delete(h.publishers, id)
		}
	}
}
