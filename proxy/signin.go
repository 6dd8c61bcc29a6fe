package proxy

import (
	"context"
	"errors"
	"fmt"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/session"
	"latchkey/proxy/relay"
)

// Whatever the upstream does, the client has its answer within five seconds of the decision.
const (
	upstreamTime = 4 * time.Second        // to dial and to sign in there
	standsTime   = 600 * time.Millisecond // to ask the records: with what an attempt asks of them, 2 s
	replyTime    = 10 * time.Second       // for the client to take the answer; not part of the five
	endedTime    = 5 * time.Second        // to tell the core of an end
)

var (
	errTooSlow = fmt.Errorf("%w did not let the member in within %v", errUpstream, upstreamTime)
	errRecords = fmt.Errorf("%w: ask whether the session stands", ErrUnjudged)
)

// signIn is an allowed attempt whose client still waits: from the decision to the hand-over.
type signIn struct {
	v       *visit
	login   *Login
	entry   *Entry
	leg     *Leg // nil before Dial
	welcome Welcome
	err     error // why there will be no session
}

// signIn takes an allowed attempt to the relay, or tells the client that it cannot now. The session is in Live before
// Dial, and judged by the records after LogIn: what revokes it in between is not missed.
func (v *visit) signIn(ctx context.Context, login *Login) error {
	v.client.SetDialogueDeadline(time.Now().Add(upstreamTime + standsTime + replyTime))
	s := &signIn{v: v, login: login, err: errPanic}
	s.entry = v.server.o.Live.Enter(OpenOf(login.Attempt, login.Decision), login.Decision.Standing(login.Attempt), CutFunc(v.cancel))
	v.event.entry, v.event.mechanism, v.event.reason = s.entry, login.Attempt.Mechanism, login.Decision.Reason
	defer s.abandon()
	if s.err = s.open(ctx); s.err != nil {
		_ = login.Reply(authcore.Unavailable, Welcome{}) // the client may be gone; either way the connection closes
		return s.err
	}
	v.depart()       // before OK: a client that has heard it may open the next connection at once
	s.err = errPanic // until one of these has returned
	if err := login.Reply(authcore.Allowed, s.welcome); err != nil {
		s.err = fmt.Errorf("%w: reply: %w", ErrGone, err)
		return s.err
	}
	s.handOver()
	return nil
}

// open brings the member to his upstream and makes sure that he may still go there.
func (s *signIn) open(ctx context.Context) error {
	began := time.Now()
	err := s.reach(ctx)
	s.v.event.upstreamTime = time.Since(began)
	if err != nil {
		return err
	}
	s.v.server.o.Metrics.upstreamSignIns.WithLabelValues(s.leg.Name).Observe(s.v.event.upstreamTime.Seconds())
	if err := s.stands(ctx); err != nil {
		return err
	}
	if cause := s.entry.Cause(); cause != nil {
		return cause
	}
	return context.Cause(ctx)
}

// reach dials the upstream and signs in there.
func (s *signIn) reach(parent context.Context) error {
	ctx, cancel := context.WithTimeoutCause(parent, upstreamTime, errTooSlow)
	defer cancel()
	o, d := s.v.server.o, s.login.Decision
	leg, err := o.Dialer.Dial(ctx, d.Upstream, s.login.Attempt.Conn)
	if err != nil {
		return s.unreached(ctx, "dial", err)
	}
	err = s.speak(ctx, leg)
	if err != nil && leg.Again != nil && context.Cause(ctx) == nil {
		if leg, err = leg.Again(ctx, err); leg != nil {
			_ = s.leg.Close() // the upstream is gone from it
			err = s.speak(ctx, leg)
		}
	}
	if leg = s.leg; leg.Came != nil && (context.Cause(ctx) == nil || err != nil && errors.Is(context.Cause(ctx), errTooSlow)) {
		leg.Came(whatCame(ctx, err))
	}
	if err != nil {
		return s.unreached(ctx, "sign_in", err)
	}
	return nil
}

// speak signs the member in over leg.
func (s *signIn) speak(ctx context.Context, leg *Leg) (err error) {
	s.leg = leg
	deadline, _ := ctx.Deadline()
	leg.SetDialogueDeadline(deadline)
	stop := leg.CloseOn(ctx)
	s.welcome, err = s.v.l.Protocol.LogIn(ctx, leg, s.login)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	return err
}

// whatCame is how a sign-in went for the upstream: whatever a connection says that was closed for its slowness, it was silent.
func whatCame(ctx context.Context, err error) error {
	if err != nil && context.Cause(ctx) != nil {
		return fmt.Errorf("%w: %w", context.DeadlineExceeded, err)
	}
	return err
}

// unreached says whose fault it was that the upstream was not reached: a cut or a drain counts against nobody.
func (s *signIn) unreached(ctx context.Context, step string, err error) error {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, errTooSlow) {
		return cause
	}
	s.v.server.o.Metrics.upstreamFailed.WithLabelValues(s.login.Decision.Upstream.Name, step).Inc()
	return fmt.Errorf("%w: %s: %w", errUpstream, step, err) // whose name is in the event
}

// stands asks the records once more.
func (s *signIn) stands(parent context.Context) error {
	ctx, cancel := context.WithTimeoutCause(parent, standsTime, errRecords)
	defer cancel()
	ok, err := s.v.server.o.Auth.Stands(ctx, s.entry.Standing())
	switch {
	case err != nil && parent.Err() != nil:
		return context.Cause(parent)
	case err != nil:
		return fmt.Errorf("%w: %w", errRecords, err)
	case !ok:
		return ErrRevoked
	}
	return nil
}

// abandon ends an attempt that did not become a session, on every way out.
func (s *signIn) abandon() {
	if s.v.given {
		return
	}
	if s.leg != nil {
		_ = s.leg.Close() // the upstream may be gone
	}
	s.entry.Leave()
	s.v.server.ended(s.login.Decision.Session, authcore.End{Cause: causeWord(s.err)})
}

// handOver lets the relay carry on. Only the entry and what is left of the event live on with the session.
func (s *signIn) handOver() {
	v := s.v
	server := v.server
	passage := v.l.Protocol.Relay(s.login, s.welcome)
	server.sessions.Add(1) // this visit is counted, so Shutdown does not wait for sessions yet
	server.o.Metrics.Opened(s.entry.open.Door)
	relayed := server.o.Relay.Start(v.client, s.leg.Conn, relay.Options{
		Idle: v.l.Idle, Splitter: passage.Splitter, Farewell: passage.Farewell, Owner: v.event.rest(server),
	})
	v.given = true
	s.entry.Hand(relayed)
	if server.isStopping() {
		relayed.Drain(ErrDrain, server.drainTime())
	}
}

// left accounts for a session that has ended.
func (s *Server) left(ev *event, e relay.End) {
	end := authcore.End{Cause: endWord(e), Established: true, FromClient: e.FromClient, FromUpstream: e.FromUpstream}
	s.o.Metrics.Ended(ev.entry.open.Door, end)
	s.limits.leave()
	s.closed(ev, conclusion{cause: end.Cause, err: e.Cause, fromClient: e.FromClient, fromUpstream: e.FromUpstream})
	s.ended(ev.entry.open.Session, end)
}

// ended tells the core, for every allowed Decision once.
func (s *Server) ended(id session.ID, e authcore.End) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.base), endedTime)
	defer cancel()
	s.o.Auth.Ended(ctx, id, e)
}
