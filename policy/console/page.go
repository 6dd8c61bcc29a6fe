package console

import (
	"bytes"
	"context"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"

	"latchkey/authcore"
	"latchkey/authcore/secret"
	"latchkey/policy/api"
)

// page is one request and the answer to it: its goroutine's alone.
type page struct {
	*server
	ctx    context.Context
	w      http.ResponseWriter
	r      *http.Request
	client authcore.Client
	actor  authcore.Actor    // the zero one: nobody is signed in
	me     *authcore.Profile // of whoever is signed in
	lang   *language
}

// maxForm bounds a posted form. The largest, a policy, stays far below.
const maxForm = 64 << 10

func (s *server) serve(w http.ResponseWriter, r *http.Request, do func(*page) error) {
	p := s.page(w, r)
	if problem := p.arrives(); problem != nil {
		p.fail(problem)
		return
	}
	if err := p.read(); err != nil {
		p.fail(err)
		return
	}
	if err := do(p); err != nil {
		p.fail(err)
	}
}

func (s *server) page(w http.ResponseWriter, r *http.Request) *page {
	p := &page{server: s, ctx: r.Context(), w: w, r: r, client: api.ClientOf(r.Context())}
	p.lang = s.languageOf(p)
	headers(w.Header())
	s.site().secure(w.Header())
	return p
}

// read takes a form in whole. What is not a form is left to the handler, and has no fields: net/http would look for them in
// a body of many parts, of any size, and take what it finds before the body breaks.
func (p *page) read() error {
	kind, _, err := mime.ParseMediaType(p.r.Header.Get("Content-Type"))
	if p.r.Method != http.MethodPost || err != nil || kind != "application/x-www-form-urlencoded" {
		p.r.Form, p.r.PostForm = p.r.URL.Query(), url.Values{}
		return nil
	}
	p.r.Body = http.MaxBytesReader(p.w, p.r.Body, maxForm)
	if err := p.r.ParseForm(); err != nil {
		return &authcore.Denial{Reason: authcore.Invalid, Detail: "The form did not arrive whole."}
	}
	api.Arrived(p.ctx)
	return nil
}

// identified lets nobody pass without a session.
func identified(do func(*page) error) func(*page) error {
	return func(p *page) error {
		if p.fromElsewhere() {
			return p.onward()
		}
		if err := p.identify(); err != nil {
			return err
		}
		return do(p)
	}
}

// identify finds who is signed in; a Denial NotSignedIn when nobody is.
func (p *page) identify() error {
	token, ok := p.session()
	if !ok {
		return &authcore.Denial{Reason: authcore.NotSignedIn}
	}
	a, err := p.core.Session(p.ctx, token, p.client)
	if err != nil {
		return err
	}
	if a.IsToken() { // it is for programs, over the API
		return &authcore.Denial{Reason: authcore.NotSignedIn}
	}
	if over := p.kit.SignedInAs(p.ctx, a); over != nil {
		return over
	}
	me, err := p.core.Me(p.ctx, a)
	if err != nil {
		return err
	}
	p.actor, p.me = a, &me
	p.lang = p.languageOf(p)
	return nil
}

// t says an English sentence in the reader's language.
func (p *page) t(sentence string, args ...any) string { return p.lang.t(sentence, args...) }

// form is a field as it was typed, without the spaces around it.
func (p *page) form(name string) string { return strings.TrimSpace(p.r.PostFormValue(name)) }

// once is what makes a form good for one creation: an idempotency key that the server made.
func (p *page) once() (string, error) {
	const least, most = 16, 64
	v := p.form("once")
	if len(v) < least || len(v) > most {
		return "", &authcore.Denial{Reason: authcore.Invalid, Detail: "The form did not arrive whole."}
	}
	return v, nil
}

// secret is a field that must not be shown again.
func (p *page) secret(name string) secret.String { return secret.New(p.r.PostFormValue(name)) }

// show answers the template of that name with its data.
func (p *page) show(name string, data any) error { return p.answer(http.StatusOK, name, data, nil) }

// again answers the template with what was typed and what is wrong with it, when err is a Denial that the form can show;
// else it is err.
func (p *page) again(name string, data any, err error) error {
	f := p.mistakes(err)
	if f == nil {
		return err
	}
	return p.answer(f.status, name, data, f)
}

func (p *page) answer(status int, name string, data any, f *failure) error {
	var b bytes.Buffer
	v := &view{p: p, Name: name, Data: data, Failed: f}
	v.Said, v.Refused = p.said()
	if err := p.lang.pages[name]().ExecuteTemplate(&b, "layout.html", v); err != nil {
		return err
	}
	p.w.Header().Set("Content-Type", "text/html; charset=utf-8")
	p.w.WriteHeader(status)
	_, _ = b.WriteTo(p.w) // whether it arrives is the client's
	return nil
}

// redirect answers a change: the next page says the sentence of the word said; "" says nothing.
func (p *page) redirect(path, said string) error {
	if said != "" {
		p.say(said)
	}
	p.w.Header().Set("Location", path)
	p.w.WriteHeader(http.StatusSeeOther)
	return nil
}

// next is where to go on after a sign-in: a path of this console, and never another host's. It goes into a header: browsers
// show an error in the place of a page whose headers have control characters.
func next(typed string) string {
	if !strings.HasPrefix(typed, "/") || strings.HasPrefix(typed, "//") || strings.Contains(typed, "\\") ||
		strings.ContainsFunc(typed, unicode.IsControl) || !utf8.ValidString(typed) || len(typed) > 1024 {
		return "/security"
	}
	return typed
}

// headers are those of every page. Script and style come from here alone, no text becomes script, nobody frames a page,
// and no page is kept.
func headers(h http.Header) {
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "+
		"form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'")
	h.Set("Referrer-Policy", "same-origin") // a refused form leads back to its page
	h.Set("X-Robots-Tag", "noindex, nofollow")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Permissions-Policy", "publickey-credentials-get=(self), publickey-credentials-create=(self), camera=(), microphone=(), geolocation=()")
}
