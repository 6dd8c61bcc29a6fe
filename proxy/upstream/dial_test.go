package upstream

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pires/go-proxyproto"
	"github.com/pires/go-proxyproto/tlvparse"

	"latchkey/authcore"
	"latchkey/authcore/secret"
	"latchkey/proxy"
	"latchkey/proxy/proxytest"
)

var someone = authcore.ConnInfo{
	ID: "c1", Client: netip.MustParseAddrPort("203.0.113.7:4711"), ClientVouched: true,
	Local: netip.MustParseAddrPort("198.51.100.1:993"), ServerName: "mail.new.example", TLSVersion: "TLSv1.3", TLSCipher: "TLS_AES_128_GCM_SHA256",
}

func member(upstream string) authcore.Upstream {
	return authcore.Upstream{Name: upstream, User: "m@new.example", Password: secret.New("account-password")}
}

func TestProxyHeader(t *testing.T) {
	with := func(change func(*authcore.ConnInfo)) authcore.ConnInfo {
		c := someone
		change(&c)
		return c
	}
	client := func(a string) authcore.ConnInfo {
		return with(func(c *authcore.ConnInfo) { c.Client = netip.MustParseAddrPort(a) })
	}
	for _, tt := range []struct {
		name string
		conn authcore.ConnInfo
		want string // empty: LOCAL
	}{
		{"IPv4", someone, "203.0.113.7:4711"},
		{"IPv6 client at an IPv4 door", client("[2001:db8::7]:4711"), "[2001:db8::7]:4711"},
		{"mapped", client("[::ffff:203.0.113.7]:4711"), "203.0.113.7:4711"},
		{"not vouched for", with(func(c *authcore.ConnInfo) { c.ClientVouched = false }), ""},
		{"loopback", client("127.0.0.1:4711"), ""},
		{"loopback, another", client("127.9.9.9:4711"), ""},
		{"loopback, IPv6", client("[::1]:4711"), ""},
		{"loopback, mapped", client("[::ffff:127.0.0.1]:4711"), ""},
		{"unspecified", client("0.0.0.0:4711"), ""},
		{"multicast", client("224.0.0.1:4711"), ""},
		{"nobody", with(func(c *authcore.ConnInfo) { c.Client = netip.AddrPort{} }), ""},
		{"door unknown", with(func(c *authcore.ConnInfo) { c.Local = netip.AddrPort{} }), ""},
		{"nothing at all", authcore.ConnInfo{}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, err := proxyHeader(tt.conn)
			if err != nil {
				t.Fatal(err)
			}
			raw, err := h.Format()
			if err != nil {
				t.Fatal(err)
			}
			got, err := proxyproto.Read(bufio.NewReader(strings.NewReader(string(raw))))
			if err != nil {
				t.Fatalf("not a header: %v", err)
			}
			if tt.want == "" {
				if !got.Command.IsLocal() || strings.Contains(string(raw), "TLSv1") {
					t.Errorf("header %q tells of the client, want LOCAL", raw)
				}
				return
			}
			if got.Command.IsLocal() || got.SourceAddr.String() != tt.want {
				t.Errorf("header names %v, want %v", got.SourceAddr, tt.want)
			}
			tlvs, err := got.TLVs()
			if err != nil {
				t.Fatal(err)
			}
			ssl, ok := tlvparse.FindSSL(tlvs)
			if version, _ := ssl.SSLVersion(); !ok || version != "TLSv1.3" || ssl.Verified() {
				t.Errorf("TLS facts: %v %q verified=%v", ok, version, ssl.Verified())
			}
		})
	}
}

func TestDialSendsProxyHeaderBeforeTLS(t *testing.T) {
	ca := proxytest.NewCA(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	seen := make(chan string, 1)
	go func() {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		defer func() { _ = c.Close() }()
		r := bufio.NewReader(c)
		h, err := proxyproto.Read(r)
		if err != nil {
			seen <- err.Error()
			return
		}
		first, _ := r.Peek(1)
		seen <- h.SourceAddr.String() + " then " + string(rune('0'+first[0]/22)) // 22: a TLS handshake record
	}()
	t.Cleanup(func() { _ = ln.Close() })
	p := pool(t, Server{Name: "mail", Protocol: IMAP, Addresses: []string{ln.Addr().String()}, Facts: FactsProxy,
		TLS: TLS{Mode: TLSOn, CAFile: caFile(t, ca)}})
	_, err = p.Dial(t.Context(), member("mail"), someone)
	if got := <-seen; got != "203.0.113.7:4711 then 1" {
		t.Errorf("upstream saw %q", got)
	}
	wantStep(t, err, "mail", StepTLS)
}

// wantStep asks that err names the upstream and the step, and holds no secret.
func wantStep(t *testing.T, err error, upstream string, step Step) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || e.Upstream != upstream || e.Step != step {
		t.Fatalf("error %v, want one of %s at %q", err, upstream, step)
	}
	for _, s := range []string{"master-secret", "account-password", "jwt.", "bWFzdGVy"} {
		if strings.Contains(err.Error(), s) {
			t.Errorf("error tells a secret: %v", err)
		}
	}
}

func TestDialTLS(t *testing.T) {
	ca, stranger := proxytest.NewCA(t), proxytest.NewCA(t)
	trusted, foreign := caFile(t, ca), caFile(t, stranger)
	f := &fake{greeting: "* OK ready\r\n", implicit: true, tls: ca.Server(t, "mail.internal"), answer: func(string, map[string]string) string { return "" }}
	at := f.start(t)
	for _, tt := range []struct {
		name string
		tls  TLS
		well bool
	}{
		{"verified by name", TLS{Mode: TLSOn, CAFile: trusted, ServerName: "mail.internal"}, true},
		{"name of the address", TLS{Mode: TLSOn, CAFile: trusted}, false},
		{"other CA", TLS{Mode: TLSOn, CAFile: foreign, ServerName: "mail.internal"}, false},
		{"system roots", TLS{Mode: TLSOn, ServerName: "mail.internal"}, false},
		{"insecure, spelled out", TLS{Mode: TLSOn, Insecure: true}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := pool(t, Server{Name: "mail", Protocol: IMAP, Addresses: []string{at}, TLS: tt.tls})
			leg, err := p.Dial(t.Context(), member("mail"), someone)
			if !tt.well {
				wantStep(t, err, "mail", StepTLS)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = leg.Close() }()
			if line, err := leg.ReadLine(100); err != nil || string(line) != "* OK ready" || leg.TLS() == nil {
				t.Errorf("greeting %q, %v, TLS %v", line, err, leg.TLS() != nil)
			}
		})
	}
}

func TestDialFillsLeg(t *testing.T) {
	at := (&fake{greeting: "hello\r\n", answer: func(string, map[string]string) string { return "" }}).start(t)
	base := Server{Name: "mail", Protocol: IMAP, Addresses: []string{at}}
	hidden := someone
	hidden.ClientVouched = false
	for _, tt := range []struct {
		name   string
		change func(*Server)
		conn   authcore.ConnInfo
		check  func(*proxy.Leg) bool
	}{
		{"master", func(*Server) {}, someone, func(l *proxy.Leg) bool {
			return l.SignIn.Way == proxy.Master && l.SignIn.Master == "door" && l.SignIn.Secret.Reveal() == "master-secret" && l.SignIn.User == "m@new.example"
		}},
		{"token", func(s *Server) { s.Way = proxy.Token }, someone, func(l *proxy.Leg) bool {
			token, err := l.SignIn.Token(t.Context())
			return err == nil && token.Reveal() == "jwt.https://door.example.mail.m@new.example" && l.SignIn.Secret.Empty()
		}},
		{"passthrough", func(s *Server) { s.Way = proxy.Passthrough }, someone, func(l *proxy.Leg) bool { return l.SignIn.Secret.Reveal() == "account-password" }},
		{"only passthrough gets the client's password", func(s *Server) { s.Protocol = SMTP; s.Way = proxy.XCLIENT }, someone, func(l *proxy.Leg) bool {
			return l.SignIn.Secret.Empty() && l.Facts.Send
		}},
		{"no facts", func(*Server) {}, someone, func(l *proxy.Leg) bool { return !l.Facts.Send }},
		{"facts by ID", func(s *Server) { s.Facts = FactsID }, someone, func(l *proxy.Leg) bool {
			return l.Facts.Send && l.Facts.Session == "c1" && l.Facts.Conn.Client == someone.Client
		}},
		{"nobody vouches", func(s *Server) { s.Facts = FactsID }, hidden, func(l *proxy.Leg) bool {
			return l.Facts.Send && !l.Facts.Conn.Client.IsValid()
		}},
		{"PROXY is no fact inside", func(s *Server) { s.Facts = FactsProxy }, someone, func(l *proxy.Leg) bool { return !l.Facts.Send }},
		{"no STARTTLS", func(*Server) {}, someone, func(l *proxy.Leg) bool { return l.StartTLS == nil && l.TLS() == nil }},
		{"STARTTLS", func(s *Server) { s.TLS = TLS{Mode: StartTLS, ServerName: "x"} }, someone, func(l *proxy.Leg) bool {
			return l.StartTLS.ServerName == "x" && !l.StartTLS.InsecureSkipVerify
		}},
		{"only door", func(s *Server) { s.AuthenticatesOnlyDoor = true }, someone, func(l *proxy.Leg) bool { return l.AuthenticatesOnlyDoor }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := base
			tt.change(&s)
			leg, err := pool(t, s).Dial(t.Context(), member("mail"), tt.conn)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = leg.Close() }()
			if leg.Name != "mail" || !tt.check(leg) {
				t.Errorf("leg %+v %+v", leg.SignIn, leg.Facts)
			}
		})
	}
}

func TestDialRefuses(t *testing.T) {
	dead := proxytest.Refusing(t)
	p := pool(t, Server{Name: "mail", Protocol: IMAP, Addresses: []string{dead}},
		Server{Name: "pass", Protocol: IMAP, Addresses: []string{dead}, Way: proxy.Passthrough},
		Server{Name: "dav", Protocol: HTTPProtocol, Addresses: []string{dead}, Way: Header, Header: "X-Remote-User"})
	_, err := p.Dial(t.Context(), member("mail"), someone)
	wantStep(t, err, "mail", StepConnect)
	_, err = p.Dial(t.Context(), authcore.Upstream{Name: "pass", User: "m"}, someone)
	wantStep(t, err, "pass", StepFind)
	_, err = p.Dial(t.Context(), member("dav"), someone)
	wantStep(t, err, "dav", StepFind)
	_, err = p.Dial(t.Context(), member("none"), someone)
	if wantStep(t, err, "none", StepFind); !errors.Is(err, ErrUnknown) {
		t.Errorf("error %v, want ErrUnknown", err)
	}
	if _, err = p.HTTP("mail"); err == nil {
		t.Error("HTTP answered for an IMAP server")
	}
}

func TestDialTriesAddressesInTurn(t *testing.T) {
	f := &fake{greeting: "* OK ready\r\n", answer: func(string, map[string]string) string { return "" }}
	alive := f.start(t)
	socket := "unix:" + filepath.Join(t.TempDir(), "none")
	p := pool(t, Server{Name: "mail", Protocol: IMAP, Addresses: []string{socket, alive}})
	for i := range 2 {
		leg, err := p.Dial(t.Context(), member("mail"), someone)
		if err != nil {
			t.Fatalf("dial %d: %v", i, err)
		}
		_ = leg.Close()
		h := p.Health()[0].Addresses
		if !h[1].Well {
			t.Errorf("after dial %d: %+v", i, h)
		}
	}
}

func TestDialUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "imap")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if c, err := ln.Accept(); err == nil {
			_, _ = io.WriteString(c, "* OK ready\r\n")
			_ = c.Close()
		}
	}()
	t.Cleanup(func() { _ = ln.Close(); <-done })
	leg, err := pool(t, Server{Name: "mail", Protocol: IMAP, Addresses: []string{"unix:" + path}}).Dial(t.Context(), member("mail"), someone)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = leg.Close() }()
	if line, err := leg.ReadLine(100); err != nil || string(line) != "* OK ready" {
		t.Errorf("greeting %q, %v", line, err)
	}
}

// A server that accepts and never speaks must not hold a sign-in longer than SignInTimeout.
func TestDialDeadlineHolds(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	for _, mode := range []TLSMode{TLSNone, TLSOn} {
		s := Server{Name: "mail", Protocol: IMAP, Addresses: []string{ln.Addr().String()}, TLS: TLS{Mode: mode}}
		fill(&s)
		p, err := New(Options{Servers: []Server{s}, SignInTimeout: 100 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		leg, err := p.Dial(context.Background(), member("mail"), someone)
		if err == nil {
			_, err = leg.ReadLine(100)
			_ = leg.Close()
		}
		if took := time.Since(began); err == nil || took > 3*time.Second {
			t.Errorf("TLS %s: %v after %v, want an error after 100 ms", mode, err, took)
		}
	}
}
