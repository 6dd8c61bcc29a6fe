package proxy

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"time"

	"latchkey/authcore"
	"latchkey/proxy/relay"
)

// event is what is logged of a connection, once, when it has ended. It holds ids and closed words, no names that a client
// has sent and no secrets.
type event struct {
	id, listener, protocol string
	client                 netip.AddrPort
	tls                    string
	reason                 authcore.Reason
	began                  time.Time

	// Of an allowed attempt.
	entry        *Entry // who it is
	mechanism    string
	upstreamTime time.Duration
	established  time.Time // zero: the client never heard OK
}

// rest is what a session keeps of its event until it ends: what the entry and the relay say too is not in it. There is one
// for each idle session.
type rest struct {
	server                  *Server
	entry                   *Entry
	protocol, tls           string
	mechanism               string
	signingIn, upstreamTime time.Duration // the first from accept to hand-over
	id                      [26]byte      // of rand.Text
}

// rest is taken at the hand-over.
func (e *event) rest(s *Server) *rest {
	r := &rest{server: s, entry: e.entry, protocol: e.protocol, tls: e.tls, mechanism: e.mechanism,
		signingIn: time.Since(e.began), upstreamTime: e.upstreamTime}
	copy(r.id[:], e.id)
	return r
}

// event is the whole of it again, of a session that was relayed from began.
func (r *rest) event(began time.Time) *event {
	o := &r.entry.open
	return &event{
		id: string(r.id[:]), listener: o.Listener, protocol: r.protocol, client: o.Client, tls: r.tls, reason: authcore.Allowed,
		began: began.Add(-r.signingIn), entry: r.entry, mechanism: r.mechanism, upstreamTime: r.upstreamTime, established: began,
	}
}

// Ended is what the relay calls.
func (r *rest) Ended(e relay.End) {
	deepen(0) // in a goroutine of its own
	defer r.server.sessions.Done()
	r.entry.Leave()
	r.server.left(r.event(e.Started), e)
}

// conclusion is how a connection ended.
type conclusion struct {
	cause                    string
	err                      error // what more there is to say about the cause
	fromClient, fromUpstream int64
}

// concluded is how a connection ended that was not relayed.
func concluded(err error) conclusion { return conclusion{cause: causeWord(err), err: err} }

func (e *event) write(log *slog.Logger, how conclusion) {
	level := slog.LevelInfo
	if how.cause == "error" || how.cause == "unavailable" || how.cause == "upstream" && how.err != nil {
		level = slog.LevelWarn
	}
	if ctx := context.Background(); log.Enabled(ctx, level) {
		log.LogAttrs(ctx, level, "connection", e.attrs(how)...)
	}
}

func (e *event) attrs(how conclusion) []slog.Attr {
	now := time.Now()
	a := []slog.Attr{
		slog.String("id", e.id), slog.String("listener", e.listener), slog.String("protocol", e.protocol),
		slog.String("client", e.client.String()), slog.String("cause", how.cause), slog.Duration("lasted", now.Sub(e.began)),
	}
	word := func(key, value string) {
		if value != "" {
			a = append(a, slog.String(key, value))
		}
	}
	word("tls", e.tls)
	word("reason", string(e.reason))
	if e.entry != nil {
		o := &e.entry.open
		word("domain", string(o.Domain))
		word("member", string(o.Member))
		word("credential", o.Credential)
		word("session", string(o.Session))
		word("mechanism", e.mechanism)
		word("upstream", o.Upstream)
	}
	if e.upstreamTime > 0 {
		a = append(a, slog.Duration("upstream_time", e.upstreamTime))
	}
	if !e.established.IsZero() {
		a = append(a, slog.Duration("relayed", now.Sub(e.established)),
			slog.Int64("from_client", how.fromClient), slog.Int64("from_upstream", how.fromUpstream))
	}
	if how.err != nil && !errors.Is(how.err, ErrDrain) {
		a = append(a, slog.String("error", how.err.Error()))
	}
	return a
}
