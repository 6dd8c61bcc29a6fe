package proxytest

import (
	"context"
	"net"
	"net/netip"
	"sync"

	"latchkey/authcore"
	"latchkey/proxy"
	"latchkey/proxy/wire"
)

// Dialer keeps proxy.Dialer: its upstreams are functions at the other end of a pipe.
type Dialer struct {
	// Upstream speaks as the real server and closes c; it runs in a goroutine that Wait waits for. Nil: Dial fails.
	Upstream func(c net.Conn)
	// OnDial, if set, is asked first: it may wait for ctx, or fail.
	OnDial func(ctx context.Context, u authcore.Upstream, c authcore.ConnInfo) error
	// Leg, if set, completes what Dial answers.
	Leg func(*proxy.Leg)

	mu    sync.Mutex
	dials int
	wg    sync.WaitGroup
}

var (
	upstreamAddr = netip.MustParseAddrPort("198.51.100.10:143")
	doorAddr     = netip.MustParseAddrPort("198.51.100.1:50000")
)

// Dial connects to Upstream.
func (d *Dialer) Dial(ctx context.Context, u authcore.Upstream, c authcore.ConnInfo) (*proxy.Leg, error) {
	d.mu.Lock()
	d.dials++
	d.mu.Unlock()
	if d.OnDial != nil {
		if err := d.OnDial(ctx, u, c); err != nil {
			return nil, err
		}
	}
	if d.Upstream == nil {
		return nil, &net.OpError{Op: "dial", Net: "pipe", Err: net.ErrClosed}
	}
	door, up := Pipe(doorAddr, upstreamAddr)
	d.wg.Go(func() { d.Upstream(up) })
	leg := &proxy.Leg{Conn: wire.New(door, wire.Options{}), Name: u.Name, SignIn: proxy.SignIn{User: u.User}}
	if d.Leg != nil {
		d.Leg(leg)
	}
	return leg, nil
}

// Dials answers how often Dial was called.
func (d *Dialer) Dials() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.dials
}

// Wait waits until every Upstream has returned.
func (d *Dialer) Wait() { d.wg.Wait() }
