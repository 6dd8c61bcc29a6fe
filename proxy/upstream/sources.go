package upstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
)

// The kernel tells connections apart by four words: our address and port, theirs and theirs. Toward one address of an
// upstream only our side is free, so one address of ours has as many connections there as net.ipv4.ip_local_port_range has
// ports, 28232 as Linux comes. Each source address has so many again, and so has each further address of the upstream.

// sources are the addresses of this host from which an upstream is dialled.
type sources struct {
	all     []netip.Addr
	turn    atomic.Uint32                                          // whose it is next
	control func(network, address string, c syscall.RawConn) error // of a socket, before it is bound; may be nil
}

func newSources(written []string) (*sources, error) {
	s := &sources{}
	if len(written) > 0 {
		s.control = bindLate
	}
	for _, w := range written {
		a, err := netip.ParseAddr(w)
		if err != nil {
			return nil, fmt.Errorf("source_addresses: %w", err)
		}
		s.all = append(s.all, a.Unmap())
	}
	return s, nil
}

// toward answers those from which address can be reached, each first in its turn. A host's name may stand for addresses of
// either family: which, is seen when it is dialled.
func (s *sources) toward(address string) []netip.Addr {
	if len(s.all) == 0 {
		return nil
	}
	to, err := netip.ParseAddr(hostOf(address))
	n := uint32(len(s.all))
	begin := s.turn.Add(1) % n
	var order []netip.Addr
	for i := range n {
		if a := s.all[(begin+i)%n]; err != nil || a.Is4() == to.Unmap().Is4() {
			order = append(order, a)
		}
	}
	return order
}

// errNoPort: it is this host that cannot connect, and the address may be well.
var errNoPort = errors.New("no port is free")

// dial connects to an address from the first source that can.
func (s *sources) dial(ctx context.Context, address string) (net.Conn, error) {
	if path, ok := strings.CutPrefix(address, unixPrefix); ok {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}
	var failed []error
	for _, from := range s.toward(address) {
		conn, err := s.dialFrom(ctx, from, address)
		if err == nil {
			return conn, nil
		}
		failed = append(failed, err)
		if !errors.Is(err, errNoPort) {
			break
		}
	}
	if len(failed) > 0 {
		return nil, errors.Join(failed...)
	}
	conn, err := (&net.Dialer{Control: s.control}).DialContext(ctx, "tcp", address) // TCP_NODELAY and keep-alive are on by default
	if errors.Is(err, syscall.EADDRNOTAVAIL) {
		err = fmt.Errorf("%w toward %s: give the upstream source_addresses, or more addresses: %w", errNoPort, address, err)
	}
	return conn, err
}

// dialFrom lets the kernel choose the port when it connects, when it knows all four words: a port that is bound before
// would be taken toward every upstream.
func (s *sources) dialFrom(ctx context.Context, from netip.Addr, address string) (net.Conn, error) {
	d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0)), Control: s.control}
	conn, err := d.DialContext(ctx, "tcp", address)
	var call *os.SyscallError
	var family *net.AddrError
	switch {
	case err == nil:
		return conn, nil
	case errors.As(err, &call) && call.Syscall == "bind":
		return nil, fmt.Errorf("%w: source_addresses: %s cannot be used, for it is no address of this host: give it to the host or leave it out: %w",
			errNoPort, from, err)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return nil, fmt.Errorf("%w from %s toward %s: name more source_addresses, or more addresses of the upstream: %w", errNoPort, from, address, err)
	case errors.As(err, &family):
		return nil, fmt.Errorf("%w: source_addresses: %s is of another family than %s: %w", errNoPort, from, address, err)
	}
	return nil, err
}

// usable says why an address cannot be dialled from.
func usable(from netip.Addr) error {
	ln, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0)))
	if err != nil {
		return err
	}
	return ln.Close()
}
