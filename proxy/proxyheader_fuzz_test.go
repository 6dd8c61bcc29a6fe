package proxy

import (
	"bytes"
	"net"
	"testing"
	"time"
)

// given is a connection whose octets are all there.
type given struct {
	net.Conn
	r *bytes.Reader
}

func (g given) Read(p []byte) (int, error)      { return g.r.Read(p) }
func (g given) SetReadDeadline(time.Time) error { return nil }
func (g given) RemoteAddr() net.Addr            { return &net.TCPAddr{IP: net.IPv4(10, 1, 2, 3), Port: 1} }
func (g given) LocalAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(10, 1, 2, 4), Port: 2} }

// What follows a header is the client's, and must be left to the last octet, whatever the header says.
func FuzzReadHeader(f *testing.F) {
	v2 := string(signatureV2) + "\x21\x11\x00\x0c\x01\x01\x01\x01\x02\x02\x02\x02\x00\x03\x00\x04"
	for _, seed := range []string{
		"PROXY TCP4 1.1.1.1 2.2.2.2 3 4\r\n", "PROXY TCP6 2001:db8::1 2001:db8::2 3 4\r\n", "PROXY UNKNOWN\r\n", "PROXY UNKNOWN x\r\n",
		v2, string(signatureV2) + "\x20\x00\x00\x00", string(signatureV2) + "\x21\x31\x00\xd8", v2[:14] + "\x00\x10" + v2[16:] + "\x04\x00\x01x",
		"GET / HTTP/1.1\r\n", "",
	} {
		f.Add([]byte(seed))
	}
	const after = "\x16\x03\x01PROXY TCP4 9.9.9.9 9.9.9.9 9 9\r\n"
	f.Fuzz(func(t *testing.T, header []byte) {
		alone := given{r: bytes.NewReader(header)}
		want, err := readHeader(alone, time.Time{})
		if err != nil || alone.r.Len() > 0 {
			return
		}
		followed := given{r: bytes.NewReader(append(bytes.Clone(header), after...))}
		got, err := readHeader(followed, time.Time{})
		if err != nil || got != want || followed.r.Len() != len(after) {
			t.Errorf("followed by the client's octets: got %v, %v with %d left; want %v with %d left", got, err, followed.r.Len(), want, len(after))
		}
		if !got.client.IsValid() || !got.local.IsValid() {
			t.Errorf("no addresses: %v", got)
		}
	})
}
