package proxy

import (
	"errors"

	"latchkey/proxy/relay"
)

// Why a connection or session was ended from here: causes of contexts, and what Live.Cut is called with.
var (
	ErrRevoked  = errors.New("the session was revoked")
	ErrExpired  = errors.New("the credential has expired")
	ErrUnjudged = errors.New("the records could not be asked whether the session stands")
	ErrDrain    = errors.New("the server is shutting down")
)

// causeWord is the closed word for an error that ended a session, for audit, logs and metrics (authcore.End); "refused"
// is told of connections alone.
func causeWord(err error) string {
	if err == nil {
		return "client" // both sides ended in order, and it is the client who says goodbye
	}
	for _, c := range []struct {
		err  error
		word string
	}{
		{ErrRevoked, "revoked"},
		{ErrExpired, "expired"},
		{ErrUnjudged, "unavailable"},
		{ErrDrain, "drain"},
		{errUpstream, "unavailable"},
		{ErrGone, "client"},
		{errTooMany, "refused"},
		{relay.ErrIdle, "idle"},
		{relay.ErrHeld, "idle"},
	} {
		if errors.Is(err, c.err) {
			return c.word
		}
	}
	return "error"
}

// endWord is that of a relayed session: where nothing from here has ended it, one of its sides did. A silence behind an
// end is that end's.
func endWord(e relay.End) string {
	word := causeWord(e.Cause)
	if e.Side != "" && (e.Cause == nil || word == "error" || word == "idle") {
		return string(e.Side)
	}
	return word
}
