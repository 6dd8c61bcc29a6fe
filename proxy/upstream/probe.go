package upstream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"latchkey/authcore"
	"latchkey/proxy"
)

// Report is what a probe saw.
type Report struct {
	Upstream string
	Protocol string
	At       time.Time
	// Before holds the capabilities that can be seen before the sign-in, and under TLS if there is any: IMAP capabilities,
	// EHLO keywords with parameters, CAPA lines, or the classes of the DAV header. In capitals but for HTTP, sorted.
	Before []string
	// After holds those after the sign-in; nil: nobody was signed in.
	After []string
	// CertificateExpires is the end of the upstream's certificate. Zero: it showed none.
	CertificateExpires time.Time
	// Ahead is by how much the upstream's clock is ahead of ours, where Clocked: HTTP tells its time, others do not.
	Ahead   time.Duration
	Clocked bool
}

// ErrUnauthenticate: the upstream lets a client change who it is behind the door's back: RFC 8437.
var ErrUnauthenticate = errors.New("offers UNAUTHENTICATE: switch UNAUTHENTICATE off there, or say authenticates_only_door: true " +
	"if it authenticates nobody but the door")

// Probe looks at an upstream now, signs its probe user in if it has one, and remembers what it saw for Offer and Health.
func (p *Pool) Probe(ctx context.Context, name string) (Report, error) {
	s, err := p.find(name)
	if err != nil {
		return Report{}, err
	}
	bounded, cancel := context.WithTimeout(ctx, p.o.ProbeTimeout)
	defer cancel()
	r, err := p.lookAll(bounded, s)
	if err == nil || ctx.Err() == nil { // one that its caller cut short says nothing about the upstream
		p.note(s, r, err)
	}
	return r, err
}

// lookAll looks at every address, all at once, and answers of the first one that is well; an upstream is well with one.
func (p *Pool) lookAll(ctx context.Context, s *server) (Report, error) {
	reports, errs := make([]Report, len(s.addresses)), make([]error, len(s.addresses))
	var all sync.WaitGroup
	for i, a := range s.addresses {
		all.Go(func() { reports[i], errs[i] = p.look(ctx, p.only(s, a), s.probeUser()) })
	}
	all.Wait()
	for i, a := range s.addresses {
		if errs[i] == nil || !errors.Is(ctx.Err(), context.Canceled) {
			a.probed(errs[i], s.ProbeUser != "", time.Now())
		}
	}
	if i := slices.Index(errs, nil); i >= 0 {
		return reports[i], nil
	}
	return reports[0], errors.Join(errs...)
}

func (s *server) probeUser() *authcore.Upstream {
	if s.ProbeUser == "" {
		return nil
	}
	return &authcore.Upstream{Name: s.Name, User: s.ProbeUser}
}

// look connects, reads what is offered and, with as, signs that member in. ctx has a deadline.
func (p *Pool) look(ctx context.Context, s *server, as *authcore.Upstream) (Report, error) {
	r := Report{Upstream: s.Name, Protocol: s.Protocol, At: time.Now()}
	if s.Protocol == HTTPProtocol {
		return r, p.lookHTTP(ctx, s, as, &r)
	}
	var in *proxy.SignIn
	if as != nil {
		gathered, err := p.signIn(s, *as)
		if err != nil {
			return r, err
		}
		in = &gathered
	}
	c, err := s.call(ctx)
	if err != nil {
		return r, err
	}
	defer c.hangUp()
	err = p.converse(ctx, c, in, &r)
	if c.seen != nil {
		r.CertificateExpires = c.seen.NotAfter
	}
	return r, err
}

func (p *Pool) converse(ctx context.Context, c *call, in *proxy.SignIn, r *Report) error {
	switch c.s.Protocol {
	case IMAP:
		return lookIMAP(ctx, c, in, r)
	case POP3:
		return lookPOP3(ctx, c, in, r)
	case SMTP:
		client, err := p.lookSMTP(ctx, c, in, r)
		if err == nil {
			_ = client.Quit() // a courtesy
		}
		return err
	}
	return fmt.Errorf("protocol %q has no probe", c.s.Protocol)
}

// capability brings a capability into one form, so that lists can be compared.
func capability(s string) string { return strings.ToUpper(strings.Join(strings.Fields(s), " ")) }

func sorted(caps []string) []string {
	slices.Sort(caps)
	return slices.Compact(caps)
}

// errGarbage stands where an upstream speaks another language.
var errGarbage = errors.New("answers with what the protocol does not know")
