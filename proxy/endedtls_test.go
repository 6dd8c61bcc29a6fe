package proxy_test

import (
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/pires/go-proxyproto"
	"github.com/pires/go-proxyproto/tlvparse"

	"latchkey/proxy/proxytest"
)

// tlv is one of a PROXY header, without the library's checks.
func tlv(kind proxyproto.PP2Type, value string) string {
	return string([]byte{byte(kind), byte(len(value) >> 8), byte(len(value))}) + value
}

// ssl is PP2_TYPE_SSL: the client's bits, verify, and what more is said.
func ssl(client byte, more ...string) string {
	return tlv(proxyproto.PP2_TYPE_SSL, string([]byte{client, 0, 0, 0, 1})+strings.Join(more, ""))
}

func version(v string) string { return tlv(proxyproto.PP2_SUBTYPE_SSL_VERSION, v) }
func cipher(v string) string  { return tlv(proxyproto.PP2_SUBTYPE_SSL_CIPHER, v) }

// withTLVs is a header of version 2 for a client elsewhere, with TLVs as they are.
func withTLVs(t *testing.T, command proxyproto.ProtocolVersionAndCommand, tlvs string) string {
	t.Helper()
	h := header(t, 2, command, "203.0.113.9:7")
	if h[14] != 0 || h[15] != 12 {
		t.Fatalf("a header of %d octets", h[15])
	}
	n := 12 + len(tlvs)
	return h[:14] + string([]byte{byte(n >> 8), byte(n)}) + h[16:28] + tlvs
}

const suite = "TLS_AES_128_GCM_SHA256"

// Only the TLV of a listed load balancer, with its bit set and a version that our doors take, stands for TLS of our own.
func TestTLSThatEndedBefore(t *testing.T) {
	const set, unset = tlvparse.PP2_BITFIELD_CLIENT_SSL, 0
	sound := ssl(set, version("TLSv1.3"), cipher(suite))
	for name, tt := range map[string]struct {
		header          string
		version, cipher string
	}{
		"TLS 1.3":            {withTLVs(t, proxyproto.PROXY, sound), "TLSv1.3", suite},
		"TLS 1.2, no cipher": {withTLVs(t, proxyproto.PROXY, ssl(set, version("TLSv1.2"))), "TLSv1.2", ""},
		"among others": {
			withTLVs(t, proxyproto.PROXY, tlv(proxyproto.PP2_TYPE_AUTHORITY, "door.example")+sound+tlv(proxyproto.PP2_TYPE_NOOP, "")), "TLSv1.3", suite,
		},
		"none":                         {header(t, 2, proxyproto.PROXY, "203.0.113.9:7"), "", ""},
		"its bit is not set":           {withTLVs(t, proxyproto.PROXY, ssl(unset, version("TLSv1.3"), cipher(suite))), "", ""},
		"its bit alone of others":      {withTLVs(t, proxyproto.PROXY, ssl(0xfe, version("TLSv1.3"))), "", ""},
		"a version that we refuse":     {withTLVs(t, proxyproto.PROXY, ssl(set, version("TLSv1.1"), cipher("ECDHE-RSA-AES128-SHA"))), "", ""},
		"a version that nobody knows":  {withTLVs(t, proxyproto.PROXY, ssl(set, version("yes"))), "", ""},
		"version 1 cannot say it":      {header(t, 1, proxyproto.PROXY, "203.0.113.9:7"), "", ""},
		"a health check has no client": {withTLVs(t, proxyproto.LOCAL, sound), "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStage(t, behindBalancer)
				c := s.dial(balancer)
				go func() { _, _ = io.WriteString(c, tt.header+"IN a@new.example secret\r\n") }()
				c.expect("hello")
				c.expect("ok A B")
				info := s.auth.Attempts()[0].Conn
				if info.TLSVersion != tt.version || info.TLSCipher != tt.cipher {
					t.Errorf("got %q, %q; want %q, %q", info.TLSVersion, info.TLSCipher, tt.version, tt.cipher)
				}
			})
		})
	}
}

// A TLV that is said twice or not soundly ends the connection without a word.
func TestUnsoundTLV(t *testing.T) {
	const set = tlvparse.PP2_BITFIELD_CLIENT_SSL
	sound := ssl(set, version("TLSv1.3"), cipher(suite))
	for name, tlvs := range map[string]string{
		"cut off":                     sound[:len(sound)-1],
		"longer than the header":      string([]byte{byte(proxyproto.PP2_TYPE_SSL), 0xff, 0xff}) + "x",
		"too short":                   tlv(proxyproto.PP2_TYPE_SSL, "\x01\x00"),
		"empty":                       tlv(proxyproto.PP2_TYPE_SSL, ""),
		"without a version":           ssl(set, cipher(suite)),
		"an empty version":            ssl(set, version("")),
		"what it holds is cut off":    ssl(set, version("TLSv1.3"), "\x23\x00\x09x"),
		"twice":                       sound + sound,
		"twice, first without":        ssl(0) + sound,
		"a cipher with an end":        ssl(set, version("TLSv1.3"), cipher("a\r\nXCLIENT LOGIN=root")),
		"a cipher with a blank":       ssl(set, version("TLSv1.3"), cipher("a b")),
		"a cipher of another writing": ssl(set, version("TLSv1.3"), cipher("ä")),
		"a cipher without an end":     ssl(set, version("TLSv1.3"), cipher(strings.Repeat("A", 65))),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStage(t, behindBalancer)
				c := s.dial(balancer)
				_, _ = io.WriteString(c, withTLVs(t, proxyproto.PROXY, tlvs)+"IN a@new.example secret\r\n")
				c.expectClosed()
				if n := len(s.auth.Attempts()); n != 0 {
					t.Errorf("%d attempts were made", n)
				}
			})
		})
	}
}

// Where TLS is spoken here, what a header says of another one is not believed; and nobody else may say it at all.
func TestTLSOfOursComesFirst(t *testing.T) {
	ca := proxytest.NewCA(t)
	said := withTLVs(t, proxyproto.PROXY, ssl(tlvparse.PP2_BITFIELD_CLIENT_SSL, version("TLSv1.2"), cipher("OF-THE-BALANCER")))
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, func(s *stage) {
			behindBalancer(s)
			s.settings.TLS = ca.Server(t, "door.example")
		})
		raw := s.dial(balancer)
		go func() {
			_, _ = io.WriteString(raw, said)
			_, _ = io.WriteString(raw, "IN a@new.example secret\r\n") // no ClientHello
		}()
		_, _ = io.Copy(io.Discard, raw)
		if n := len(s.auth.Attempts()); n != 0 {
			t.Errorf("%d attempts were made without our TLS", n)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, func(s *stage) {
			s.settings.ProxyFrom = []netip.Prefix{netip.MustParsePrefix("10.9.0.0/16")}
		})
		c := s.dial(balancer)
		go func(c net.Conn) { _, _ = io.WriteString(c, said+"IN a@new.example secret\r\n") }(c)
		c.expect("hello")
		c.expect("bye")
		if n := len(s.auth.Attempts()); n != 0 {
			t.Errorf("%d attempts were made from a network that is not listed", n)
		}
	})
}
