package smtp

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"latchkey/authcore/secret"
	"latchkey/proxy"
	"latchkey/proxy/sasl"
)

// Bounds of what an upstream may say before the member is in. It is believed no more than a client.
const (
	maxUpstreamLines  = 100 // of one reply; the longest EHLO has thirty
	maxUpstreamOctets = 16 << 10
)

// visit is our dialogue with an upstream until the member is in.
type visit struct {
	up    *proxy.Leg
	hello string   // the name that EHLO gives
	caps  []string // what the last reply to EHLO offered
}

// LogIn goes through the upstream's door in the member's name.
func (p *Protocol) LogIn(ctx context.Context, up *proxy.Leg, l *proxy.Login) (proxy.Welcome, error) {
	v := &visit{up: up, hello: p.o.Hostname}
	return v.logIn(ctx, l)
}

func (v *visit) logIn(ctx context.Context, l *proxy.Login) (proxy.Welcome, error) {
	if _, err := v.expect("greeting", "220"); err != nil {
		return proxy.Welcome{}, err
	}
	if err := v.ehlo(); err != nil {
		return proxy.Welcome{}, err
	}
	if err := v.startTLS(ctx); err != nil {
		return proxy.Welcome{}, err
	}
	told, err := v.xclient()
	if err != nil {
		return proxy.Welcome{}, err
	}
	if err := v.signIn(ctx); err != nil {
		return proxy.Welcome{}, err
	}
	if err := v.keeps(l.Offered); err != nil {
		return proxy.Welcome{}, err
	}
	return proxy.Welcome{Capabilities: v.caps, AddReceived: !told && !v.up.Facts.Told}, nil
}

// ehlo asks what the upstream offers (RFC 5321 section 4.1.1.1).
func (v *visit) ehlo() error {
	if err := v.say("EHLO %s\r\n", v.hello); err != nil {
		return err
	}
	answer, err := v.expect("EHLO", "250")
	if err != nil {
		return err
	}
	v.caps = answer.lines[1:]
	return nil
}

// startTLS speaks STARTTLS where it is demanded, and nowhere else. All that was learnt before is forgotten (RFC 3207
// section 4.2).
func (v *visit) startTLS(ctx context.Context) error {
	if v.up.StartTLS == nil {
		return nil
	}
	if _, ok := v.offers("STARTTLS"); !ok {
		return errors.New("does not offer STARTTLS, which its configuration demands")
	}
	if err := v.say("STARTTLS\r\n"); err != nil {
		return err
	}
	if _, err := v.expect("STARTTLS", "220"); err != nil {
		return err
	}
	if err := v.up.ClientTLS(ctx, v.up.StartTLS, tlsTimeout); err != nil {
		return err
	}
	return v.ehlo()
}

// signIn is AUTH, where the way is not XCLIENT, which has done it already.
func (v *visit) signIn(ctx context.Context) error {
	if v.up.SignIn.Way == proxy.XCLIENT {
		return nil
	}
	x, err := v.exchange(ctx)
	if err != nil {
		return err
	}
	if params, ok := v.offers("AUTH"); !ok || !slices.ContainsFunc(params, equalFold(x.Mechanism())) {
		return fmt.Errorf("does not offer AUTH %s", x.Mechanism())
	}
	return v.auth(x)
}

func (v *visit) exchange(ctx context.Context) (*sasl.Exchange, error) {
	in := v.up.SignIn
	switch in.Way {
	case proxy.Master:
		return sasl.PlainExchange(in.User, in.Master, in.Secret)
	case proxy.Passthrough:
		return sasl.PlainExchange("", in.User, in.Secret)
	case proxy.Token:
		token, err := in.Token(ctx)
		if err != nil {
			return nil, fmt.Errorf("make a token: %w", err)
		}
		host, port := sasl.Endpoint(v.up.Conn)
		return sasl.BearerExchange(in.User, token, host, port)
	}
	return nil, fmt.Errorf("way %q is not for SMTP", in.Way)
}

// auth carries the exchange out. Of replies to it only codes are told: a server may repeat what it did not like.
func (v *visit) auth(x *sasl.Exchange) error {
	_ = v.up.WriteString("AUTH " + x.Mechanism() + " ") // sticky: the last one tells
	if err := v.sendSecret(x.Initial()); err != nil {
		return err
	}
	for {
		answer, err := v.read("AUTH")
		switch {
		case err != nil:
			return err
		case answer.code == "235":
			return nil
		case answer.code != "334":
			return fmt.Errorf("AUTH %s as %q is answered %s", x.Mechanism(), v.up.SignIn.User, answer.codes())
		}
		response, err := x.Next(answer.lines[0])
		if err != nil {
			return fmt.Errorf("AUTH: %w", err)
		}
		if err := v.sendSecret(response); err != nil {
			return err
		}
	}
}

func (v *visit) sendSecret(s secret.String) error {
	_ = v.up.WriteSecret(s.Reveal()) // sticky
	return v.say("\r\n")
}

// keeps says whether the upstream keeps what the client was promised before anyone knew that it would lead here.
func (v *visit) keeps(offered []string) error {
	for _, promise := range offered {
		if _, ok := v.offers(keywordOf(promise)); !ok {
			return fmt.Errorf("lacks %s, which the door has offered", keywordOf(promise))
		}
	}
	return nil
}

// offers answers the parameters of an extension.
func (v *visit) offers(keyword string) (params []string, ok bool) {
	for _, c := range v.caps {
		if strings.EqualFold(keywordOf(c), keyword) {
			return strings.FieldsFunc(c[len(keyword):], func(r rune) bool { return r == ' ' || r == '=' }), true
		}
	}
	return nil, false
}

func equalFold(to string) func(string) bool {
	return func(s string) bool { return strings.EqualFold(s, to) }
}

func (v *visit) say(format string, a ...any) error { return v.up.Reply(format, a...) }
