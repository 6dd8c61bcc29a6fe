package proxy_test

import (
	"bytes"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pires/go-proxyproto"

	"latchkey/authcore"
	"latchkey/proxy"
	"latchkey/proxy/proxytest"
)

const balancer = "10.1.2.3:5000"

func behindBalancer(s *stage) {
	s.settings.ProxyFrom = []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}
}

// header makes a header of the library's, as a load balancer would.
func header(t *testing.T, version byte, command proxyproto.ProtocolVersionAndCommand, client string) string {
	t.Helper()
	h := proxyproto.HeaderProxyFromAddrs(version, net.TCPAddrFromAddrPort(netip.MustParseAddrPort(client)),
		net.TCPAddrFromAddrPort(netip.MustParseAddrPort("192.0.2.99:993")))
	h.Command = command
	p, err := h.Format()
	if err != nil {
		t.Fatal(err)
	}
	return string(p)
}

func TestHeaderOfAListedNetwork(t *testing.T) {
	long := proxyproto.HeaderProxyFromAddrs(2, net.TCPAddrFromAddrPort(netip.MustParseAddrPort("203.0.113.9:7")),
		net.TCPAddrFromAddrPort(netip.MustParseAddrPort("192.0.2.99:993")))
	if err := long.SetTLVs([]proxyproto.TLV{{Type: proxyproto.PP2_TYPE_AUTHORITY, Value: bytes.Repeat([]byte("x"), 1000)}}); err != nil {
		t.Fatal(err)
	}
	withTLV, err := long.Format()
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		header  string
		client  string // empty: the socket's
		vouched bool
	}{
		"v1":                  {header(t, 1, proxyproto.PROXY, "203.0.113.9:7"), "203.0.113.9:7", true},
		"v2":                  {header(t, 2, proxyproto.PROXY, "203.0.113.9:7"), "203.0.113.9:7", true},
		"v2, long":            {string(withTLV), "203.0.113.9:7", true},
		"v2, loopback":        {header(t, 2, proxyproto.PROXY, "127.0.0.1:7"), "127.0.0.1:7", false},
		"v1, unknown":         {"PROXY UNKNOWN\r\n", balancer, true},
		"v2, local":           {header(t, 2, proxyproto.LOCAL, "203.0.113.9:7"), balancer, true},
		"v1, shortest":        {"PROXY TCP4 1.1.1.1 2.2.2.2 3 4\r\n", "1.1.1.1:3", true},
		"v1, IPv6":            {"PROXY TCP6 2001:db8::1 2001:db8::2 3 4\r\n", "[2001:db8::1]:3", true},
		"v2, unspecified all": {header(t, 2, proxyproto.PROXY, "0.0.0.0:7"), "0.0.0.0:7", false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStage(t, behindBalancer)
				c := s.dial(balancer)
				go func() { _, _ = io.WriteString(c, tt.header+"IN a@new.example secret\r\n") }() // a pipe takes it as it is read
				c.expect("hello")
				c.expect("ok A B")
				info := s.auth.Attempts()[0].Conn
				if got := info.Client.String(); got != tt.client || info.ClientVouched != tt.vouched {
					t.Errorf("client: got %s, vouched %v; want %s, %v", got, info.ClientVouched, tt.client, tt.vouched)
				}
			})
		})
	}
}

// A listed network without a sound header is refused without a word, and no attempt is made.
func TestNoSoundHeader(t *testing.T) {
	v2 := header(t, 2, proxyproto.PROXY, "203.0.113.9:7")
	for name, tt := range map[string]struct {
		sent   string
		within time.Duration
	}{
		"none":                   {"IN a@new.example secret\r\n", 0},
		"nothing at all":         {"", 5 * time.Second},
		"v1, too long":           {"PROXY TCP4 " + strings.Repeat("1", 200), 0},
		"v1, without an end":     {"PROXY TCP4 1.1.1.1", 5 * time.Second},
		"v1, without CR":         {"PROXY TCP4 1.1.1.1 2.2.2.2 3 4\n", 0},
		"v1, no addresses":       {"PROXY TCP4 a b c d\r\n", 0},
		"v1, address of v6":      {"PROXY TCP4 2001:db8::1 2001:db8::2 3 4\r\n", 0},
		"v1, in small letters":   {"proxy tcp4 1.1.1.1 2.2.2.2 3 4\r\n", 0},
		"v2, wrong version":      {v2[:12] + "\x11" + v2[13:], 0},
		"v2, more than fits":     {v2[:14] + "\xff\xff" + strings.Repeat("x", 5000), 0},
		"v2, cut off":            {v2[:20], 5 * time.Second},
		"v2, too short for IPv4": {v2[:14] + "\x00\x04" + v2[16:20], 0},
		"TLS":                    {"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03\x00\x00", 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStage(t, behindBalancer)
				c := s.dial(balancer)
				_, _ = io.WriteString(c, tt.sent) // it may be closed before all of it
				within(t, tt.within, c.expectClosed)
				if n := len(s.auth.Attempts()); n != 0 {
					t.Errorf("%d attempts were made", n)
				}
			})
		})
	}
}

// A header from anywhere else ends the connection; nobody is who he says he is.
func TestForgedHeader(t *testing.T) {
	ca := proxytest.NewCA(t)
	for name, tt := range map[string]struct {
		header string
		greets bool
		change func(s *stage)
	}{
		"v1": {header(t, 1, proxyproto.PROXY, "203.0.113.9:7"), true, behindBalancer},
		"v2": {header(t, 2, proxyproto.PROXY, "203.0.113.9:7"), true, behindBalancer},
		"v1 where no network is listed": {
			header(t, 1, proxyproto.PROXY, "203.0.113.9:7"), true, func(*stage) {},
		},
		"v1 before TLS": {header(t, 1, proxyproto.PROXY, "203.0.113.9:7"), false, func(s *stage) {
			behindBalancer(s)
			s.settings.TLS = ca.Server(t, "door.example")
		}},
		"v2 before TLS": {header(t, 2, proxyproto.PROXY, "203.0.113.9:7"), false, func(s *stage) {
			behindBalancer(s)
			s.settings.TLS = ca.Server(t, "door.example")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStage(t, tt.change)
				c := s.dial("192.0.2.7:1")
				go func() { _, _ = io.WriteString(c, tt.header+"IN a@new.example secret\r\n") }()
				if tt.greets {
					c.expect("hello")
					c.expect("bye")
				} else if first, err := c.r.Peek(1); err == nil && first[0] != 0x15 { // a TLS alert at most
					t.Errorf("the door answered %q", first)
				}
				synctest.Wait()
				if n := len(s.auth.Attempts()); n != 0 {
					t.Errorf("%d attempts were made", n)
				}
				if got := s.metric("connections_open", "listener=front"); got != 0 {
					t.Errorf("open connections: got %v", got)
				}
			})
		})
	}
}

// The source limit counts those whom the header names, not the load balancer.
func TestSourceLimitBehindABalancer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, func(s *stage) {
			behindBalancer(s)
			s.options.MaxPerSource = 1
		})
		through := func(client string) *client {
			c := s.dial(balancer)
			_, _ = io.WriteString(c, header(t, 2, proxyproto.PROXY, client))
			return c
		}
		through("203.0.113.9:7").expect("hello")
		through("203.0.113.10:7").expect("hello")
		through("203.0.113.9:8").expect("no " + string(authcore.TooManyConnections) + ": " + proxy.TooManyOfSource)
	})
}

// For HTTP the same holds, before the first octet is read.
func TestHeaderListener(t *testing.T) {
	for name, tt := range map[string]struct {
		from, header string
		client       string // empty: refused
	}{
		"listed":                                {balancer, header(t, 2, proxyproto.PROXY, "203.0.113.9:7"), "203.0.113.9:7"},
		"listed, without":                       {balancer, "", ""},
		"not listed":                            {"192.0.2.7:1", "", "192.0.2.7:1"},
		"not listed, forged":                    {"192.0.2.7:1", header(t, 1, proxyproto.PROXY, "203.0.113.9:7"), ""},
		"not listed, forged in the binary form": {"192.0.2.7:1", header(t, 2, proxyproto.PROXY, "203.0.113.9:7"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				pipes := proxytest.NewListener(doorAddr)
				ln := proxy.HeaderListener(pipes, func() []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")} })
				defer ln.Close()
				go func() {
					c, err := pipes.Dial(tt.from)
					if err != nil {
						return
					}
					defer c.Close()
					_, _ = io.WriteString(c, tt.header+"GET / HTTP/1.1\r\n")
				}()
				c, err := ln.Accept()
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				p := make([]byte, 3)
				_, err = io.ReadFull(c, p)
				if (err != nil) != (tt.client == "") || err == nil && (string(p) != "GET" || c.RemoteAddr().String() != tt.client) {
					t.Errorf("got %q from %s, %v; want the client %q", p, c.RemoteAddr(), err, tt.client)
				}
			})
		})
	}
}

// A client of HTTP that is not listed is heard whole, however it is cut, unless what it says adds up to a PROXY header.
func TestHeaderCutIntoOctets(t *testing.T) {
	for said, heard := range map[string]string{
		"PROXIED /a HTTP/1.1": "PROXIED /a HTTP/1.1",
		"\r\n\r\nGET":         "\r\n\r\nGET",
		"PROXY TCP4 1.2.3.4":  "",
		header(t, 2, proxyproto.PROXY, "203.0.113.9:7"): "",
	} {
		synctest.Test(t, func(t *testing.T) {
			pipes := proxytest.NewListener(doorAddr)
			ln := proxy.HeaderListener(pipes, func() []netip.Prefix { return nil })
			defer ln.Close()
			go func() {
				c, err := pipes.Dial("192.0.2.7:1")
				if err != nil {
					return
				}
				defer c.Close()
				for i := range len(said) {
					_, _ = io.WriteString(c, said[i:i+1])
				}
			}()
			c, err := ln.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			got, err := io.ReadAll(c)
			if string(got) != heard || (err != nil) != (heard == "") {
				t.Errorf("of %q: got %q, %v; want %q", said, got, err, heard)
			}
		})
	}
}
