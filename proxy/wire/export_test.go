package wire

// Held is how many octets of buffer c holds now.
func (c *Conn) Held() int { return cap(c.buf) + cap(c.out) }
