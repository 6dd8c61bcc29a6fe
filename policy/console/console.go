// Package console has the web pages of members, administrators and operators, over the same operations of Core as the
// API, and in the same server (api.Kit.Handle): plain forms that are posted, answered with a redirect, and read again.
// Everything but passkeys works without script.
//
// It refuses bearer tokens (pages take the cookie alone, the API takes no cookie), requests that another origin sent
// (http.CrossOriginProtection), and to show a secret twice. It decides nothing: rights, limits and policies are
// authcore's, and a Denial becomes a page by one table (failure.go).
//
// A request is a page (page.go); what it shows is a template of the same name, in the reader's language (language.go).
package console

import (
	"net/http"

	"latchkey/authcore"
	"latchkey/policy/api"
)

// Options are what main gives.
type Options struct {
	// Upstreams tells the health of the servers behind the doors; nil: nothing is known.
	Upstreams func() []Upstream
	// Site is how the pages show themselves; nil: they do not.
	Site func() Site
	// Programs tells where the doors are; nil: no program is set up here.
	Programs func() Programs
}

// server has what all pages share.
type server struct {
	texts
	o       Options
	core    *authcore.Core
	kit     *api.Kit
	guard   *http.CrossOriginProtection
	imports chan struct{} // a place for each import that goes on
}

// Register adds the pages to a server.
func Register(o Options) api.Register {
	return func(k *api.Kit) { newServer(o, k, newTexts()).routes() }
}

// texts are what all servers say alike, read once: the languages with their pages, and the files beside these.
type texts struct {
	languages map[string]*language
	assets    *assets
}

func newTexts() texts {
	a := newAssets()
	return texts{languages: newLanguages(a), assets: a}
}

func newServer(o Options, k *api.Kit, t texts) *server {
	return &server{o: o, core: k.Core, kit: k, guard: http.NewCrossOriginProtection(), texts: t, imports: make(chan struct{}, maxImports)}
}

func (s *server) routes() {
	s.guard.SetDenyHandler(s.refusal(foreignForm))
	s.kit.Refuses(s.refused)
	s.assetRoutes()
	s.frontRoutes()
	s.languageRoutes()
	s.wellKnownRoutes()
	s.signInRoutes()
	s.forgottenRoutes()
	s.reauthenticationRoutes()
	s.securityRoutes()
	s.methodRoutes()
	s.ruleRoutes()
	s.auditRoutes()
	s.peopleRoutes()
	s.serviceRoutes()
	s.programRoutes()
}

// open adds a page for anybody.
func (s *server) open(pattern string, do func(*page) error) { s.add(pattern, false, do) }

// signedIn adds a page for whoever has a session; others are led to sign in and back.
func (s *server) signedIn(pattern string, do func(*page) error) {
	s.add(pattern, false, identified(do))
}

func (s *server) add(pattern string, long bool, do func(*page) error) {
	s.kit.Handle(pattern, long, s.handler(do))
}

func (s *server) handler(do func(*page) error) http.Handler {
	return s.guard.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.serve(w, r, do) }))
}
