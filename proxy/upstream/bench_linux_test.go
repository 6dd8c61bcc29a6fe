package upstream

import (
	"crypto/tls"
	"io"
	"net"
	"testing"
	"time"

	"latchkey/authcore"
	"latchkey/proxy/proxytest"
)

// The way to an upstream until its greeting has been read, dialled and warm. A warm one is waited for outside the time: what
// is measured is what a sign-in waits for.
func BenchmarkDial(b *testing.B) {
	for name, c := range map[string]struct {
		tls  bool
		warm int
	}{"clear": {}, "clear/warm": {warm: 4}, "tls": {tls: true}, "tls/warm": {tls: true, warm: 4}} {
		b.Run(name, func(b *testing.B) {
			p := benchPool(b, c.tls, c.warm)
			for range b.N {
				b.StopTimer()
				for p.servers["mail"].addresses[0].warm.count() < c.warm {
					time.Sleep(100 * time.Microsecond)
				}
				b.StartTimer()
				leg, err := p.Dial(b.Context(), authcore.Upstream{Name: "mail", User: "jane"}, authcore.ConnInfo{})
				if err != nil {
					b.Fatal(err)
				}
				if _, err := leg.ReadLine(200); err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				_ = leg.Close()
				b.StartTimer()
			}
		})
	}
}

// benchPool leads to a server that greets.
func benchPool(b *testing.B, under bool, warm int) *Pool {
	b.Helper()
	ca := proxytest.NewCA(b)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	s := Server{Name: "mail", Protocol: IMAP, Addresses: []string{ln.Addr().String()}, Warm: warm}
	if under {
		ln = tls.NewListener(ln, ca.Server(b, "localhost"))
		s.TLS = TLS{Mode: TLSOn, CAFile: write(b, "ca.pem", ca.PEM()), ServerName: "localhost"}
	}
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.WriteString(c, imapGreeting)
				_, _ = io.Copy(io.Discard, c)
				_ = c.Close()
			}()
		}
	}()
	b.Cleanup(func() { _ = ln.Close() })
	fill(&s)
	p, err := New(Options{Servers: []Server{s}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(p.Close)
	if warm > 0 {
		go p.keepWarm(b.Context(), p.servers["mail"], p.servers["mail"].addresses[0])
	}
	return p
}
