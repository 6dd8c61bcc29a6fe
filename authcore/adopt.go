package authcore

import "latchkey/authcore/session"

// Adopt enters a session that another process of this node opened, gave up with the store and still serves until it has
// drained: it is listed, counts, and is judged as if it had begun here. The first look of the net at its domain judges it
// for what was revoked between. Ended must follow.
func (c *Core) Adopt(d session.Door) {
	c.doors.Adopt(d)
	if c.told() {
		c.fleet.sweepSoon() // its seat is told with the next heartbeat: that of the other process is a dead one's
	}
}
