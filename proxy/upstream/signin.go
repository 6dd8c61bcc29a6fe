package upstream

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"strings"

	"latchkey/authcore"
	"latchkey/authcore/secret"
	"latchkey/proxy"
)

// signIn gathers what the sign-in of u's member needs.
func (p *Pool) signIn(s *server, u authcore.Upstream) (proxy.SignIn, error) {
	if s.Protocol == HTTPProtocol {
		return proxy.SignIn{}, s.fail(StepFind, errors.New("is an HTTP server"))
	}
	in := proxy.SignIn{Way: s.Way, User: u.User}
	switch s.Way {
	case proxy.Master:
		in.Master, in.Secret = s.Master, s.Secret
	case proxy.Token:
		in.Token = func(ctx context.Context) (secret.String, error) { return p.token(ctx, s, s.claims(u.User)) }
	case proxy.Passthrough:
		if u.Password.Empty() {
			return proxy.SignIn{}, s.fail(StepFind, errNoPassword)
		}
		in.Secret = u.Password
	}
	return in, nil
}

func (s *server) claims(user string) Claims {
	return Claims{Issuer: s.Token.Issuer, Audience: s.Token.Audience, Algorithm: s.Token.Algorithm, Subject: user}
}

func (p *Pool) token(ctx context.Context, s *server, c Claims) (secret.String, error) {
	t, err := p.o.Token(ctx, c)
	if err != nil {
		return secret.String{}, s.fail(StepToken, err)
	}
	return t, nil
}

const userMark = "{user}"

// identify puts into h who the member is; credential is what Basic and Bearer carry.
func (s *server) identify(h http.Header, u authcore.Upstream, credential secret.String) error {
	if s.Header != "" {
		h.Set(s.Header, u.User)
	}
	switch s.Way {
	case Basic:
		return s.setBasic(h, strings.ReplaceAll(s.BasicUser, userMark, u.User), credential)
	case Bearer:
		h.Set("Authorization", "Bearer "+credential.Reveal()) // RFC 6750 section 2.1
	case proxy.Passthrough:
		if u.Password.Empty() {
			return s.fail(StepSignIn, errNoPassword)
		}
		return s.setBasic(h, u.User, u.Password)
	}
	return nil
}

func (s *server) setBasic(h http.Header, user string, password secret.String) error {
	if strings.Contains(user, ":") { // RFC 7617 section 2: it would move the border to the password
		return s.fail(StepSignIn, errors.New("the name holds a colon, which Basic cannot carry"))
	}
	h.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(user+":"+password.Reveal())))
	return nil
}

// credential answers the secret of the server, or a token for the member where it has none.
func (p *Pool) credential(ctx context.Context, s *server, c Claims) (secret.String, error) {
	if !s.usesToken() {
		return s.Secret, nil
	}
	return p.token(ctx, s, c)
}
