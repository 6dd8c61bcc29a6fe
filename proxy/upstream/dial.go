package upstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"latchkey/authcore"
	"latchkey/proxy"
	"latchkey/proxy/wire"
)

// Dial reaches the upstream u.Name for the client c. The deadline of SignInTimeout, or that of ctx if it is earlier,
// stays on the Leg until it is detached. The caller owns the Leg and closes it.
func (p *Pool) Dial(ctx context.Context, u authcore.Upstream, c authcore.ConnInfo) (*proxy.Leg, error) {
	s, err := p.find(u.Name)
	if err != nil {
		return nil, err
	}
	signIn, err := p.signIn(s, u)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, p.o.SignInTimeout)
	defer cancel()
	conn, err := s.connect(ctx, c)
	if err != nil {
		return nil, err
	}
	deadline, _ := ctx.Deadline()
	w := wire.New(conn, wire.Options{Deadline: deadline})
	if s.TLS.Mode == TLSOn {
		if err := w.ClientTLS(ctx, s.tls, p.o.SignInTimeout); err != nil {
			_ = w.Close()
			return nil, s.fail(StepTLS, err)
		}
	}
	return s.leg(w, signIn, c), nil
}

func (s *server) leg(w *wire.Conn, signIn proxy.SignIn, c authcore.ConnInfo) *proxy.Leg {
	leg := &proxy.Leg{
		Conn: w, Name: s.Name, SignIn: signIn, AuthenticatesOnlyDoor: s.AuthenticatesOnlyDoor,
		Facts: proxy.Facts{
			Send: s.Facts == FactsID || s.Facts == FactsXCLIENT, Told: s.Facts == FactsProxy, Session: c.ID, Conn: c,
		},
	}
	if s.TLS.Mode == StartTLS {
		leg.StartTLS = s.tls
	}
	if !c.ClientVouched { // nobody vouches for it, so nobody is told
		leg.Facts.Conn.Client = authcore.ConnInfo{}.Client
	}
	return leg
}

// connect reaches one of the addresses and tells it of the client if PROXY protocol is the way of that.
func (s *server) connect(ctx context.Context, c authcore.ConnInfo) (net.Conn, error) {
	conn, err := s.connectAny(ctx)
	if err != nil {
		return nil, s.fail(StepConnect, err)
	}
	if s.Facts != FactsProxy {
		return conn, nil
	}
	if err := sendProxyHeader(ctx, conn, c); err != nil {
		_ = conn.Close()
		return nil, s.fail(StepProxyHeader, err)
	}
	return conn, nil
}

// connectAny tries the addresses in turn, from the one that worked last, each for its share of the time that is left.
func (s *server) connectAny(ctx context.Context) (net.Conn, error) {
	var failed []error
	n := len(s.Addresses)
	start := int(s.first.Load())
	for i := range n {
		at := (start + i) % n
		conn, err := s.connectOne(ctx, s.Addresses[at], n-i)
		if err == nil {
			s.first.Store(int64(at))
			return conn, nil
		}
		failed = append(failed, err)
		if ctx.Err() != nil {
			break
		}
	}
	return nil, errors.Join(failed...)
}

// connectOne leaves time for the addresses that may have to be tried after this one; left counts it too.
func (s *server) connectOne(ctx context.Context, address string, left int) (net.Conn, error) {
	timeout := s.timeout
	if deadline, ok := ctx.Deadline(); ok {
		timeout = min(timeout, time.Until(deadline)/time.Duration(left))
	}
	network := "tcp"
	if path, ok := strings.CutPrefix(address, unixPrefix); ok {
		network, address = "unix", path
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var d net.Dialer // TCP_NODELAY and keep-alive are on by default
	conn, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return conn, nil
}

// fail names the upstream and the step that failed. What names them already stays as it is.
func (s *server) fail(step Step, err error) error {
	var own *Error
	if errors.As(err, &own) {
		return err
	}
	return &Error{Upstream: s.Name, Step: step, Err: err}
}

// errNoPassword: the session was not opened with an account password, and the upstream wants to see one.
var errNoPassword = fmt.Errorf("way %s needs a session with an account password", proxy.Passthrough)
