package relay_test

import (
	"io"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"latchkey/proxy/relay"
)

// updates are sealed KeyUpdates of so many octets, each of which asks for one, with the data that crypto/tls wants to see
// in between.
func (c *records) updates(octets int) (p []byte, data int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := 1; len(p) < octets; i++ {
		p = append(p, c.out.seal(handshake, []byte{keyUpdate, 0, 0, 1, 1}, 0)...)
		if c.out.renew(); i%16 == 0 {
			p = append(p, c.out.seal(application, []byte("x"), 0)...)
			data++
		}
	}
	return p, data
}

// A client that asks for new keys without end, each of which costs as much as many octets, gets its share of a shard and
// not more: whoever else is there hardly waits.
func TestNewKeysBesideOthers(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("there are shards on Linux only")
	}
	engine := relay.New(relay.Settings{})
	r := startOn(t, engine, recordsOver(t, relay.Client, tcpPair(t)), over(tcpPair(t)), relay.Options{})
	const reads, size = 12, 64 << 10 // of which the relay reads so much at once
	c := r.client.(*records)
	flood, data := c.updates(reads * size)
	go func() { _, _ = io.Copy(io.Discard, c.Conn) }() // its answers

	waits, taken := make([][]time.Duration, max(runtime.GOMAXPROCS(0), 2)), make(chan struct{})
	var all sync.WaitGroup
	for i := range waits { // one of them is on the same shard
		other := startOn(t, engine, over(tcpPair(t)), over(tcpPair(t)), relay.Options{})
		all.Go(func() { waits[i] = echoes(t, other, taken) })
	}
	began := time.Now()
	go func() { _, _ = c.Conn.Write(flood) }() // if it fails, too little comes
	if n, err := io.CopyN(io.Discard, r.upstream, data); err != nil {
		t.Fatalf("%d octets: %v", n, err)
	}
	read := time.Since(began) / reads
	close(taken)
	all.Wait()
	for _, w := range waits {
		slices.Sort(w)
		typical := w[len(w)/2]
		t.Logf("%d lines took %v, %v at most; what is read at once takes %v", len(w), typical, w[len(w)-1], read)
		if len(w) < reads || typical > read {
			t.Errorf("%d lines took %v, when what is read at once takes %v", len(w), typical, read)
		}
	}
}

// echoes are how long lines take to the upstream and back.
func echoes(t *testing.T, r *rig, until <-chan struct{}) (waits []time.Duration) {
	go func() { _, _ = io.Copy(r.upstream, r.upstream) }()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for p := []byte("a1 NOOP\r\n"); ; {
		began := time.Now()
		if _, err := r.client.Write(p); err != nil {
			t.Error(err)
			return waits
		}
		if _, err := io.ReadFull(r.client, p); err != nil {
			t.Error(err)
			return waits
		}
		waits = append(waits, time.Since(began))
		select {
		case <-until:
			return waits
		case <-tick.C:
		}
	}
}
