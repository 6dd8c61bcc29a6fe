package upstream

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"time"

	"latchkey/proxy"
	"latchkey/proxy/wire"
)

// lookPOP3 reads the CAPA lists before and after the sign-in: RFC 2449.
func lookPOP3(ctx context.Context, c *call, in *proxy.SignIn, r *Report) error {
	deadline, _ := ctx.Deadline()
	w := wire.New(c.conn, wire.Options{Deadline: deadline})
	if err := pop3OK(w); err != nil {
		return c.s.fail(StepGreeting, err)
	}
	if c.s.TLS.Mode == StartTLS {
		if err := stls(ctx, c, w); err != nil {
			return c.s.fail(StepTLS, err)
		}
	}
	var err error
	if r.Before, err = capa(w); err != nil {
		return c.s.fail(StepCapabilities, err)
	}
	if in == nil {
		return nil
	}
	if err := authPOP3(ctx, w, *in); err != nil {
		return c.s.fail(StepSignIn, err)
	}
	if r.After, err = capa(w); err != nil {
		return c.s.fail(StepCapabilities, err)
	}
	_ = w.Reply("QUIT\r\n") // a courtesy
	return nil
}

// stls is RFC 2595 section 4.
func stls(ctx context.Context, c *call, w *wire.Conn) error {
	if err := w.Reply("STLS\r\n"); err != nil {
		return err
	}
	if err := pop3OK(w); err != nil {
		return err
	}
	deadline, _ := ctx.Deadline()
	return w.ClientTLS(ctx, c.tls, time.Until(deadline))
}

// errNotOK: -ERR, or no POP3 at all.
var errNotOK = fmt.Errorf("%w with -ERR", ErrRefused)

// maxPOP3Line is RFC 2449 section 4, with room for those who exceed it.
const maxPOP3Line = 2048

func pop3OK(w *wire.Conn) error {
	line, err := w.ReadLine(maxPOP3Line)
	switch {
	case err != nil:
		return err
	case bytes.HasPrefix(line, []byte("+OK")):
		return nil
	case bytes.HasPrefix(line, []byte("-ERR")):
		return errNotOK
	}
	return errGarbage
}

func capa(w *wire.Conn) ([]string, error) {
	if err := w.Reply("CAPA\r\n"); err != nil {
		return nil, err
	}
	if err := pop3OK(w); err != nil {
		return nil, err
	}
	var caps []string
	for range maxReplyLines {
		line, err := w.ReadLine(maxPOP3Line)
		if err != nil {
			return nil, err
		}
		if string(line) == "." {
			return sorted(caps), nil
		}
		caps = append(caps, capability(string(line)))
	}
	return nil, errGarbage
}

// authPOP3 is RFC 5034 section 4, without an initial response, so that any length fits its line.
func authPOP3(ctx context.Context, w *wire.Conn, in proxy.SignIn) error {
	mechanism, err := saslClient(ctx, in)
	if err != nil {
		return err
	}
	name, response, err := mechanism.Start()
	if err != nil {
		return err
	}
	if err := w.Reply("AUTH %s\r\n", name); err != nil {
		return err
	}
	line, err := w.ReadLine(maxPOP3Line)
	if err != nil {
		return err
	}
	if !bytes.HasPrefix(line, []byte("+ ")) && string(line) != "+" {
		return fmt.Errorf("%w: does not take AUTH %s", ErrRefused, name)
	}
	if err := w.WriteSecret(base64.StdEncoding.EncodeToString(response) + "\r\n"); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return pop3OK(w) // a further challenge would tell of a failure (RFC 7628 section 3.2.2): no +OK either
}
