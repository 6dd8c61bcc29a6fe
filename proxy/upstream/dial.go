package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"latchkey/authcore"
	"latchkey/proxy"
	"latchkey/proxy/wire"
)

// Dial reaches the upstream u.Name for the client c. The deadline of SignInTimeout, or that of ctx if it is earlier,
// stays on the Leg until it is detached. The caller owns the Leg and closes it.
func (p *Pool) Dial(ctx context.Context, u authcore.Upstream, c authcore.ConnInfo) (*proxy.Leg, error) {
	return p.dial(ctx, u, c, true)
}

// dial is Dial; warm: on a connection that was made ahead, if there is one.
func (p *Pool) dial(ctx context.Context, u authcore.Upstream, c authcore.ConnInfo, warm bool) (*proxy.Leg, error) {
	s, err := p.find(u.Name)
	if err != nil {
		return nil, err
	}
	signIn, err := p.signIn(s, u)
	if err != nil {
		return nil, err
	}
	ctx, cancel := within(ctx, p.o.SignInTimeout)
	defer cancel()
	order := choose(s.addresses, u.User, time.Now())
	if w, at := s.takeWarm(ctx, order, warm); w != nil {
		leg := s.leg(w, at, signIn, c)
		p.mayGoAgain(leg, u, c)
		return leg, nil
	}
	w, at, err := s.open(ctx, order, u.User, c)
	if err != nil {
		return nil, err
	}
	return s.leg(w, at, signIn, c), nil
}

// within is context.WithTimeout, which makes another context where the one there is ends earlier, too.
func within(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= d {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, d)
}

// open connects to one of the addresses, with TLS where that comes first.
func (s *server) open(ctx context.Context, order []*address, member string, c authcore.ConnInfo) (*wire.Conn, *address, error) {
	conn, at, err := s.connectTo(ctx, order, c)
	if err != nil {
		return nil, nil, err
	}
	deadline, _ := ctx.Deadline()
	w := wire.New(conn, wire.Options{Deadline: deadline})
	if s.TLS.Mode != TLSOn {
		return w, at, nil
	}
	if err := w.ClientTLS(ctx, s.tls, time.Until(deadline)); err != nil {
		_ = w.Close()
		s.came(at, member, err)
		return nil, nil, s.fail(StepTLS, err)
	}
	return w, at, nil
}

// came notes how a sign-in of a member went at an address. Only silence counts against it, and hanging up before an answer.
func (s *server) came(a *address, member string, err error) {
	switch {
	case err == nil:
		if a.answered(time.Now()) {
			s.log.Info("upstream address is back", "upstream", s.Name, "address", a.at)
		}
	case unheard(err) && a.unanswered(member, err, time.Now()):
		s.log.Error("upstream address accepts and does not answer", "upstream", s.Name, "address", a.at, "err", err)
	}
}

func unheard(err error) bool {
	for _, e := range []error{os.ErrDeadlineExceeded, context.DeadlineExceeded, io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.EPIPE} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

func (s *server) leg(w *wire.Conn, at *address, signIn proxy.SignIn, c authcore.ConnInfo) *proxy.Leg {
	leg := &proxy.Leg{
		Conn: w, Name: s.Name, SignIn: signIn, AuthenticatesOnlyDoor: s.AuthenticatesOnlyDoor,
		Facts: proxy.Facts{
			Send: s.Facts == FactsID || s.Facts == FactsXCLIENT, Told: s.Facts == FactsProxy, Session: c.ID, Conn: c,
		},
		Came: func(err error) { s.came(at, signIn.User, err) },
	}
	if s.TLS.Mode == StartTLS {
		leg.StartTLS = s.tls
	}
	if !c.ClientVouched { // nobody vouches for it, so nobody is told
		leg.Facts.Conn.Client = authcore.ConnInfo{}.Client
	}
	return leg
}

// connectTo reaches the first address that can be, and tells it of the client if PROXY protocol is the way of that.
func (s *server) connectTo(ctx context.Context, order []*address, c authcore.ConnInfo) (net.Conn, *address, error) {
	conn, at, err := s.connectAny(ctx, order)
	if err != nil {
		return nil, nil, s.fail(StepConnect, err)
	}
	if s.Facts != FactsProxy {
		return conn, at, nil
	}
	if err := sendProxyHeader(ctx, conn, c); err != nil {
		_ = conn.Close()
		return nil, nil, s.fail(StepProxyHeader, err)
	}
	return conn, at, nil
}

// connectAny tries the addresses in turn, each for its share of the time that is left.
func (s *server) connectAny(ctx context.Context, order []*address) (net.Conn, *address, error) {
	if len(order) == 0 {
		return nil, nil, s.downError()
	}
	var failed []error
	for i, a := range order {
		conn, err := s.connectOne(ctx, a, len(order)-i)
		if err == nil {
			return conn, a, nil
		}
		failed = append(failed, err)
		if ctx.Err() != nil {
			break
		}
	}
	return nil, nil, errors.Join(failed...)
}

// connectOne leaves time for the addresses that may have to be tried after this one; left counts it too. What it finds is
// remembered of the address, unless the caller gave up first.
func (s *server) connectOne(parent context.Context, a *address, left int) (net.Conn, error) {
	timeout := s.timeout
	if deadline, ok := parent.Deadline(); ok {
		timeout = min(timeout, time.Until(deadline)/time.Duration(left))
	}
	ctx, cancel := context.WithTimeout(parent, timeout)
	defer cancel()
	conn, err := s.sources.dial(ctx, a.at)
	switch {
	case err == nil:
		a.connected(time.Now())
		return conn, nil
	case errors.Is(parent.Err(), context.Canceled) || blameless(err):
	case a.failed(err, time.Now()):
		s.log.Error("upstream address is down", "upstream", s.Name, "address", a.at, "err", err)
	}
	return nil, err
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
