package wire

import "net"

// Footing is what the *tls.Conn of a Conn stands on. Who has got that *tls.Conn from Detach may put another connection
// beneath it, to carry on without the one that was accepted or dialled. It has one owner at a time, as the Conn has.
type Footing struct {
	net.Conn
	records  records
	replaced bool
}

// Raw answers what is beneath.
func (f *Footing) Raw() net.Conn { return f.Conn }

// Replace puts c beneath. From now on no Read asks c for more than leads to the end of what crypto/tls needs next, a
// record's header or its body: what it is given beyond that it must keep, in a buffer that grows.
func (f *Footing) Replace(c net.Conn) { f.Conn, f.replaced = c, true }

func (f *Footing) Read(p []byte) (int, error) {
	if f.replaced {
		p = p[:min(len(p), f.records.rest())]
	}
	n, err := f.Conn.Read(p)
	f.records.follow(p[:n])
	return n, err
}

// records follows where in a TLS record a stream is: RFC 8446 section 5.1, the same in TLS 1.2.
type records struct {
	header uint8  // octets of the present header that have passed
	body   uint16 // octets of the present body that are to come; while the header passes, what it has said so far
}

const headerSize = 5 // type, version, and the body's length in the last two octets

// rest is how many octets lead to the end of the present header or body.
func (r *records) rest() int {
	if r.header < headerSize {
		return headerSize - int(r.header)
	}
	return int(r.body)
}

// follow takes note of p.
func (r *records) follow(p []byte) {
	for len(p) > 0 {
		n := min(len(p), r.rest())
		if r.header == headerSize {
			r.body -= uint16(n)
		} else {
			r.head(p[:n])
		}
		if p = p[n:]; r.header == headerSize && r.body == 0 {
			*r = records{}
		}
	}
}

// head takes note of octets of a header.
func (r *records) head(p []byte) {
	for _, b := range p {
		if r.header++; r.header > headerSize-2 {
			r.body = r.body<<8 | uint16(b)
		}
	}
}
