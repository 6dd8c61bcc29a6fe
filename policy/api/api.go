// Package api is what every endpoint under /api/v1 shares: the OpenAPI document, who asks (a bearer token, never a
// cookie), problem replies with one closed word, paging, revisions, and one event a request. It refuses bodies over
// MaxBody, fields and parameters that it does not know, and to tell a client why something broke. It decides nothing:
// rights, limits and policies are authcore's, and each Denial of it has its status in one table.
//
// The handler sets the read and write deadlines of its connection anew for every request. The address of the client is
// that of the connection; headers that claim another are not read.
package api

import (
	"log/slog"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"latchkey/authcore"
)

// Prefix is where the API lies.
const Prefix = "/api/v1"

// Bounds of one request.
const (
	MaxBody   = 1 << 20          // the largest request, a member with all that he may have, stays far below
	readFor   = 15 * time.Second // a body arrives within
	answerFor = 60 * time.Second // an operation ends within: a refusal is held back for 15 s, and a hash may queue before it
	writeFor  = 15 * time.Second // a client takes an answer, or the next piece of a long one, within
	exportFor = 10 * time.Minute // an export ends within
	uploadFor = 2 * time.Minute  // a file arrives within: 5 MiB over a slow line
)

// Options are what main gives.
type Options struct {
	Core    *authcore.Core
	Log     *slog.Logger // nil: nothing is logged
	Metrics *Metrics     // nil: counted and shown nowhere
	Rates   Rates
	Now     func() time.Time       // of the rates; nil: time.Now
	JWKS    func() ([]byte, error) // the public keys of upstream tokens as a JWK set; nil: there is none
}

// A Register adds operations to the API: self's and admin's, passed by main.
type Register func(*Kit)

// Kit is what a Register adds operations to.
type Kit struct {
	Core *authcore.Core

	log       *slog.Logger
	metrics   *Metrics
	perSource *meters
	perMember *meters
	now       func() time.Time // of both
	long      map[string]bool  // patterns of exports
	uploads   map[string]int64 // patterns that take files: the most octets of a body
	mux       *http.ServeMux
	otherwise http.Handler // nil: a Problem everywhere
	refuses   func(http.ResponseWriter, *http.Request, *Problem)
	huma      huma.API
}

// New makes the handler of everything under Prefix and of /.well-known/jwks.json.
func New(o Options, register ...Register) http.Handler {
	s := newServer(o, register)
	document, err := s.kit.document()
	if err != nil {
		panic(err) // types that cannot be described: every start and every test would end here
	}
	s.mux.HandleFunc("GET "+Prefix+"/openapi.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/vnd.oai.openapi+json;version=3.1")
		_, _ = w.Write(document)
	})
	if o.JWKS != nil {
		s.mux.HandleFunc("GET /.well-known/jwks.json", s.keys(o.JWKS))
	}
	return s
}

// Document is the OpenAPI document of the operations that register adds, indented, as it is committed.
func Document(register ...Register) ([]byte, error) {
	return newServer(Options{}, register).kit.document()
}

// keys answers the JWK set (RFC 7517 section 8.5). A key is published a day before it signs, so an hour in a cache is safe.
func (s *server) keys(jwks func() ([]byte, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		set, err := jwks()
		if err != nil {
			writeProblem(w, problemOf(r.Context(), err))
			return
		}
		w.Header().Set("Content-Type", "application/jwk-set+json")
		w.Header().Set("Cache-Control", "public, max-age=3600")
		_, _ = w.Write(set)
	}
}
