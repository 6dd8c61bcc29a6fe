package smtp

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/authcore"
	"latchkey/proxy"
	"latchkey/proxy/proxytest"
	"latchkey/proxy/relay"
	"latchkey/proxy/wire"
)

// relayed is a session with the relay between its two ends.
type relayed struct {
	t                *testing.T
	client, upstream net.Conn
	session          *relay.Session
	end              chan relay.End
}

// newRelayed starts one over real sockets.
func newRelayed(t *testing.T) *relayed { return newRelayedOver(t, sockets) }

func newRelayedOver(t *testing.T, connected func(*testing.T) (a, b net.Conn)) *relayed {
	p := New(Options{Hostname: "door.example"})
	passage := p.Relay(
		&proxy.Login{Decision: authcore.Decision{Addresses: []string{"a@new.example"}, Session: "s1"}},
		proxy.Welcome{Capabilities: []string{"SIZE 10", "CHUNKING"}, AddReceived: true},
	)
	client, door := connected(t)
	leg, upstream := connected(t)
	r := &relayed{t: t, client: client, upstream: upstream, end: make(chan relay.End, 1)}
	engine := relay.New(relay.Settings{})
	r.session = engine.Start(wire.New(door, wire.Options{}), wire.New(leg, wire.Options{}), relay.Options{
		Splitter: passage.Splitter, Owner: relay.OnEnd(func(e relay.End) { r.end <- e }),
	})
	return r
}

// sockets are the two ends of a TCP connection that give up after a minute.
func sockets(t *testing.T) (a, b net.Conn) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	if a, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if b, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []net.Conn{a, b} {
		_ = c.SetDeadline(time.Now().Add(time.Minute))
		t.Cleanup(func() { _ = c.Close() })
	}
	return a, b
}

// pipes are the two ends of a connection in memory, for fake time.
func pipes(t *testing.T) (a, b net.Conn) {
	addr := netip.MustParseAddrPort("192.0.2.1:587")
	a, b = proxytest.Pipe(addr, addr)
	t.Cleanup(func() { _, _ = a.Close(), b.Close() })
	return a, b
}

func (r *relayed) send(c net.Conn, s string) {
	r.t.Helper()
	if _, err := io.WriteString(c, s); err != nil {
		r.t.Fatal(err)
	}
}

func (r *relayed) expect(c net.Conn, want string) {
	r.t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(c, got); err != nil || string(got) != want {
		r.t.Fatalf("got %q (%v), want %q", got[:n], err, want)
	}
}

// awaits is expect for another goroutine than the test's.
func (r *relayed) awaits(c net.Conn, want string) {
	got := make([]byte, len(want))
	if n, err := io.ReadFull(c, got); err != nil || string(got) != want {
		r.t.Errorf("got %q (%v), want %q", got[:n], err, want)
		_ = c.Close()
	}
}

// rest reads to the end, which is a reset or in order.
func (r *relayed) rest(c net.Conn) (got string, reset bool) {
	p, err := io.ReadAll(c)
	return string(p), errors.Is(err, syscall.ECONNRESET)
}

// openData leads a message to its 354, and its Received field upstream.
func (r *relayed) openData() {
	r.t.Helper()
	r.send(r.client, "MAIL FROM:<a@new.example>\r\nRCPT TO:<b@x>\r\nDATA\r\n")
	r.expect(r.upstream, "MAIL FROM:<a@new.example>\r\nRCPT TO:<b@x>\r\nDATA\r\n")
	r.send(r.upstream, "250 a\r\n250 b\r\n354 go\r\n")
	r.expect(r.client, "250 a\r\n250 b\r\n354 go\r\n")
	r.send(r.client, "Subject: x\r\n\r\n")
	r.expect(r.upstream, "Received: from unknown\r\n\tby door.example with ESMTPSA id s1;\r\n\t")
	date := make([]byte, len(time.RFC1123Z+"\r\n"))
	if _, err := io.ReadFull(r.upstream, date); err != nil {
		r.t.Fatal(err)
	}
	r.expect(r.upstream, "Subject: x\r\n\r\n")
}

func TestRelaySmuggling(t *testing.T) {
	r := newRelayed(t)
	r.openData()
	r.send(r.client, "hi\n.\r\nMAIL FROM:<b@new.example>\r\n")
	if got, _ := r.rest(r.client); got != replyBareInBody {
		t.Errorf("the client got %q", got)
	}
	if got, reset := r.rest(r.upstream); strings.Contains(got, "\n") || !reset {
		t.Errorf("the upstream got %q, reset %v", got, reset)
	}
	if e := <-r.end; !errors.Is(e.Cause, errBareInBody) {
		t.Errorf("cause: %v", e.Cause)
	}
}

func TestRelayCutInsideMessage(t *testing.T) {
	r := newRelayed(t)
	r.openData()
	r.session.Cut(proxy.ErrRevoked)
	if got, _ := r.rest(r.client); got != replyCut {
		t.Errorf("the client got %q", got)
	}
	if got, reset := r.rest(r.upstream); got != "" || !reset {
		t.Errorf("the upstream got %q, reset %v", got, reset)
	}
	if e := <-r.end; !errors.Is(e.Cause, proxy.ErrRevoked) {
		t.Errorf("cause: %v", e.Cause)
	}
}

// In fake time: the reply has 900 ms to come.
func TestRelayCutAfterTheDot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRelayedOver(t, pipes)
		r.openData()
		r.send(r.client, ".\r\n")
		r.expect(r.upstream, ".\r\n")
		r.session.Cut(proxy.ErrRevoked)
		r.send(r.upstream, "250 queued\r\n")
		if got, _ := r.rest(r.client); got != "250 queued\r\n"+replyCut {
			t.Errorf("the client got %q", got)
		}
		if got, reset := r.rest(r.upstream); got != "" || reset {
			t.Errorf("the upstream got %q, reset %v", got, reset)
		}
		<-r.end
	})
}

func TestRelayDrainInsideMessage(t *testing.T) {
	r := newRelayed(t)
	r.openData()
	r.session.Drain(proxy.ErrDrain, time.Minute)
	r.send(r.client, "hi\r\n")
	r.expect(r.upstream, "hi\r\n") // the session has heard of the drain by now
	r.send(r.client, ".\r\nMAIL FROM:<a@new.example>\r\n")
	r.expect(r.upstream, ".\r\n")
	r.send(r.upstream, "250 queued\r\n")
	if got, _ := r.rest(r.client); got != "250 queued\r\n"+replyShuttingDown {
		t.Errorf("the client got %q", got)
	}
	if got, reset := r.rest(r.upstream); got != "" || reset {
		t.Errorf("the upstream got %q, reset %v", got, reset)
	}
	if e := <-r.end; !errors.Is(e.Cause, proxy.ErrDrain) {
		t.Errorf("cause: %v", e.Cause)
	}
}

// A client that pipelines more recipients than anybody holds is slowed to the upstream's pace, and hears of each.
func TestRelayManyRecipients(t *testing.T) {
	r := newRelayed(t)
	const n, line, reply = 5000, "RCPT TO:<someone@other.example>\r\n", "250 2.1.5 ok\r\n"
	sent := make(chan error, 1)
	go func() {
		_, err := io.WriteString(r.client, strings.Repeat(line, n)+"QUIT\r\n")
		sent <- err
	}()
	go func() {
		for range n {
			r.awaits(r.upstream, line)
			_, _ = io.WriteString(r.upstream, reply) // who misses it is the client
		}
		r.awaits(r.upstream, "QUIT\r\n")
		_, _ = io.WriteString(r.upstream, "221 bye\r\n")
	}()
	r.expect(r.client, strings.Repeat(reply, n)+"221 bye\r\n")
	if err := <-sent; err != nil {
		t.Error(err)
	}
	if e := <-r.end; e.Cause != nil {
		t.Errorf("cause: %v", e.Cause)
	}
}

func BenchmarkScanBody(b *testing.B) {
	p := []byte(strings.Repeat(strings.Repeat("abcdefghi ", 7)+"12345\r\n", 400))
	b.SetBytes(int64(len(p)))
	for b.Loop() {
		if n, _, end := scanBody(p, lineStart); n != len(p) || end {
			b.Fatal(n, end)
		}
	}
}
