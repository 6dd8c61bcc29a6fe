package proxy

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime/debug"
	"time"

	"latchkey/authcore"
	"latchkey/proxy/wire"
)

// visit is a connection from accept to an allowed attempt. What comes after is a signIn, and then a session of the relay.
type visit struct {
	server *Server
	l      Listener
	raw    net.Conn // as accepted
	began  time.Time

	ends   ends
	client *wire.Conn
	cancel context.CancelCauseFunc // ends all that run does
	depart func()                  // counts out of those who have not signed in; nil before it was counted in
	event  *event
	how    conclusion // unless the relay has the connection
	given  bool       // the relay has the connection
}

var (
	errUpstream = errors.New("upstream")
	errTooMany  = errors.New("too many connections")
	errPanic    = errors.New("panic")
)

// deepen grows the stack at once to what a TLS handshake needs, or the account of a session's end. Else it doubles several times
// within that, and every frame is moved each time: a fortieth of a sign-in.
//
//go:noinline
func deepen(i int) byte {
	if i == 0 { // always, which the compiler does not know
		return 0
	}
	var room [10 << 10]byte // the stack has it from the beginning; only here would it be wiped
	return room[i]
}

// run is the connection's goroutine. room: it was counted in, else it is only told that there is none.
func (v *visit) run(base context.Context, room bool) {
	deepen(0)
	v.event = &event{id: rand.Text(), listener: v.l.Name, protocol: v.l.Protocol.Name(), began: v.began}
	v.server.o.Metrics.connections.WithLabelValues(v.l.Name).Inc()
	ctx, cancel := context.WithCancelCause(base)
	v.cancel = cancel
	defer cancel(nil)
	defer v.over(room)
	defer v.recovered()
	if err := v.serve(ctx, room); !v.given { // else the event is the session's
		v.how = concluded(err)
	}
}

// serve answers why there is no session; nil: there is one.
func (v *visit) serve(ctx context.Context, room bool) error {
	if err := v.identify(); err != nil {
		return err
	}
	login, err := v.meet(ctx, room)
	if err != nil {
		return err
	}
	return v.signIn(ctx, login)
}

// meet leads to an allowed attempt. The end of ctx breaks off whatever is read or written meanwhile.
func (v *visit) meet(ctx context.Context, room bool) (*Login, error) {
	defer v.client.CloseOn(ctx)()
	if !room {
		return nil, v.turnAway(tooManyInAll)
	}
	depart, ok := v.server.limits.arrive(v.ends.client.Addr())
	if !ok {
		if !v.server.limits.refuse() {
			return nil, errTooMany
		}
		defer v.server.limits.refused()
		return nil, v.turnAway(tooManyOfSource)
	}
	v.depart = depart
	info, err := v.secure()
	if err != nil {
		return nil, err
	}
	return v.dialogue(ctx, info)
}

// identify finds out who is there: the socket's peer, or whom a listed one vouches for.
func (v *visit) identify() error {
	v.ends = endsOf(v.raw)
	conn := v.raw
	var err error
	switch {
	case listed(v.l.ProxyFrom, v.ends.client.Addr()):
		v.ends, err = readHeader(v.raw, v.began.Add(headerTime))
	case v.l.TLS == nil: // under TLS a header is no ClientHello
		conn = &unheralded{Conn: v.raw}
	}
	v.event.client = v.ends.client
	v.client = wire.New(conn, wire.Options{Deadline: v.began.Add(signInTime), Trace: v.l.Trace})
	return err
}

// secure does the implicit TLS handshake, if there is one, and answers what is known of the connection. TLS that ended at
// the load balancer counts where none is spoken here. What ends meet ends the handshake.
func (v *visit) secure() (authcore.ConnInfo, error) {
	info := authcore.ConnInfo{
		ID: v.event.id, Listener: v.l.Name, Client: v.ends.client, ClientVouched: vouched(v.ends.client.Addr()),
		Local: v.ends.local, DefaultDomain: v.l.DefaultDomain,
	}
	if v.l.TLS == nil {
		v.event.tls = v.ends.tls.version
		return v.ends.tls.onto(info), nil
	}
	if err := v.client.ServerTLS(context.Background(), v.l.TLS, helloTime); err != nil {
		return info, fmt.Errorf("%w: %w", ErrGone, err) // a client that does not trust us, or a scanner
	}
	info = WithTLS(info, v.client.TLS())
	v.event.tls = info.TLSVersion
	return info, nil
}

// vouched says whether an address may be told upstream. A loopback one may not, whoever says it: what is local to us
// has rights there that our clients have not.
func vouched(a netip.Addr) bool {
	return a.IsValid() && !a.Unmap().IsLoopback() && !a.IsUnspecified() && !a.IsMulticast()
}

// What a client is told of the limit that it ran into; that of a member at a door is the core's.
const (
	tooManyInAll    = "Too many connections in all: try again later"
	tooManyOfSource = "Too many connections from your network that have not signed in: close some and try again"
)

// turnAway tells a client that there are too many, and of what.
func (v *visit) turnAway(text string) error {
	v.server.o.Metrics.refused.WithLabelValues(v.l.Name, string(authcore.TooManyConnections)).Inc()
	v.event.reason = authcore.TooManyConnections
	if _, err := v.secure(); err != nil {
		return err
	}
	if err := v.l.Protocol.Refuse(v.client, authcore.TooManyConnections, text); err != nil {
		return fmt.Errorf("refuse: %w", err)
	}
	return errTooMany
}

// dialogue speaks with the client until an attempt is allowed.
func (v *visit) dialogue(ctx context.Context, info authcore.ConnInfo) (*Login, error) {
	login, err := v.l.Protocol.Dialogue(ctx, v.client, info)
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, err
	}
	if !login.Decision.Allowed() {
		return nil, errors.New("the dialogue ended with an attempt that was not allowed")
	}
	v.event.tls = login.Attempt.Conn.TLSVersion
	return login, nil
}

// over ends what the relay has not taken over.
func (v *visit) over(room bool) {
	if v.depart != nil {
		v.depart()
	}
	if !room {
		defer v.server.limits.refused()
	}
	if v.given {
		return
	}
	if v.client != nil {
		_ = v.client.Close() // the peer may be gone
	} else {
		_ = v.raw.Close()
	}
	if room {
		v.server.limits.leave()
	}
	v.server.closed(v.event, v.how)
}

// closed counts and logs the end of a connection, relayed or not.
func (s *Server) closed(e *event, how conclusion) {
	s.o.Metrics.connections.WithLabelValues(e.listener).Dec()
	e.write(s.o.Log, how)
}

// recovered keeps a bug in one connection from ending the others.
func (v *visit) recovered() {
	r := recover()
	if r == nil {
		return
	}
	v.server.o.Metrics.panics.Inc()
	v.server.o.Log.Error("panic", "connection", v.event.id, "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
	if !v.given {
		v.how = concluded(errPanic)
	}
}
