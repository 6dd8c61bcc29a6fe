package upstream

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/emersion/go-webdav"

	"latchkey/authcore"
)

// lookHTTP asks for the options of the root, and with as for the principal of that member.
func (p *Pool) lookHTTP(ctx context.Context, s *server, as *authcore.Upstream, r *Report) error {
	var seen *x509.Certificate
	t := s.newTransport(s.watched(&seen), s.addresses[0])
	defer t.CloseIdleConnections()
	header := http.Header{}
	if as != nil {
		if err := s.http.SignIn(ctx, *as, header); err != nil {
			return err
		}
	}
	res, err := s.http.ask(ctx, t, header)
	if seen != nil {
		r.CertificateExpires = seen.NotAfter
	}
	if err != nil {
		return s.fail(StepRequest, err)
	}
	r.readClock(res)
	r.Before = davClasses(res)
	if as == nil {
		return s.judge(res)
	}
	return s.principal(ctx, t, header, r)
}

// judge weighs the answer to a question without a member: an HTTP server may ask who it is (401), and lives.
func (s *server) judge(res *http.Response) error {
	if res.StatusCode >= http.StatusInternalServerError {
		return s.fail(StepRequest, fmt.Errorf("answers OPTIONS with %d", res.StatusCode))
	}
	return nil
}

func (r *Report) readClock(res *http.Response) {
	told, err := http.ParseTime(res.Header.Get("Date"))
	if err != nil {
		return
	}
	r.Ahead, r.Clocked = time.Until(told).Round(time.Second), true
}

// davClasses reads the DAV header: RFC 4918 section 10.1.
func davClasses(res *http.Response) []string {
	var caps []string
	for _, v := range res.Header.Values("Dav") {
		for class := range strings.SplitSeq(v, ",") {
			if class = strings.TrimSpace(class); class != "" {
				caps = append(caps, class)
			}
		}
	}
	return sorted(caps)
}

// signedIn adds the sign-in to what a client library asks.
type signedIn struct {
	t      http.RoundTripper
	header http.Header
	status int // of the last answer
}

func (c *signedIn) Do(r *http.Request) (*http.Response, error) {
	for k, v := range c.header {
		r.Header[k] = v
	}
	res, err := c.t.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	c.status = res.StatusCode
	res.Body = http.MaxBytesReader(nil, res.Body, maxProbeBytes)
	return res, nil
}

// principal asks who the server takes the member for: RFC 5397.
func (s *server) principal(ctx context.Context, t http.RoundTripper, header http.Header, r *Report) error {
	who := &signedIn{t: t, header: header}
	client, err := webdav.NewClient(who, s.http.base.String())
	if err != nil {
		return s.fail(StepSignIn, err)
	}
	_, err = client.FindCurrentUserPrincipal(ctx)
	switch {
	case who.status == 0:
		return s.fail(StepRequest, unspoken(err))
	case who.status == http.StatusUnauthorized || who.status == http.StatusForbidden:
		return s.fail(StepSignIn, fmt.Errorf("%w with %d", ErrRefused, who.status))
	case who.status != http.StatusMultiStatus:
		return s.fail(StepSignIn, fmt.Errorf("answers PROPFIND with %d", who.status))
	case err != nil:
		return s.fail(StepSignIn, errors.New("names no principal for the member"))
	}
	r.After = r.Before
	return nil
}
