package upstream

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"latchkey/authcore/secret"
	"latchkey/proxy"
	"latchkey/proxy/proxytest"
)

// fake is a text server on loopback that answers line by line.
type fake struct {
	greeting string
	tls      *tls.Config // before the greeting, or after a STARTTLS that was answered well
	implicit bool
	// answer gets a line and what the connection remembers, and answers the reply with its line ends; empty: it hangs up.
	answer func(line string, memory map[string]string) string

	mu    sync.Mutex
	heard []string // guarded by mu
}

// start serves until the test ends and answers host:port.
func (f *fake) start(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { f.serve(c) })
		}
	})
	t.Cleanup(func() { _ = ln.Close(); wg.Wait() })
	return ln.Addr().String()
}

func (f *fake) serve(c net.Conn) {
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	if f.implicit {
		c = tls.Server(c, f.tls)
	}
	if _, err := c.Write([]byte(f.greeting)); err != nil {
		return
	}
	memory := map[string]string{}
	r := bufio.NewReader(c)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		f.mu.Lock()
		f.heard = append(f.heard, line)
		f.mu.Unlock()
		reply := f.answer(line, memory)
		if _, err := c.Write([]byte(reply)); err != nil || reply == "" {
			return
		}
		if word := strings.ToUpper(line); f.tls != nil && !f.implicit && (strings.HasSuffix(word, "STARTTLS") || word == "STLS") {
			c = tls.Server(c, f.tls)
			r = bufio.NewReader(c)
			memory["tls"] = "yes"
		}
	}
}

func (f *fake) said(prefix string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, l := range f.heard {
		if strings.HasPrefix(l, prefix) {
			return true
		}
	}
	return false
}

// signer makes readable tokens.
func signer(_ context.Context, c Claims) (secret.String, error) {
	return secret.New("jwt." + c.Issuer + "." + c.Audience + "." + c.Subject), nil
}

// pool builds a Pool of servers, with what tests seldom care for filled in, and patient: the machine may be busy.
func pool(t *testing.T, servers ...Server) *Pool {
	t.Helper()
	return poolOf(t, Options{Servers: servers})
}

func poolOf(t *testing.T, o Options) *Pool {
	t.Helper()
	servers := o.Servers
	for i := range servers {
		fill(&servers[i])
	}
	o.Token, o.ProbeTimeout = signer, time.Minute
	o.SignInTimeout = cmp.Or(o.SignInTimeout, time.Minute)
	p, err := New(o)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	t.Cleanup(p.Close)
	return p
}

func fill(s *Server) {
	if s.TLS.Mode == "" {
		s.TLS.Mode = TLSNone
	}
	if s.Way == "" {
		s.Way = proxy.Master
	}
	if s.Way == proxy.Master && s.Master == "" {
		s.Master, s.Secret = "door", secret.New("master-secret")
	}
	if s.usesToken() && s.Token.Audience == "" {
		s.Token = TokenSettings{Audience: s.Name, Issuer: "https://door.example"}
	}
}

// caFile writes the CA's certificate.
func caFile(t *testing.T, ca *proxytest.CA) string {
	t.Helper()
	return write(t, "ca.pem", ca.PEM())
}
