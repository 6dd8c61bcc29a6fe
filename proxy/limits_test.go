package proxy

import (
	"net/netip"
	"testing"
)

func TestSourceOf(t *testing.T) {
	for name, tt := range map[string]struct{ a, want string }{
		"IPv4":           {"192.0.2.7", "192.0.2.7/32"},
		"IPv4 in IPv6":   {"::ffff:192.0.2.7", "192.0.2.7/32"},
		"IPv6":           {"2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"},
		"IPv6 with zone": {"fe80::1%eth0", "fe80::/64"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := sourceOf(netip.MustParseAddr(tt.a)).String(); got != tt.want {
				t.Errorf("sourceOf(%s): got %s, want %s", tt.a, got, tt.want)
			}
		})
	}
}

func TestConnectionsFor(t *testing.T) {
	for name, tt := range map[string]struct {
		descriptors uint64
		want        int
		fails       bool
	}{
		"far too few": {64, 0, true},
		"too few":     {511, 0, true},
		"the least":   {512, 128, false},
		"usual":       {65536, 32640, false},
		"unlimited":   {1<<64 - 1, 2097024, false},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := connectionsFor(tt.descriptors)
			if got != tt.want || (err != nil) != tt.fails {
				t.Errorf("got %d, %v, want %d", got, err, tt.want)
			}
		})
	}
}

// A table of sources that keeps those who have left would grow without bound.
func TestSourcesAreForgotten(t *testing.T) {
	l := newLimits(2, 10)
	a := netip.MustParseAddr("192.0.2.7")
	first, ok := l.arrive(a)
	if !ok {
		t.Fatal("no room for the first")
	}
	second, ok := l.arrive(a)
	if !ok {
		t.Fatal("no room for the second")
	}
	if _, ok := l.arrive(a); ok {
		t.Error("room for a third")
	}
	first()
	first() // counts once
	if got := l.arriving.of[sourceOf(a)]; got != 1 {
		t.Errorf("counted after one has left: got %d, want 1", got)
	}
	second()
	if len(l.arriving.of) != 0 {
		t.Errorf("sources kept: %v", l.arriving.of)
	}
}
