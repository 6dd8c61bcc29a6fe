package smtp

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"latchkey/authcore"
	"latchkey/proxy"
	"latchkey/proxy/proxytest"
	"latchkey/proxy/wire"
)

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// TestMemoryBeforeSignIn holds many dialogues in their most expensive states at once. They are under TLS, for AUTH is
// not spoken outside; what both ends of that cost is counted in.
func TestMemoryBeforeSignIn(t *testing.T) {
	const clients = 64
	const bound = 64 << 10
	long := strings.Repeat("x", 12<<10)
	name := "EHLO " + long[:maxHello] + "\r\n"
	for state, said := range map[string]string{
		"a line without end":     "EHLO " + long[:12200],
		"a command without end":  name + "AUTH PLAIN " + long[:12200],
		"a response":             name + "AUTH PLAIN\r\n" + long[:12200],
		"a name and a response":  name + "AUTH LOGIN\r\n" + b64(long[:1024]) + "\r\n" + long[:12200],
		"an initial response":    name + "AUTH LOGIN " + b64(long[:1024]) + "\r\n" + long[:12200],
		"cancelled, and another": name + "AUTH LOGIN " + b64(long[:1024]) + "\r\n*\r\nAUTH LOGIN\r\n" + long[:12200],
		"many commands at once":  strings.Repeat(name, maxBeforeAuth),
		"an attempt with more behind it": name + "AUTH PLAIN " + b64("\x00"+long[:1024]+"\x00"+long[:1024]) + "\r\n" +
			strings.Repeat("NOOP\r\n", 1500),
	} {
		t.Run(state, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if got := held(t, clients, said, long[:100]) / clients; got > bound {
					t.Errorf("%d octets a client, want at most %d", got, bound)
				} else {
					t.Logf("%d octets a client", got)
				}
			})
		})
	}
}

// held answers the memory of so many clients that have said this and wait, each at its own connection.
func held(t *testing.T, clients int, said, offered string) int64 {
	ctx, cancel := context.WithCancel(t.Context())
	ca := proxytest.NewCA(t)
	server, client := ca.Server(t, proxytest.DoorName), ca.Client(proxytest.DoorName)
	client.DynamicRecordSizingDisabled = true // the longest records cost most
	auth := proxytest.NewAuthenticator()
	auth.OnAuthenticate = func(ctx context.Context, _ authcore.Attempt, _ authcore.Decision) (authcore.Decision, error) {
		<-ctx.Done()
		return authcore.Decision{}, context.Cause(ctx)
	}
	door := New(Options{
		Hostname: proxytest.DoorName, TLS: server, Authenticator: auth,
		Offer: func(authcore.ConnInfo) []string { return []string{"SIZE", offered} },
	})
	octets := []byte(said)
	var wg sync.WaitGroup
	var ended atomic.Int32
	var ends []net.Conn
	before := heap()
	for range clients {
		ours, theirs := net.Pipe()
		ends = append(ends, theirs)
		wg.Go(func() {
			defer ended.Add(1)
			waits(ctx, t, door, server, ours)
		})
		wg.Go(func() {
			c := tls.Client(theirs, client)
			wg.Go(func() { swallow(c) })
			_, _ = c.Write(octets) // the door may be working on what came first
		})
	}
	synctest.Wait()
	got := heap() - before
	if n := ended.Load(); n > 0 {
		t.Errorf("%d dialogues have ended, and hold nothing", n)
	}
	cancel()
	for _, c := range ends {
		_ = c.Close()
	}
	wg.Wait()
	return got
}

// waits is a dialogue that ends when its client leaves.
func waits(ctx context.Context, t *testing.T, door *Protocol, cfg *tls.Config, ours net.Conn) {
	c := wire.New(ours, wire.Options{})
	defer func() { _ = c.Close() }()
	if err := c.ServerTLS(ctx, cfg, tlsTimeout); err != nil {
		t.Error(err)
		return
	}
	if _, err := door.Dialogue(ctx, c, proxy.WithTLS(authcore.ConnInfo{}, c.TLS())); !errors.Is(err, proxy.ErrGone) {
		t.Errorf("Dialogue: %v", err)
	}
}

// swallow reads what the door says with next to no buffer.
func swallow(c net.Conn) {
	p := make([]byte, 16)
	for {
		if _, err := c.Read(p); err != nil {
			return
		}
	}
}

func heap() int64 {
	runtime.GC()
	runtime.GC() // pools are emptied by the second
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
