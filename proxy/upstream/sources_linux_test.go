package upstream

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"latchkey/authcore"
	"latchkey/proxy"
)

// quiet accepts and says nothing, until the test ends.
func quiet(t *testing.T, at string) string {
	t.Helper()
	ln, err := net.Listen("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	return ln.Addr().String()
}

// fromWhere answers the host of a connection's near end.
func fromWhere(c net.Conn) string {
	a, _ := netip.ParseAddrPort(c.LocalAddr().String())
	return a.Addr().String()
}

func dialled(t *testing.T, p *Pool, member string) *proxy.Leg {
	t.Helper()
	leg, err := p.Dial(t.Context(), authcore.Upstream{Name: "mail", User: member}, authcore.ConnInfo{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = leg.Close() })
	return leg
}

func TestSourcesTakeTurns(t *testing.T) {
	p := pool(t, Server{Name: "mail", Protocol: IMAP, Addresses: []string{quiet(t, "127.0.0.1:0")},
		SourceAddresses: []string{"127.0.0.2", "127.0.0.3", "127.0.0.4"}})
	count := map[string]int{}
	for range 9 {
		a, _ := netip.ParseAddrPort(dialled(t, p, "jane").LocalAddr().String())
		count[a.Addr().String()]++
	}
	for _, from := range []string{"127.0.0.2", "127.0.0.3", "127.0.0.4"} {
		if count[from] != 3 {
			t.Errorf("dialled %v, want three from each source", count)
		}
	}
}

// The port is chosen at connect: one port of one source serves two upstreams at the same time.
func TestSourcesBindLate(t *testing.T) {
	s, err := newSources([]string{"127.0.0.2"})
	if err != nil {
		t.Fatal(err)
	}
	narrow(t, s, 1)
	var ports []string
	for range 2 {
		conn, err := s.dial(t.Context(), quiet(t, "127.0.0.1:0"))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		ports = append(ports, conn.LocalAddr().String())
	}
	if ports[0] != ports[1] {
		t.Errorf("dialled from %v, want one port for both", ports)
	}
}

// narrow leaves n ports to the sockets of s, as if the others were taken: ip(7), IP_LOCAL_PORT_RANGE, Linux 6.3.
func narrow(t *testing.T, s *sources, n int) {
	t.Helper()
	before := s.control
	to := quiet(t, "127.0.0.1:0")
	every := n * max(1, len(s.all))
	for range 50 {
		low := ephemeral(t)
		var refused error
		s.control = func(network, address string, c syscall.RawConn) error {
			if before != nil {
				if err := before(network, address, c); err != nil {
					return err
				}
			}
			return c.Control(func(fd uintptr) {
				refused = unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_LOCAL_PORT_RANGE, (low+n-1)<<16|low)
			})
		}
		free := 0
		for range every { // a port that somebody listens at is not for us
			if conn, err := s.dial(t.Context(), to); err == nil {
				defer func() { _ = conn.Close() }()
				free++
			}
		}
		switch {
		case refused != nil:
			t.Skip("this kernel has no IP_LOCAL_PORT_RANGE: ports cannot be made scarce here")
		case free == every:
			return
		}
	}
	t.Fatal("found no free ports next to each other")
}

// ephemeral answers a port that was free a moment ago.
func ephemeral(t *testing.T) int {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	return ln.Addr().(*net.TCPAddr).Port
}

// When the ports of a source are taken toward an address the next source is dialled from, then the next address is dialled,
// and in the end the error says what to do. The address is not to blame.
func TestSourcesRunOut(t *testing.T) {
	one, other := quiet(t, "127.0.0.1:0"), quiet(t, "127.0.0.1:0")
	p := pool(t, Server{Name: "mail", Protocol: IMAP, Addresses: []string{one, other}, SourceAddresses: []string{"127.0.0.2", "127.0.0.3"}})
	narrow(t, p.servers["mail"].sources, 2)
	at := map[string]int{}
	for range 8 { // addresses × sources × ports
		leg := dialled(t, p, "jane")
		at[leg.RemoteAddr().String()]++
	}
	if at[one] != 4 || at[other] != 4 {
		t.Errorf("reached %v, want four at each address", at)
	}
	_, err := p.Dial(t.Context(), authcore.Upstream{Name: "mail", User: "jane"}, authcore.ConnInfo{})
	for _, want := range []string{"127.0.0.2", "127.0.0.3", "name more source_addresses, or more addresses"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q in it", err, want)
		}
	}
	for _, a := range p.Health()[0].Addresses {
		if !a.Well {
			t.Errorf("%s is said to be ill: %s", a.Address, a.Problem)
		}
	}
}

// Without source addresses the kernel chooses one, and the error names the key.
func TestPortsRunOut(t *testing.T) {
	p := pool(t, Server{Name: "mail", Protocol: IMAP, Addresses: []string{quiet(t, "127.0.0.1:0")}})
	narrow(t, p.servers["mail"].sources, 1)
	dialled(t, p, "jane")
	_, err := p.Dial(t.Context(), authcore.Upstream{Name: "mail", User: "jane"}, authcore.ConnInfo{})
	if !errors.Is(err, errNoPort) || !strings.Contains(err.Error(), "give the upstream source_addresses") {
		t.Errorf("got %v, want that source_addresses help", err)
	}
}

// A source that the host does not have is passed over, and doctor says so.
func TestSourceOfAnotherHost(t *testing.T) {
	p := pool(t, Server{Name: "mail", Protocol: IMAP, Addresses: []string{quiet(t, "127.0.0.1:0")}, SourceAddresses: []string{"192.0.2.1", "127.0.0.3"}})
	for range 4 {
		if a := dialled(t, p, "jane").LocalAddr().String(); !strings.HasPrefix(a, "127.0.0.3:") {
			t.Errorf("dialled from %s", a)
		}
	}
	found := patient{pool: p, s: p.servers["mail"]}
	found.settings()
	if l := found.findings; len(l) != 1 || l[0].Level != Failure || !strings.Contains(l[0].What, "192.0.2.1 cannot be used") {
		t.Errorf("doctor finds %+v", l)
	}
}

// Each address of an upstream is dialled from sources of its family.
func TestSourcesOfBothFamilies(t *testing.T) {
	six := quiet(t, "[::1]:0")
	p := pool(t, Server{Name: "mail", Protocol: IMAP, Addresses: []string{quiet(t, "127.0.0.1:0"), six}, SourceAddresses: []string{"127.0.0.2", "::1"}})
	s := p.servers["mail"]
	for _, a := range s.addresses {
		conn, err := s.connectOne(t.Context(), a, 1)
		if err != nil {
			t.Fatal(err)
		}
		want := "127.0.0.2"
		if a.at == six {
			want = "::1"
		}
		if got := fromWhere(conn); got != want {
			t.Errorf("%s dialled from %s, want %s", a.at, got, want)
		}
		_ = conn.Close()
	}
	name := net.JoinHostPort("localhost", strings.TrimPrefix(s.addresses[0].at, "127.0.0.1:")) // stands for either family
	conn, err := s.sources.dial(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if got := fromWhere(conn); got != "127.0.0.2" {
		t.Errorf("localhost dialled from %s", got)
	}
}

// HTTP servers are dialled from them too.
func TestSourcesOfHTTP(t *testing.T) {
	from := make(chan string, 1)
	dav := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case from <- r.RemoteAddr:
		default: // the first is enough
		}
	}))
	t.Cleanup(dav.Close)
	p := pool(t, Server{Name: "dav", Protocol: HTTPProtocol, Addresses: []string{dav.Listener.Addr().String()}, Way: Header, Header: "X-Remote-User",
		SourceAddresses: []string{"127.0.0.7"}})
	_, _ = p.Probe(t.Context(), "dav") // it is no DAV server
	if a := <-from; !strings.HasPrefix(a, "127.0.0.7:") {
		t.Errorf("dialled from %s", a)
	}
}
