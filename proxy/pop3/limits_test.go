package pop3

import (
	"context"
	"errors"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"latchkey/authcore"
	"latchkey/proxy"
	"latchkey/proxy/wire"
)

// TestMemoryBeforeSignIn holds many dialogues in their most expensive states at once.
func TestMemoryBeforeSignIn(t *testing.T) {
	const clients = 64
	const bound = 64 << 10
	long := strings.Repeat("x", 12<<10)
	for name, said := range map[string]string{
		"a line without end":    "USER " + long[:12200],
		"a name and a password": "USER " + long[:1024] + "\r\nPASS " + long[:12200],
		"a response":            "AUTH PLAIN\r\n" + long[:12200],
		"an initial response":   "AUTH LOGIN " + b64(long[:1024]) + "\r\n" + long[:12200],
		"many commands at once": strings.Repeat("CAPA\r\n", 90),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				offer := func(authcore.ConnInfo) []string { return []string{"TOP", long[:100]} }
				door := New(Options{Auth: refuser{t}, Offer: offer})
				octets := []byte(said)
				before := heap()
				var wg sync.WaitGroup
				var ends []net.Conn
				for range clients {
					ours, theirs := net.Pipe()
					ends = append(ends, theirs)
					wg.Go(func() {
						c := wire.New(ours, wire.Options{})
						_, err := door.Dialogue(context.Background(), c, authcore.ConnInfo{TLSVersion: "TLSv1.3"})
						if !errors.Is(err, proxy.ErrGone) {
							t.Errorf("Dialogue: %v", err)
						}
						_ = c.Close()
					})
					wg.Go(func() { _, _ = theirs.Write(octets) })
					wg.Go(func() { swallow(theirs) })
				}
				synctest.Wait()
				got := (heap() - before) / clients
				t.Logf("%d octets a client", got)
				if got > bound {
					t.Errorf("%d octets a client, want at most %d", got, bound)
				}
				for _, c := range ends {
					_ = c.Close()
				}
				wg.Wait()
			})
		})
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
