package proxy

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/member"
	"latchkey/authcore/session"
)

// event is what is logged of a connection, once, when it has ended. It holds ids and closed words, no names that a client
// has sent and no secrets.
type event struct {
	id, listener, protocol string
	client                 netip.AddrPort
	tls                    string
	began                  time.Time

	// Of an allowed attempt.
	domain       member.DomainID
	member       member.ID
	credential   string
	session      session.ID
	mechanism    string
	reason       authcore.Reason
	upstream     string
	upstreamTime time.Duration
	established  time.Time // zero: the client never heard OK

	fromClient, fromUpstream int64
	cause                    string
	err                      error // what more there is to say about the cause
}

func (e *event) attempt(l *Login) {
	d := l.Decision
	e.domain, e.member, e.credential, e.session, e.reason = d.Domain, d.Member, d.Credential, d.Session, d.Reason
	e.mechanism, e.upstream = l.Attempt.Mechanism, d.Upstream.Name
}

// note keeps why the connection ended. The last word counts: nil, when the relay takes over, is followed by its own.
func (e *event) note(err error) { e.cause, e.err = causeWord(err), err }

func (e *event) write(log *slog.Logger) {
	level := slog.LevelInfo
	if e.cause == "error" || e.cause == "unavailable" || e.cause == "upstream" && e.err != nil {
		level = slog.LevelWarn
	}
	log.LogAttrs(context.Background(), level, "connection", e.attrs()...)
}

func (e *event) attrs() []slog.Attr {
	now := time.Now()
	a := []slog.Attr{
		slog.String("id", e.id), slog.String("listener", e.listener), slog.String("protocol", e.protocol),
		slog.String("client", e.client.String()), slog.String("cause", e.cause), slog.Duration("lasted", now.Sub(e.began)),
	}
	word := func(key, value string) {
		if value != "" {
			a = append(a, slog.String(key, value))
		}
	}
	word("tls", e.tls)
	word("reason", string(e.reason))
	word("domain", string(e.domain))
	word("member", string(e.member))
	word("credential", e.credential)
	word("session", string(e.session))
	word("mechanism", e.mechanism)
	word("upstream", e.upstream)
	if e.upstreamTime > 0 {
		a = append(a, slog.Duration("upstream_time", e.upstreamTime))
	}
	if !e.established.IsZero() {
		a = append(a, slog.Duration("relayed", now.Sub(e.established)),
			slog.Int64("from_client", e.fromClient), slog.Int64("from_upstream", e.fromUpstream))
	}
	if e.err != nil && !errors.Is(e.err, ErrDrain) {
		a = append(a, slog.String("error", e.err.Error()))
	}
	return a
}
