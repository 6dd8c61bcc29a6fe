package pop3

import (
	"context"
	"fmt"

	"latchkey/authcore"
	"latchkey/proxy"
	"latchkey/proxy/wire"
)

// attempt asks the core. Allowed leaves the command unanswered, for the Login to do it.
func (d *dialogue) attempt(ctx context.Context, mechanism string, credential authcore.Credential) error {
	a := authcore.Attempt{Door: door, Mechanism: mechanism, Conn: d.info, Credential: credential, StandsFollows: true}
	decision, left, err := d.decide(ctx, a)
	switch {
	case decision.Allowed() && err == nil: // should the client have left, the Server finds out
	case ctx.Err() != nil:
		return fmt.Errorf("authenticate: %w", context.Cause(ctx))
	case left != nil:
		return fmt.Errorf("%w: %w", errLeft, left)
	case err != nil:
		_ = turnAway(d.c, authcore.Unavailable) // it goes anyway
		return brokenError{fmt.Errorf("authenticate: %w", err)}
	default:
		return d.refused(decision.Reason)
	}
	d.login = &proxy.Login{Attempt: a, Decision: decision, Offered: d.told, Reply: reply(d.c)}
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
func (d *dialogue) refused(why authcore.Reason) error {
	if d.attempts++; d.attempts >= maxAttempts {
		return ending(refusal(why))
	}
	return d.c.Reply("-ERR %s\r\n", refusal(why))
}

// reply answers the waiting command once the upstream has spoken.
func reply(c *wire.Conn) func(authcore.Reason, proxy.Welcome) error {
	return func(why authcore.Reason, _ proxy.Welcome) error {
		if why != authcore.Allowed {
			return turnAway(c, why)
		}
		return c.Reply("+OK %s\r\n", why.Sentence())
	}
}

// turnAway answers the command and closes.
func turnAway(c *wire.Conn, why authcore.Reason) error { return c.Bye("-ERR %s\r\n", refusal(why)) }
