package authcore

import "sync/atomic"

// maxCrowd bounds the attempts without a right app password that are being decided, recorded or held back at the same
// time. Each keeps its connection awake, about 60 KiB of stacks and buffers: so all of them take 64 MiB at most. With a
// hold of 2 s there is room for 500 refusals a second; those beyond are told to come again, and that is all they cost.
const maxCrowd = 1024

// crowd counts them.
type crowd struct{ n atomic.Int64 }

// enter counts t in; false: there is no room.
func (c *crowd) enter(t *trial) bool {
	if c.n.Add(1) > maxCrowd {
		c.n.Add(-1)
		return false
	}
	t.crowded = true
	return true
}

// leave counts t out, if it was in.
func (c *crowd) leave(t *trial) {
	if t.crowded {
		t.crowded = false
		c.n.Add(-1)
	}
}
