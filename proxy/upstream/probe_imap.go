package upstream

import (
	"context"
	"errors"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"latchkey/proxy"
)

// lookIMAP reads the capabilities before and after the sign-in: RFC 9051 section 6.1.1.
func lookIMAP(ctx context.Context, c *call, in *proxy.SignIn, r *Report) error {
	client, err := greetIMAP(c)
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }() // waits for the client's reader
	if r.Before, err = capabilitiesIMAP(c, client); err != nil || in == nil {
		return err
	}
	mechanism, err := saslClient(ctx, *in)
	if err != nil {
		return err
	}
	if err := client.Authenticate(mechanism); err != nil {
		return c.s.fail(StepSignIn, unspoken(err))
	}
	if r.After, err = capabilitiesIMAP(c, client); err != nil {
		return err
	}
	_ = client.Logout().Wait() // a courtesy
	return nil
}

func greetIMAP(c *call) (*imapclient.Client, error) {
	o := &imapclient.Options{TLSConfig: c.tls}
	if c.s.TLS.Mode == StartTLS {
		client, err := imapclient.NewStartTLS(c.conn, o)
		if err != nil {
			return nil, c.s.fail(StepTLS, err)
		}
		return client, nil
	}
	client := imapclient.New(c.conn, o)
	err := client.WaitGreeting()
	if err == nil && client.State() != imap.ConnStateNotAuthenticated {
		err = errors.New("is PREAUTH: whoever connects would be somebody already")
	}
	if err != nil {
		_ = client.Close()
		return nil, c.s.fail(StepGreeting, err)
	}
	return client, nil
}

func capabilitiesIMAP(c *call, client *imapclient.Client) ([]string, error) {
	set, err := client.Capability().Wait()
	if err != nil {
		return nil, c.s.fail(StepCapabilities, unspoken(err))
	}
	if set.Has("UNAUTHENTICATE") && !c.s.AuthenticatesOnlyDoor {
		return nil, c.s.fail(StepCapabilities, ErrUnauthenticate)
	}
	var caps []string
	for k := range set {
		caps = append(caps, capability(string(k)))
	}
	return sorted(caps), nil
}
