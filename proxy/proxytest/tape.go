package proxytest

import (
	"bytes"
	"io"
	"net"
	"time"
)

// Tape is a connection whose peer has said everything beforehand, in pieces of a few octets.
type Tape struct {
	In    []byte       // what the peer says; taken from the front
	Piece int          // octets a read; 0: all
	Out   bytes.Buffer // what was said to it
}

// Read answers the next piece, and io.EOF at the end.
func (t *Tape) Read(p []byte) (int, error) {
	if len(t.In) == 0 {
		return 0, io.EOF
	}
	n := len(t.In)
	if t.Piece > 0 {
		n = min(n, t.Piece)
	}
	n = copy(p, t.In[:n])
	t.In = t.In[n:]
	return n, nil
}

// Write and the others keep net.Conn; deadlines are none.
func (t *Tape) Write(p []byte) (int, error)      { return t.Out.Write(p) }
func (t *Tape) Close() error                     { return nil }
func (t *Tape) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (t *Tape) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (t *Tape) SetDeadline(time.Time) error      { return nil }
func (t *Tape) SetReadDeadline(time.Time) error  { return nil }
func (t *Tape) SetWriteDeadline(time.Time) error { return nil }
