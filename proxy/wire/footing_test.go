package wire

import (
	"bytes"
	"net"
	"testing"
)

// said is a connection that has said all it will.
type said struct {
	net.Conn
	rest *bytes.Reader
}

func (s said) Read(p []byte) (int, error) { return s.rest.Read(p) }

// However the octets came before, a replaced connection is asked for what is left of a header or a body, and no more.
func TestFootingAsksForNoMoreThanItNeeds(t *testing.T) {
	record := func(n int) []byte {
		return append([]byte{23, 3, 3, byte(n >> 8), byte(n)}, make([]byte, n)...)
	}
	stream := bytes.Join([][]byte{record(1), record(300), record(0), record(16401), record(2)}, nil)
	ends := map[int]bool{}
	for at := 0; at < len(stream); {
		ends[at+headerSize] = true
		at += headerSize + int(stream[at+3])<<8 + int(stream[at+4])
		ends[at] = true
	}
	for before := range 400 {
		for _, step := range []int{1, 3, 1000} {
			f := &Footing{Conn: said{rest: bytes.NewReader(stream)}}
			at := 0
			for at < before {
				n, _ := f.Read(make([]byte, min(step, before-at)))
				at += n
			}
			f.Replace(f.Conn)
			for at < len(stream) {
				n, err := f.Read(make([]byte, 32<<10))
				if err != nil || n == 0 {
					t.Fatalf("after %d in steps of %d: read %d at %d, %v", before, step, n, at, err)
				}
				if at += n; !ends[at] {
					t.Fatalf("after %d in steps of %d: a read ends at %d, inside a header or body", before, step, at)
				}
			}
		}
	}
}
