package demo

import (
	"context"
	"time"

	"github.com/emersion/go-sasl"

	"latchkey/authcore/secret"
)

// tokenPatience is how long Options.Token may take: the proxy waits five seconds for an upstream.
const tokenPatience = 5 * time.Second

// enter answers who comes in by a user and a password, perhaps on behalf of somebody else, or nil.
//
// RFC 4616 section 2: user is who proves himself, onBehalf who he wants to act as. Only the master may name another.
func (s *Server) enter(onBehalf, user string, password secret.String) *person {
	if onBehalf != "" && s.isMaster(user, password) {
		return s.people.find(onBehalf)
	}
	p := s.people.find(user)
	if p == nil || s.o.Passthrough == nil {
		return nil
	}
	if onBehalf != "" && s.people.find(onBehalf) != p {
		return nil
	}
	if !s.o.Passthrough(user, password.Reveal()) {
		return nil
	}
	return p
}

func (s *Server) isMaster(user string, password secret.String) bool {
	if s.o.Master == "" || s.o.MasterSecret.Empty() {
		return false
	}
	return user == s.o.Master && s.o.MasterSecret.Equal(password)
}

// enterByToken answers whose token it is, or nil. A name beside the token must be the same person's.
func (s *Server) enterByToken(name, token string) *person {
	ctx, cancel := context.WithTimeout(s.ctx, tokenPatience)
	defer cancel()
	user, err := s.o.Token(ctx, token)
	if err != nil {
		s.log.Info("demo: bearer token refused", "cause", err)
		return nil
	}
	p := s.people.find(user)
	if name != "" && s.people.find(name) != p {
		return nil
	}
	return p
}

func (s *Server) mechanisms() []string {
	if s.o.Token != nil {
		return []string{sasl.Plain, sasl.OAuthBearer}
	}
	return []string{sasl.Plain}
}

// exchange begins a SASL exchange, or answers nil if the mechanism is unknown. Whoever comes in is handed to admit, and
// every failure is told as refused.
func (s *Server) exchange(mechanism string, admit func(*person), refused error) sasl.Server {
	let := func(p *person) bool {
		if p != nil {
			admit(p)
		}
		return p != nil
	}
	switch {
	case mechanism == sasl.Plain:
		return &exchange{refused: refused, inner: sasl.NewPlainServer(func(onBehalf, user, password string) error {
			if !let(s.enter(onBehalf, user, secret.New(password))) {
				return refused
			}
			return nil
		})}
	case mechanism == sasl.OAuthBearer && s.o.Token != nil:
		return &exchange{refused: refused, inner: sasl.NewOAuthBearerServer(func(o sasl.OAuthBearerOptions) *sasl.OAuthBearerError {
			if !let(s.enterByToken(o.Username, o.Token)) {
				return &sasl.OAuthBearerError{Status: "invalid_token", Schemes: "bearer"}
			}
			return nil
		})}
	}
	return nil
}

// exchange mends three habits of the library's mechanisms: an empty challenge goes out as nothing at all (RFC 9051
// section 6.2.2), errors never reach the client in words of their own, and an empty answer to the error challenge of
// OAUTHBEARER (RFC 7628 section 3.2.3) is a refusal instead of a panic.
type exchange struct {
	inner   sasl.Server
	refused error
	begun   bool
	failed  bool
}

func (e *exchange) Next(response []byte) (challenge []byte, done bool, err error) {
	switch {
	case e.failed:
		return nil, true, e.refused
	case response == nil && !e.begun:
		e.begun = true
		return nil, false, nil
	case response == nil:
		return nil, true, e.refused
	}
	e.begun = true
	challenge, done, err = e.inner.Next(response)
	if err != nil {
		return nil, true, e.refused
	}
	e.failed = !done
	return challenge, done, nil
}
