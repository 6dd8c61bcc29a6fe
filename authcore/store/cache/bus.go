package cache

import (
	"bytes"
	"context"
	"encoding/json"
	"sync"
	"time"
)

// Topic is where batches are told on the bus.
const Topic = "records"

// change is told behind the node's name and a line break, so that a node passes over its own without decoding them.
// Without a partition it is of everything; revision 0 is not known.
type change struct {
	Partition string   `json:"partition"`
	Revision  int64    `json:"revision"`
	Names     []string `json:"names"`
}

func (m change) revision() int64 {
	if m.Revision == 0 {
		return whatever
	}
	return m.Revision
}

// telling is a change that must be told so many times more.
type telling struct {
	change
	left int
}

// maxUntold bounds what waits to be told. Past it everything is told to be changed, which costs the others their caches.
const maxUntold = 1024

// retryAfter is the pause between two tries to hear a broken bus, or to tell it.
const retryAfter = time.Second

// tell publishes t, and leaves to Run what is left to be told of it. False: the bus could not be told.
func (c *Cache) tell(ctx context.Context, t telling) bool {
	msg, err := json.Marshal(t.change)
	if err == nil {
		err = c.bus.Publish(context.WithoutCancel(ctx), Topic, append([]byte(c.o.Node+"\n"), msg...))
	}
	if err == nil {
		t.left--
	}
	if t.left > 0 {
		c.tellLater(t)
	}
	return err == nil
}

func (c *Cache) tellLater(l ...telling) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.untold)+len(l) > maxUntold {
		l, c.untold = []telling{{left: 2}}, nil // of which the second comes after what is being written now
	}
	c.untold = append(c.untold, l...)
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// tellAgain tells, until ctx ends, what could not be told and what may have been written after it was. The latter is
// dropped here as well.
func (c *Cache) tellAgain(ctx context.Context) {
	for {
		select {
		case <-c.wake:
		case <-ctx.Done():
			return
		}
		if !pause(ctx) {
			return
		}
		c.mu.Lock()
		l := c.untold
		c.untold = nil
		c.mu.Unlock()
		for i, t := range l {
			if t.Revision == 0 {
				c.apply(t.change)
			}
			if !c.tell(ctx, t) {
				c.tellLater(l[i+1:]...)
				break
			}
		}
	}
}

// apply drops what a change makes old.
func (c *Cache) apply(m change) {
	if m.Partition == "" {
		c.Empty()
		return
	}
	c.drop(m.Partition, m.Names, m.revision())
}

// Forget drops records of a partition, all of them if none is named, and what is being read of them.
func (c *Cache) Forget(partition string, names ...string) {
	if len(names) == 0 {
		names = c.heldOf(partition)
	}
	c.drop(partition, names, whatever)
}

func (c *Cache) heldOf(partition string) (names []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for n := range c.names[partition] {
		names = append(names, n)
	}
	for k := range c.stale { // after a gap alone
		if k.Partition == partition {
			names = append(names, k.Name)
		}
	}
	for k := range c.reads {
		if k.Partition == partition {
			names = append(names, k.Name)
		}
	}
	return names
}

// Run follows the bus until ctx ends. On a gap the cache is emptied, and keeps nothing until the bus is heard again.
func (c *Cache) Run(ctx context.Context) error {
	var beside sync.WaitGroup
	defer beside.Wait()
	beside.Go(func() { c.tellAgain(ctx) })
	defer c.deaf(true)
	for ctx.Err() == nil {
		ch, err := c.bus.Subscribe(ctx, Topic)
		if err != nil {
			c.deaf(true)
			pause(ctx)
			continue
		}
		c.deaf(false)
		for msg := range ch {
			c.hear(msg)
		}
		c.deaf(true)
	}
	return ctx.Err()
}

func (c *Cache) hear(msg []byte) {
	node, rest, ok := bytes.Cut(msg, []byte("\n"))
	if ok && string(node) == c.o.Node {
		return
	}
	var m change
	if !ok || json.Unmarshal(rest, &m) != nil {
		m = change{}
	}
	c.apply(m)
}

// pause answers false when ctx has ended.
func pause(ctx context.Context) bool {
	t := time.NewTimer(retryAfter)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
