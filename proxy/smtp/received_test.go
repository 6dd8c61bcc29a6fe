package smtp

import (
	"net/netip"
	"testing"
	"testing/synctest"
)

func TestReceived(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, c := range map[string]struct{ client, helo, want string }{
			"IPv4":        {"192.0.2.7:40000", "pc.example", "from pc.example ([192.0.2.7])"},
			"IPv4 mapped": {"[::ffff:192.0.2.7]:40000", "[192.0.2.7]", "from [192.0.2.7] ([192.0.2.7])"},
			"IPv6":        {"[2001:db8::7]:40000", "pc", "from pc ([IPv6:2001:db8::7])"},
			"unvouched":   {"", "", "from unknown"},
			"forged":      {"", "x by evil;\r\nBcc: b@x", "from x?by?evil???Bcc:?b?x"},
		} {
			tr := &trace{host: "door.example", helo: c.helo, id: "s1"}
			if c.client != "" {
				tr.client = netip.MustParseAddrPort(c.client)
			}
			want := "Received: " + c.want + "\r\n\tby door.example with ESMTPSA id s1;\r\n\tSat, 01 Jan 2000 00:00:00 +0000\r\n"
			if got := string(tr.field(false)); got != want {
				t.Errorf("%s: got %q, want %q", name, got, want)
			}
		}
	})
}
