package api

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"latchkey/authcore"
)

// Operation describes one endpoint.
type Operation struct {
	ID      string // unique, for generated clients
	Method  string
	Path    string // below Prefix
	Summary string
	Status  int                       // of success; 0: 200, or 204 without a body
	Tag     string                    // the group it stands in
	Answers map[string]*huma.Response // of success, where O cannot tell; nil: O does
	Long    bool                      // an export: it has exportFor
	Creates bool                      // it takes an idempotency key
}

// None is the output of an operation that answers 204.
type None struct{}

// Reply is an output with a body.
type Reply[T any] struct{ Body T }

// Open registers an operation that needs no token: a step of a sign-in, mostly, which has the time of one attempt.
func Open[I, O any](k *Kit, op Operation, do func(context.Context, authcore.Client, *I) (*O, error)) {
	register(k, k.describe(op), func(ctx context.Context, in *I) (*O, error) {
		if k.Core != nil { // none where operations need none
			ctx = k.Core.Rationed(ctx)
		}
		return do(ctx, requestOf(ctx).client, in)
	})
}

// SignedIn registers an operation of somebody who shows a token. It is looked at before the body is read.
func SignedIn[I, O any](k *Kit, op Operation, do func(context.Context, authcore.Actor, *I) (*O, error)) {
	h := k.describe(op)
	h.Security = []map[string][]string{{tokenScheme: {}}}
	h.Middlewares = huma.Middlewares{k.signIn}
	register(k, h, func(ctx context.Context, in *I) (*O, error) {
		if err := k.stillSignedIn(ctx); err != nil {
			return nil, err
		}
		if op.Creates {
			var err error
			if ctx, err = requestOf(ctx).once.under(ctx); err != nil {
				return nil, err
			}
		}
		return do(ctx, requestOf(ctx).actor, in)
	})
}

func register[I, O any](k *Kit, op huma.Operation, do func(context.Context, *I) (*O, error)) {
	huma.Register(k.huma, op, func(ctx context.Context, in *I) (*O, error) {
		// The body has been read. A deadline that passes while the operation works would look like a client that is gone.
		_ = requestOf(ctx).control.SetReadDeadline(time.Time{})
		out, err := do(ctx, in)
		if err != nil {
			return nil, problemOf(ctx, err)
		}
		return out, nil
	})
}

func (k *Kit) describe(op Operation) huma.Operation {
	h := huma.Operation{
		OperationID: op.ID, Method: op.Method, Path: op.Path, Summary: op.Summary, Tags: []string{op.Tag}, DefaultStatus: op.Status,
		MaxBodyBytes: MaxBody, BodyReadTimeout: readFor, Responses: map[string]*huma.Response{},
	}
	for status, r := range op.Answers {
		h.Responses[status] = r
	}
	h.Responses["default"] = &huma.Response{
		Description: "A problem; its reason says which.",
		Content:     map[string]*huma.MediaType{problemType: {Schema: Schema[Problem](k)}},
	}
	if op.Creates {
		h.Parameters = append(h.Parameters, idempotencyParam())
	}
	if op.Long {
		k.long[op.Method+" "+Prefix+op.Path] = true
	}
	return h
}

// signIn lets nobody pass without a good token.
func (k *Kit) signIn(ctx huma.Context, next func(huma.Context)) {
	r, w := humago.Unwrap(ctx)
	q := requestOf(r.Context())
	token, ok := bearer(r.Header)
	if !ok {
		writeProblem(w, problemOf(r.Context(), &authcore.Denial{Reason: authcore.NotSignedIn}))
		return
	}
	a, err := k.Core.Session(r.Context(), token, q.client)
	if err != nil {
		writeProblem(w, problemOf(r.Context(), err))
		return
	}
	q.actor, q.waited = a, r.ContentLength != 0
	if p := k.overMember(a); p != nil {
		q.reason = p.Reason
		writeProblem(w, p)
		return
	}
	next(ctx)
}

// stillSignedIn looks at a token again whose request had a body: that has 15 s to arrive, and who was suspended or signed
// out meanwhile must not have a request in hand that is still served.
func (k *Kit) stillSignedIn(ctx context.Context) error {
	q := requestOf(ctx)
	if !q.waited {
		return nil
	}
	a, err := k.Core.StillSignedIn(ctx, q.actor)
	if err == nil {
		q.actor = a
	}
	return err
}

// Stream is the output of an operation that writes its answer by hand.
type Stream struct{ Body func(huma.Context) }

// Begin sends the head of a streamed answer.
func Begin(ctx huma.Context, contentType string) http.ResponseWriter {
	_, w := humago.Unwrap(ctx)
	return begin(w, contentType)
}

// begin has whoever streams told when the client takes nothing any more.
func begin(w http.ResponseWriter, contentType string) http.ResponseWriter {
	if r, ok := w.(*recorder); ok {
		r.streams = true
	}
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(http.StatusOK)
	return w
}

// Extend gives the client of a streamed answer time for the next piece.
func Extend(ctx context.Context) {
	_ = requestOf(ctx).control.SetWriteDeadline(time.Now().Add(writeFor))
}

// Abort ends a streamed answer that cannot be finished: the connection breaks, so that no client takes a part for the
// whole. The request's event tells why.
func Abort(ctx context.Context, err error) {
	requestOf(ctx).err = err
	panic(http.ErrAbortHandler)
}

// JSON is a Stream of one value.
func JSON(v any) *Stream {
	return &Stream{Body: func(ctx huma.Context) {
		w := Begin(ctx, "application/json")
		e := json.NewEncoder(w)
		e.SetEscapeHTML(false)
		_ = e.Encode(v) // whether it arrives is the client's
	}}
}
