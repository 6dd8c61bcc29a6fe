package imap

import (
	"context"
	"fmt"
	"strings"

	"latchkey/authcore"
	"latchkey/proxy"
	"latchkey/proxy/wire"
)

// attempt asks the core. Allowed leaves the command unanswered, for the Login to do it.
func (d *dialogue) attempt(ctx context.Context, cmd *command, mechanism string, credential authcore.Credential) error {
	a := authcore.Attempt{Door: door, Mechanism: mechanism, Conn: d.info, Credential: credential, StandsFollows: true}
	decision, left, err := d.decide(ctx, a)
	switch {
	case decision.Allowed() && err == nil: // should the client have left, the Server finds out
	case ctx.Err() != nil:
		return fmt.Errorf("authenticate: %w", context.Cause(ctx))
	case left != nil:
		return fmt.Errorf("%w: %w", errLeft, left)
	case err != nil:
		_ = turnAway(d.c, cmd.tag, authcore.Unavailable) // it goes anyway
		return brokenError{fmt.Errorf("authenticate: %w", err)}
	default:
		return d.refused(cmd, decision.Reason)
	}
	d.login = &proxy.Login{Attempt: a, Decision: decision, Offered: d.told, Reply: reply(d.c, cmd.tag)}
	return nil
}

// decide asks the core for as long as the client waits; left says why it does not any more.
func (d *dialogue) decide(ctx context.Context, a authcore.Attempt) (decision authcore.Decision, left, err error) {
	watched, stop := d.c.Watch(ctx)
	defer stop()
	decision, err = d.o.Auth.Authenticate(watched, a)
	return decision, context.Cause(watched), err
}

// refused answers an attempt that was not allowed; the third ends the connection.
func (d *dialogue) refused(cmd *command, why authcore.Reason) error {
	if err := cmd.skip(); err != nil {
		return err
	}
	if d.attempts++; d.attempts < maxAttempts {
		return d.c.Reply("%s NO %s\r\n", cmd.tag, refusal(why))
	}
	_ = d.c.Printf("%s NO %s\r\n", cmd.tag, refusal(why)) // it goes anyway
	return ending("Too many failed attempts")
}

// reply answers the waiting command once the upstream has spoken. It holds nothing of the dialogue but the tag.
func reply(c *wire.Conn, tag string) func(authcore.Reason, proxy.Welcome) error {
	return func(why authcore.Reason, w proxy.Welcome) error {
		switch {
		case why != authcore.Allowed:
			return turnAway(c, tag, why)
		case len(w.Capabilities) > 0: // RFC 9051 section 7.1: what the client knew before does not hold any more
			return c.Reply("%s OK [CAPABILITY %s] %s\r\n", tag, strings.Join(w.Capabilities, " "), why.Sentence())
		}
		return c.Reply("%s OK %s\r\n", tag, why.Sentence())
	}
}

// turnAway answers the command and closes.
func turnAway(c *wire.Conn, tag string, why authcore.Reason) error {
	return c.Bye("%s NO %s\r\n* BYE Sign in again\r\n", tag, refusal(why))
}
