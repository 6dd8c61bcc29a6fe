package smtp

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"latchkey/authcore"
	"latchkey/proxy"
	"latchkey/proxy/sasl"
)

// auth is RFC 4954: one exchange, one attempt.
func (d *dialogue) auth(ctx context.Context, args string) error {
	name, initial, given := strings.Cut(args, " ")
	mechanism, m, known := sasl.New(name)
	switch {
	case !d.secure(): // before anything else: the rest of the exchange would show more
		return d.reply(verdictOf(authcore.TLSRequired))
	case !d.extended:
		return d.reply(replyHelloFirst)
	case name == "" || strings.Contains(initial, " "):
		return d.reply(replyBadAuth)
	case !known:
		return d.reply(replyNoMechanism)
	}
	var response []byte
	if given {
		response = []byte(initial)
	}
	credential, err := sasl.Run(ctx, m, response, d.ask)
	switch {
	case errors.Is(err, sasl.ErrMalformed):
		return d.reply(replyMalformed)
	case errors.Is(err, sasl.ErrCancelled):
		return d.reply(replyCancelled)
	case err != nil:
		return d.lost(ctx, err)
	}
	return d.attempt(ctx, authcore.Attempt{
		Door: d.p.Name(), Mechanism: mechanism, Conn: d.info, Credential: credential, StandsFollows: true,
	})
}

// ask sends a challenge and reads the client's line.
func (d *dialogue) ask(challenge string) ([]byte, error) {
	if err := d.c.Reply("334 %s\r\n", challenge); err != nil {
		return nil, err
	}
	return d.c.ReadSecretLine(maxAuthLine)
}

// attempt asks the core and answers a refusal at once. An allowed attempt is answered when the upstream has let it in.
func (d *dialogue) attempt(ctx context.Context, a authcore.Attempt) error {
	decision, left, err := d.decide(ctx, a)
	switch {
	case ctx.Err() != nil && (err != nil || !decision.Allowed()):
		return d.bye(replyShuttingDown, context.Cause(ctx))
	case left != nil && !decision.Allowed():
		return gone(left)
	case err != nil: // broken, not denied: the cause is no client's, and not ErrGone
		_ = d.c.Bye("%s", verdictOf(authcore.Unavailable)+replyClosing) // it goes anyway
		return fmt.Errorf("authenticate: %w", err)
	case !decision.Allowed():
		return d.refuse(decision.Reason)
	}
	d.login = &proxy.Login{Attempt: a, Decision: decision, Offered: d.offered, Reply: d.conclude}
	return nil
}

// decide asks the core as long as the client waits; left says why it does not any more.
func (d *dialogue) decide(ctx context.Context, a authcore.Attempt) (decision authcore.Decision, left, err error) {
	watched, stop := d.c.Watch(ctx)
	defer stop()
	decision, err = d.p.o.Authenticator.Authenticate(watched, a)
	return decision, context.Cause(watched), err
}

// refuse answers an attempt that was not allowed; the third ends the connection.
func (d *dialogue) refuse(r authcore.Reason) error {
	if d.refused++; d.refused < maxRefused {
		return d.reply(verdictOf(r))
	}
	return d.bye(verdictOf(r)+replyTooOften, errTooOften)
}

// conclude answers the AUTH that was allowed.
func (d *dialogue) conclude(r authcore.Reason, _ proxy.Welcome) error {
	if r == authcore.Allowed {
		return d.c.Reply("%s", verdictOf(r))
	}
	return d.c.Bye("%s", verdictOf(r)+replyClosing)
}
