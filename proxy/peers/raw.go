package peers

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// patience bounds a whole raw session: past it something hangs.
const patience = 2 * time.Minute

// A rawConn is a connection on which a transcript says its lines itself. A failure ends the test.
type rawConn struct {
	t testing.TB
	c net.Conn
	r *bufio.Reader
	w io.Writer
}

// dialRaw connects; with TLS from the start if the endpoint says so.
func dialRaw(t testing.TB, e Endpoint) *rawConn {
	t.Helper()
	c, err := net.DialTimeout("tcp", e.Addr, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	r := &rawConn{t: t, c: c, r: bufio.NewReader(c), w: c}
	if e.Security == TLS {
		r.startTLS(e)
	}
	return r
}

func (r *rawConn) startTLS(e Endpoint) {
	r.t.Helper()
	c := tls.Client(r.c, tlsConfig(r.t, e))
	if err := c.Handshake(); err != nil {
		r.t.Fatalf("TLS with %s: %v", e.Addr, err)
	}
	r.c, r.r, r.w = c, bufio.NewReader(c), c
}

func tlsConfig(t testing.TB, e Endpoint) *tls.Config {
	t.Helper()
	pem, err := os.ReadFile(e.CA)
	if err != nil {
		t.Fatalf("read the authority's certificate: %v", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		t.Fatalf("no certificate in %s", e.CA)
	}
	host, _, err := net.SplitHostPort(e.Addr)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{RootCAs: pool, ServerName: host}
}

// send writes in one packet, as far as that can be asked for.
func (r *rawConn) send(s string) {
	r.t.Helper()
	if _, err := io.WriteString(r.w, s); err != nil {
		r.t.Fatalf("send %.60q: %v", s, err)
	}
}

// line reads one line, without its end.
func (r *rawConn) line() string {
	r.t.Helper()
	s, err := r.r.ReadString('\n')
	if err != nil {
		r.t.Fatalf("read a line: %v (so far %q)", err, s)
	}
	return strings.TrimRight(s, "\r\n")
}

func (r *rawConn) full(n int) []byte {
	r.t.Helper()
	b := make([]byte, n)
	if _, err := io.ReadFull(r.r, b); err != nil {
		r.t.Fatalf("read %d bytes: %v", n, err)
	}
	return b
}

// ends reads until the server closes and returns what was left.
func (r *rawConn) ends() string {
	r.t.Helper()
	b, err := io.ReadAll(r.r)
	if err != nil {
		r.t.Fatalf("wait for the end: %v", err)
	}
	return string(b)
}
