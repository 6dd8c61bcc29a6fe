package dav

import (
	"io"
	"net/http"
	"strconv"
	"time"

	"latchkey/authcore"
)

// status is the answer to each reason, by the table of refusals that all doors share.
func status(r authcore.Reason) int {
	switch r {
	case authcore.Suspended, authcore.DoorClosed, authcore.TLSRequired:
		// no challenge: a program must not ask for the password again, and not at all in the clear
		return http.StatusForbidden
	case authcore.Throttled, authcore.TooManyConnections:
		return http.StatusTooManyRequests
	case authcore.Unavailable:
		return http.StatusServiceUnavailable
	}
	return http.StatusUnauthorized
}

// comeAgain is what a program waits after a temporary answer that names no time.
const comeAgain = 10 * time.Second

// maxRefusals end a connection.
const maxRefusals = 3

// refuse answers a reason in plain words.
func (q *request) refuse(reason authcore.Reason, retry time.Duration) {
	q.reason = reason
	h, code := q.w.Header(), status(reason)
	if code == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", challenge(q.settings.Realm))
	}
	if reason.Temporary() {
		if retry <= 0 {
			retry = comeAgain
		}
		h.Set("Retry-After", strconv.FormatInt(int64((retry+time.Second-1)/time.Second), 10)) // RFC 9110 section 10.2.3
	} else if q.conn.refusals.Add(1) >= maxRefusals {
		h.Set("Connection", "close")
	}
	q.say(code, reason.Sentence())
}

// hurry bounds the wait for a body that nobody wants. The server reads some of it before an answer over HTTP/1, so that
// the connection can go on, and has no limit of its own for that. Half of the stall time leaves the rest to the answer.
func (q *request) hurry() {
	if q.r.Body != nil && q.r.Body != http.NoBody {
		_ = q.w.control.SetReadDeadline(time.Now().Add(q.unwanted())) // only fails where there is no connection
	}
}

// unwanted is how long a body may take that nobody wants.
func (q *request) unwanted() time.Duration { return min(q.door.o.Stall/2, headerTime) }

// unauthorized asks for credentials; nobody was refused.
func (q *request) unauthorized() {
	q.w.Header().Set("WWW-Authenticate", challenge(q.settings.Realm))
	q.say(http.StatusUnauthorized, "Sign in with your address and a password")
}

// say answers with a sentence and nothing of the upstream's.
func (q *request) say(code int, sentence string) {
	q.hurry()
	h := q.w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	q.w.WriteHeader(code)
	_, _ = io.WriteString(q.w, sentence+"\n") // the client may be gone
}
