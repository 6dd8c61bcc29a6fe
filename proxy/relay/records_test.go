package relay_test

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/chacha20poly1305"

	"latchkey/proxy/relay"
	"latchkey/proxy/wire"
)

// records is a peer that speaks the records of TLS 1.3 itself, once crypto/tls has shaken hands for it and named its
// secrets: it asks for new keys at any time, pads, sends empty records, and ends with or without close_notify.
// RFC 8446 sections 4.6.3, 5 and 7.
type records struct {
	net.Conn         // a *net.TCPConn, whose own ways of copying would go round the records
	in       traffic // owned by the reader
	wire     []byte  // come, not yet opened; owned by the reader
	plain    []byte  // opened, not yet read; owned by the reader
	renewals int     // how often the other side has new keys; owned by the reader

	mu      sync.Mutex
	out     traffic // guarded by mu
	padding int     // of each record from now on; guarded by mu
}

// The content types.
const (
	alert       = 21
	handshake   = 22
	application = 23
)

const keyUpdate = 24 // a handshake message

// traffic is the keys of one direction.
type traffic struct {
	suite  uint16
	secret []byte
	aead   cipher.AEAD
	iv     []byte
	seq    uint64
}

func newTraffic(suite uint16, secret []byte) traffic {
	t := traffic{suite: suite, secret: secret}
	key := map[uint16]int{tls.TLS_AES_128_GCM_SHA256: 16}[suite]
	if key == 0 {
		key = 32
	}
	k, err := t.expand("key", key)
	if err == nil {
		t.iv, err = t.expand("iv", 12)
	}
	if err == nil {
		t.aead, err = newAEAD(suite, k)
	}
	if err != nil {
		panic(err) // keys of the right length
	}
	return t
}

func newAEAD(suite uint16, key []byte) (cipher.AEAD, error) {
	if suite == tls.TLS_CHACHA20_POLY1305_SHA256 {
		return chacha20poly1305.New(key)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

func (t *traffic) expand(label string, n int) ([]byte, error) {
	label = "tls13 " + label
	info := binary.BigEndian.AppendUint16(nil, uint16(n))
	info = append(append(append(info, byte(len(label))), label...), 0)
	h := func() hash.Hash { return sha256.New() }
	if t.suite == tls.TLS_AES_256_GCM_SHA384 {
		h = sha512.New384
	}
	return hkdf.Expand(h, t.secret, string(info), n)
}

func (t *traffic) renew() {
	next, err := t.expand("traffic upd", len(t.secret))
	if err != nil {
		panic(err)
	}
	*t = newTraffic(t.suite, next)
}

func (t *traffic) nonce() []byte {
	n := bytes.Clone(t.iv)
	binary.BigEndian.PutUint64(n[4:], binary.BigEndian.Uint64(n[4:])^t.seq)
	t.seq++
	return n
}

// seal makes one record.
func (t *traffic) seal(kind byte, p []byte, padding int) []byte {
	inner := append(append(bytes.Clone(p), kind), make([]byte, padding)...)
	head := binary.BigEndian.AppendUint16([]byte{application, 3, 3}, uint16(len(inner)+t.aead.Overhead()))
	return t.aead.Seal(head, t.nonce(), inner, head)
}

// Write sends p in records as large as may be.
func (c *records) Write(p []byte) (int, error) {
	n := 0
	for len(p) > n {
		part := p[n:min(len(p), n+1<<14)]
		if err := c.send(application, part); err != nil {
			return n, err
		}
		n += len(part)
	}
	return n, nil
}

// send seals and writes one record.
func (c *records) send(kind byte, p []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, err := c.Conn.Write(c.out.seal(kind, p, min(c.padding, 1<<14-len(p))))
	return err
}

// renew sends a KeyUpdate and asks for one if it is to.
func (c *records) renew(ask bool) error {
	message := []byte{keyUpdate, 0, 0, 1, 0}
	if ask {
		message[4] = 1
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	_, err := c.Conn.Write(c.out.seal(handshake, message, 0))
	c.out.renew()
	return err
}

// notify says that nothing more will come, and leaves TCP open.
func (c *records) notify() error { return c.send(alert, []byte{1, 0}) }

// tear sends half a record.
func (c *records) tear() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	record := c.out.seal(application, []byte("lost"), 0)
	_, err := c.Conn.Write(record[:len(record)/2])
	return err
}

func (c *records) Raw() net.Conn { return c.Conn }

func (c *records) CloseWrite() error { return errors.Join(c.notify(), wire.CloseWrite(c.Conn)) }

func (c *records) Close() error {
	_ = c.SetWriteDeadline(time.Now().Add(100 * time.Millisecond)) // the close_notify fits, or nobody reads
	_ = c.notify()
	return c.Conn.Close()
}

func (c *records) Read(p []byte) (int, error) {
	for len(c.plain) == 0 {
		if err := c.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, c.plain)
	c.plain = c.plain[n:]
	return n, nil
}

// next opens one record.
func (c *records) next() error {
	kind, p, err := c.open()
	switch {
	case err != nil:
		return err
	case kind == application:
		c.plain = p
	case kind == alert && len(p) == 2 && p[1] == 0:
		return io.EOF
	case kind == handshake && p[0] == keyUpdate:
		c.in.renew()
		c.renewals++
		if p[4] == 1 {
			return c.renew(false)
		}
	case kind == handshake: // session tickets
	default:
		return fmt.Errorf("record of type %d: %x", kind, p)
	}
	return nil
}

func (c *records) open() (kind byte, p []byte, err error) {
	for {
		if len(c.wire) >= 5 {
			if n := 5 + int(binary.BigEndian.Uint16(c.wire[3:])); len(c.wire) >= n {
				record := c.wire[:n]
				c.wire = c.wire[n:]
				return c.unseal(record)
			}
		}
		more := make([]byte, 32<<10)
		n, err := c.Conn.Read(more)
		c.wire = append(c.wire, more[:n]...)
		if err == io.EOF {
			return 0, nil, io.ErrUnexpectedEOF
		}
		if err != nil {
			return 0, nil, err
		}
	}
}

func (c *records) unseal(record []byte) (kind byte, p []byte, err error) {
	inner, err := c.in.aead.Open(nil, c.in.nonce(), record[5:], record[:5])
	if err != nil {
		return 0, nil, fmt.Errorf("open a record: %w", err)
	}
	inner = bytes.TrimRight(inner, "\x00")
	if len(inner) == 0 {
		return 0, nil, errors.New("a record of padding")
	}
	return inner[len(inner)-1], inner[:len(inner)-1], nil
}

// recordsOver is tlsOver with such a peer.
func recordsOver(t testing.TB, side relay.Side, pair [2]net.Conn) link {
	t.Helper()
	l := over(pair)
	single := &oneRecord{Conn: pair[1]}
	var secrets strings.Builder
	server := &tls.Config{Certificates: []tls.Certificate{certificate(t)}, MinVersion: tls.VersionTLS13}
	client := &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13}
	ours, cfg, reads, writes := l.door.ServerTLS, server, "SERVER", "CLIENT"
	theirs := tls.Client(single, withKeyLog(client, &secrets))
	if side == relay.Upstream {
		ours, cfg, reads, writes = l.door.ClientTLS, client, "CLIENT", "SERVER"
		server.SessionTicketsDisabled = true // they would be written under the keys that are taken over
		theirs = tls.Server(single, withKeyLog(server, &secrets))
	}
	shaken := make(chan error)
	go func() { shaken <- theirs.Handshake() }()
	if err := errors.Join(ours(context.Background(), cfg, time.Minute), <-shaken); err != nil {
		t.Fatal(err)
	}
	suite := theirs.ConnectionState().CipherSuite
	l.peer = &records{Conn: pair[1],
		in: newTraffic(suite, secretOf(t, secrets.String(), reads)), out: newTraffic(suite, secretOf(t, secrets.String(), writes))}
	return l
}

func withKeyLog(c *tls.Config, w io.Writer) *tls.Config {
	c = c.Clone()
	c.KeyLogWriter = w
	return c
}

func secretOf(t testing.TB, log, who string) []byte {
	for line := range strings.Lines(log) {
		if f := strings.Fields(line); f[0] == who+"_TRAFFIC_SECRET_0" {
			secret, err := hex.DecodeString(f[2])
			if err != nil {
				t.Fatal(err)
			}
			return secret
		}
	}
	t.Fatalf("no secret of the %s in %q", who, log)
	return nil
}

// oneRecord never reads beyond a record, so that what follows the handshake stays in the socket.
type oneRecord struct {
	net.Conn
	rest []byte
}

func (c *oneRecord) Read(p []byte) (int, error) {
	if len(c.rest) == 0 {
		head := make([]byte, 5)
		if _, err := io.ReadFull(c.Conn, head); err != nil {
			return 0, err
		}
		c.rest = append(head, make([]byte, binary.BigEndian.Uint16(head[3:]))...)
		if _, err := io.ReadFull(c.Conn, c.rest[5:]); err != nil {
			return 0, err
		}
	}
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

// Both sides ask for new keys while octets pass.
func TestNewKeys(t *testing.T) {
	journeys(t, noOptions, func(t *testing.T, r *rig) {
		for i := range 40 {
			for _, c := range []net.Conn{r.client, r.upstream} {
				if c, ok := c.(*records); ok {
					if err := c.renew(i%3 > 0); err != nil {
						t.Fatal(err)
					}
				}
			}
			line := strings.Repeat("x", i*i) + "\r\n"
			upstreamSays(t, r, line)
			go says(t, r.client, line)
			hears(t, r.upstream, line)
		}
		for _, c := range []net.Conn{r.client, r.upstream} {
			if c, ok := c.(*records); ok && c.renewals < 26 {
				t.Errorf("the relay has renewed its keys %d times", c.renewals)
			}
		}
		r.client.Close()
		hearsEnd(t, r.upstream, "")
		r.upstream.Close()
		r.endsWith(nil)
	})
}
