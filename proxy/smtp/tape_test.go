package smtp

import (
	"bytes"
	"io"
	"net"
	"time"
)

// tape is a connection whose peer has said everything beforehand, in pieces of a few octets.
type tape struct {
	in    []byte
	piece int // octets a read; 0: all
	out   bytes.Buffer
}

func (t *tape) Read(p []byte) (int, error) {
	if len(t.in) == 0 {
		return 0, io.EOF
	}
	n := len(t.in)
	if t.piece > 0 {
		n = min(n, t.piece)
	}
	n = copy(p, t.in[:n])
	t.in = t.in[n:]
	return n, nil
}

func (t *tape) Write(p []byte) (int, error)      { return t.out.Write(p) }
func (t *tape) Close() error                     { return nil }
func (t *tape) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (t *tape) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (t *tape) SetDeadline(time.Time) error      { return nil }
func (t *tape) SetReadDeadline(time.Time) error  { return nil }
func (t *tape) SetWriteDeadline(time.Time) error { return nil }
