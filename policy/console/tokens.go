package console

import (
	"crypto/rand"
	"slices"
	"strconv"
	"strings"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/secret"
	"latchkey/authcore/session"
	"latchkey/policy"
	"latchkey/policy/api"
)

// API tokens let programs of an administrator act for him. One is shown once, in the answer that makes it.

func (s *server) tokenRoutes() {
	s.signedIn("GET /api-tokens", (*page).tokens)
	s.signedIn("POST /api-tokens", (*page).createToken)
	s.signedIn("POST /api-tokens/{id}/delete", (*page).deleteToken)
}

// tokensPage is the list, and the form for a new one.
type tokensPage struct {
	Tokens  []tokenLine
	Name    string
	Scope   string
	Domains string // names; of operators
	Days    string
	Once    string
}

type tokenLine struct {
	authcore.APIToken
	Scope   string
	Domains string
}

// Used says whether it was ever shown. A new one has its creation there.
func (t tokenLine) Used() bool { return t.UsedAt.After(t.CreatedAt) }

func (p *page) tokens() error {
	v, err := p.tokenPage()
	if err != nil {
		return err
	}
	v.Scope, v.Days = string(session.Read), strconv.Itoa(int(session.TokenFor/(24*time.Hour)))
	return p.show("tokens.html", v)
}

func (p *page) tokenPage() (tokensPage, error) {
	if !(&view{p: p}).Administers() {
		return tokensPage{}, &authcore.Denial{Reason: authcore.Forbidden, Detail: "API tokens are for administrators"}
	}
	l, err := p.core.APITokens(p.ctx, p.actor)
	if err != nil {
		return tokensPage{}, err
	}
	v := tokensPage{Once: rand.Text()}
	for _, t := range l {
		v.Tokens = append(v.Tokens, tokenLine{t, p.scopeWords(t.Scopes), p.tokenDomains(t.Domains)})
	}
	return v, nil
}

func (p *page) scopeWords(scopes []session.Scope) string {
	if slices.Contains(scopes, session.Write) {
		return p.t("Read and write")
	}
	return p.t("Read")
}

func (p *page) tokenDomains(names []string) string {
	if slices.Contains(names, string(session.AllDomains)) {
		return p.t("All domains")
	}
	return strings.Join(names, ", ")
}

func (p *page) createToken() error {
	v, err := p.tokenPage()
	if err != nil {
		return err
	}
	if v.Once, err = p.once(); err != nil {
		return err
	}
	v.Name, v.Scope, v.Domains, v.Days = p.form("name"), p.form("scope"), p.form("domains"), p.form("ends")
	w := authcore.TokenWish{Name: v.Name, Scopes: []session.Scope{session.Scope(v.Scope)}, Domains: strings.FieldsFunc(v.Domains, separates)}
	if w.ExpiresAt, err = p.tokenEnd(v.Days); err != nil {
		return p.tokenAgain(v, err)
	}
	request := strings.Join([]string{"api token", v.Name, v.Scope, v.Domains, v.Days}, "\n")
	made, token, err := p.core.CreateAPIToken(authcore.WithIdempotencyKey(p.ctx, secret.New(v.Once), request), p.actor, w)
	if err != nil {
		return p.tokenAgain(v, err)
	}
	return p.show("tokenmade.html", struct {
		tokenLine
		Token string
	}{tokenLine{made, p.scopeWords(made.Scopes), p.tokenDomains(made.Domains)}, token.Reveal()})
}

func separates(r rune) bool { return r == ',' || r == ' ' || r == '\n' || r == '\r' || r == '\t' }

// DayChoices are the lives that the form offers.
func (v tokensPage) DayChoices() []int { return tokenDays() }

// tokenDays are how long a token may be good for.
func tokenDays() []int { return []int{30, 90, 180, 365} }

// tokenEnd is when a token ends that is made now; what is not offered is refused.
func (p *page) tokenEnd(days string) (time.Time, error) {
	n, err := strconv.Atoi(days)
	if err != nil || !slices.Contains(tokenDays(), n) {
		return time.Time{}, api.Invalid(policy.Mistake{Field: "ends", Reason: "must lie ahead, by 365 days at most"})
	}
	return p.core.Now().UTC().AddDate(0, 0, n), nil // in a zone with summer time days differ in length
}

func (p *page) tokenAgain(v tokensPage, err error) error {
	f := p.mistakes(err)
	if f == nil {
		return err
	}
	f.Fields["scope"] = f.Fields["scopes"]
	if f.Fields["name"] != "" {
		f.Fields["name"] = p.t("Enter a name of 1 to 40 characters, on one line.")
	}
	return p.answer(f.status, "tokens.html", v, f)
}

func (p *page) deleteToken() error {
	if err := p.core.DeleteAPIToken(p.ctx, p.actor, session.ID(p.r.PathValue("id"))); err != nil {
		return err
	}
	return p.redirect("/api-tokens", "token_deleted")
}
