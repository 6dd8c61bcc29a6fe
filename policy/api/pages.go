package api

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"time"

	"latchkey/authcore"
)

// Pages are served by the same server as the API, so that a request has its deadlines, its rate, its one event and its
// count whatever it is for. They are no operations: the document does not name them, and none takes a bearer token.

// Handle adds a handler that is no operation at a pattern of http.ServeMux. long gives it the time of an export.
func (k *Kit) Handle(pattern string, long bool, h http.Handler) {
	k.long[pattern] = long
	k.mux.Handle(pattern, h)
}

// Upload adds a handler that takes a file: its body may be that large, has uploadFor to arrive, and the handler the time of
// an export.
func (k *Kit) Upload(pattern string, most int64, h http.Handler) {
	k.uploads[pattern] = most
	k.Handle(pattern, true, h)
}

// Pages lists the patterns of the pages, in no order.
func (k *Kit) Pages() []string { return slices.Collect(maps.Keys(k.long)) }

// Streams says that an answer is sent piece by piece: from here on a client that takes nothing any more is told to whoever
// writes.
func Streams(w http.ResponseWriter) {
	if r, ok := w.(*recorder); ok {
		r.streams = true
	}
}

// Push sends what was written so far, and gives the client time for the next piece.
func Push(ctx context.Context) {
	Extend(ctx)
	_ = requestOf(ctx).control.Flush() // a client that is gone is told by the next write
}

// Otherwise is what answers where there is neither an operation nor a page. Paths of the API have a Problem.
func (k *Kit) Otherwise(h http.Handler) { k.otherwise = h }

// Refuses is how a page tells of what is refused before it: a source that asks too often. Paths of programs have a
// Problem.
func (k *Kit) Refuses(page func(http.ResponseWriter, *http.Request, *Problem)) { k.refuses = page }

// refuse answers a Problem to who reads one, and a page to people.
func (k *Kit) refuse(w http.ResponseWriter, r *http.Request, p *Problem) {
	requestOf(r.Context()).reason = p.Reason
	if k.refuses == nil || ofProgram(r.URL.Path) {
		writeProblem(w, p)
		return
	}
	k.refuses(w, r, p)
}

// Arrived says that the request was read to its end: a deadline that passes while it is worked on would look like a
// client that is gone.
func Arrived(ctx context.Context) { _ = requestOf(ctx).control.SetReadDeadline(time.Time{}) }

// ClientOf is who asks.
func ClientOf(ctx context.Context) authcore.Client { return requestOf(ctx).client }

// SignedInAs puts the member into the request's event and counts the request as his: a Problem when he asks too often.
func (k *Kit) SignedInAs(ctx context.Context, a authcore.Actor) *Problem {
	requestOf(ctx).actor = a
	return k.overMember(a)
}

// Explain is what somebody is told of err, as a Problem; its cause goes into the request's event.
func Explain(ctx context.Context, err error) *Problem { return problemOf(ctx, err) }

// SentenceOf is what somebody is told of a reason when nothing more is known; empty for a reason that always has its own
// sentence.
func SentenceOf(r authcore.DenialReason) string { return answers()[r].detail }
