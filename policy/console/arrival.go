package console

import (
	"net/http"

	"latchkey/authcore"
	"latchkey/policy/api"
)

// Where a request comes from. Forms of another origin are refused (http.CrossOriginProtection); a link of another site, in
// an e-mail say, arrives without the cookie of the session, which is SameSite=Strict, and is sent on by a page of ours.

// maxCookies bounds what a browser sends of cookies: ours have 5000 bytes at most, and other services of the host may have
// theirs.
const maxCookies = 16 << 10

// foreignForm and tooManyCookies are refusals that no operation gives.
const (
	foreignForm    = "Another website sent this form: open the page here and try again."
	tooManyCookies = "Your browser sends too many cookies: delete those of this site and try again."
)

// arrives refuses what no page reads.
func (p *page) arrives() *api.Problem {
	n := 0
	for _, c := range p.r.Header["Cookie"] {
		n += len(c)
	}
	if n > maxCookies {
		return &api.Problem{Status: http.StatusRequestHeaderFieldsTooLarge, Reason: string(authcore.Invalid), Detail: tooManyCookies} // RFC 6585 section 5
	}
	return nil
}

// fromElsewhere says that the browser opens this page because of another site, so that it kept the cookie of the session
// back (RFC 6265bis section 5.2; Fetch Metadata section 2.4). A browser that says nothing of it is led to sign in.
func (p *page) fromElsewhere() bool {
	h := p.r.Header
	site := h.Get("Sec-Fetch-Site")
	_, shown := p.session()
	return !shown && p.reads() && h.Get("Sec-Fetch-Mode") == "navigate" && (site == "cross-site" || site == "same-site")
}

// onward answers a page that opens the same path once more: that is our own navigation, and the cookie comes with it. The
// browser calls that one same-origin, so there is no third.
func (p *page) onward() error {
	p.w.Header().Set("Refresh", "0; url="+p.here())
	return p.answer(http.StatusOK, "onward.html", p.here(), nil)
}

// reads says that the request asks for a page and changes nothing.
func (p *page) reads() bool { return p.r.Method == http.MethodGet || p.r.Method == http.MethodHead }

// refusal is a page for a request that came from another origin.
func (s *server) refusal(sentence string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.refused(w, r, &api.Problem{Status: http.StatusForbidden, Reason: string(authcore.Forbidden), Detail: sentence})
	})
}

// refused is the page of a Problem that stands before any page.
func (s *server) refused(w http.ResponseWriter, r *http.Request, problem *api.Problem) {
	p := s.page(w, r)
	p.fail(problem)
}
