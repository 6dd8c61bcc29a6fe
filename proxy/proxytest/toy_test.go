package proxytest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/secret"
	"latchkey/proxy"
	"latchkey/proxy/wire"
)

// toy is a protocol of a few words, to try the runner with.
type toy struct {
	auth     proxy.Authenticator
	tls      *tls.Config
	greeting string
}

func newToy(s *Scene) proxy.Protocol {
	return &toy{auth: s.Auth, tls: s.TLS, greeting: s.Settings.Get("greeting", "hello")}
}

func (p *toy) Name() string { return "toy" }

func (p *toy) Dialogue(ctx context.Context, c *wire.Conn, info authcore.ConnInfo) (*proxy.Login, error) {
	if err := c.Reply("%s\r\n", p.greeting); err != nil {
		return nil, err
	}
	for {
		line, err := c.ReadLine(200)
		if err != nil {
			_ = c.Bye("bye: %v\r\n", ctx.Err() != nil)
			return nil, fmt.Errorf("%w: %w", proxy.ErrGone, err)
		}
		verb, rest, _ := strings.Cut(string(line), " ")
		switch verb {
		case "IN":
			if l, err := p.in(ctx, c, info, rest); l != nil || err != nil {
				return l, err
			}
		case "TLS":
			_ = c.Reply("go\r\n")
			if err := c.ServerTLS(ctx, p.tls, time.Second); err != nil {
				return nil, err
			}
			info = proxy.WithTLS(info, c.TLS())
		case "RESET":
			_ = c.Reset()
			return nil, proxy.ErrGone
		case "BREAK":
			return nil, errors.New("broken for good")
		default:
			_ = c.Reply("what is %d\r\n", len(line))
		}
	}
}

func (p *toy) in(ctx context.Context, c *wire.Conn, info authcore.ConnInfo, rest string) (*proxy.Login, error) {
	name, word, _ := strings.Cut(rest, " ")
	a := authcore.Attempt{Door: "toy", Mechanism: "IN", Conn: info, Credential: authcore.Password{
		UnverifiedName: name, Secret: secret.New(word),
	}}
	d, err := p.auth.Authenticate(ctx, a)
	if err != nil {
		return nil, c.Reply("later\r\n")
	}
	if !d.Allowed() {
		return nil, c.Reply("no: %s\r\n", d.Reason)
	}
	return &proxy.Login{Attempt: a, Decision: d, Reply: func(r authcore.Reason, w proxy.Welcome) error {
		return c.Reply("%s %q\r\n", r, w.Capabilities)
	}}, nil
}

func (p *toy) Refuse(c *wire.Conn, why authcore.Reason, _ string) error {
	return c.Bye("no: %s\r\n", why)
}

func (p *toy) LogIn(ctx context.Context, up *proxy.Leg, l *proxy.Login) (proxy.Welcome, error) {
	greeting, err := up.ReadLine(100)
	if err != nil {
		return proxy.Welcome{}, fmt.Errorf("greeting: %w", err)
	}
	w := proxy.Welcome{Text: string(greeting)}
	if up.StartTLS != nil {
		_ = up.Reply("TLS\r\n")
		if err := up.ClientTLS(ctx, up.StartTLS, time.Second); err != nil {
			return w, err
		}
	}
	_ = up.Reply("IN %s as %s\r\n", up.SignIn.User, up.SignIn.Way)
	line, err := up.ReadLine(100)
	if err != nil {
		return w, fmt.Errorf("answer: %w", err)
	}
	capabilities, ok := strings.CutPrefix(string(line), "ok")
	if !ok {
		return w, fmt.Errorf("upstream answers %q", line)
	}
	w.Capabilities = strings.Fields(capabilities)
	return w, nil
}

func (p *toy) Relay(*proxy.Login, proxy.Welcome) proxy.Passage { return proxy.Passage{} }
