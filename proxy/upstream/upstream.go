// Package upstream knows the real servers behind the doors: it dials them by name, with TLS, the client's facts and the
// material of the sign-in; it probes what they offer, watches whether they are well, and tells an operator what to mend.
//
// It refuses an upstream that could be talked into being somebody else: PROXY protocol together with XCLIENT, an IMAP
// server that offers UNAUTHENTICATE, two upstreams that take each other's tokens. It never tells an upstream an address
// that nobody vouches for, and no error of it holds a secret or what an upstream said after it had been told one.
//
// Who speaks what: the doors' own packages sign members in over a proxy.Leg that Dial made. Probe and Doctor use the
// emersion clients instead, so that an upstream is judged by a second opinion and not by the code that leans on it.
package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"latchkey/authcore/secret"
	"latchkey/proxy"
)

// Options of a Pool. The zero value of everything but Servers works.
type Options struct {
	Servers []Server
	// Token signs a token for an upstream. Needed if a server's way asks for one.
	Token func(ctx context.Context, c Claims) (secret.String, error)
	// HelloName is said in EHLO by probes. Empty: "localhost".
	HelloName string
	// DialTimeout bounds the connect to one address. Zero: 2 s, so that two addresses fit into SignInTimeout.
	DialTimeout time.Duration
	// SignInTimeout bounds connect, TLS and the sign-in there together. Zero: 4.5 s, for a client behind it hears the
	// temporary answer within 5 s.
	SignInTimeout time.Duration
	// ProbeEvery is the pause between two probes of an upstream by Run, give or take a fifth. Zero: 30 s.
	ProbeEvery time.Duration
	// ProbeTimeout bounds one probe. Zero: 10 s, for Dovecot holds refused sign-ins back for seconds.
	ProbeTimeout time.Duration
	// Log is told when an upstream falls ill and when it recovers. Nil: nobody is.
	Log *slog.Logger

	patience, alive time.Duration // tests have others
}

// Claims are what a token for an upstream says beside its times and its id.
type Claims struct {
	Issuer    string
	Audience  string
	Subject   string // the member, as the upstream knows him
	Algorithm string // ES256 or EdDSA
}

// Pool holds the upstreams of a configuration. It is safe for use by many goroutines, and never changes: a reload builds
// another one.
type Pool struct {
	o       Options
	life    context.Context // ends with Close
	end     context.CancelFunc
	names   []string // in the order of the configuration
	servers map[string]*server

	mu     sync.Mutex
	good   map[string]Report // last good probe by upstream; guarded by mu
	health map[string]Health // guarded by mu
}

// server is a Server made ready to be dialled.
type server struct {
	Server
	tls       *tls.Config // nil: in the clear
	addresses []*address
	sources   *sources
	timeout   time.Duration
	log       *slog.Logger
	probing   bool  // addresses that are down are dialled too
	http      *HTTP // set for HTTP alone
}

// ErrUnknown: no upstream of that name is configured.
var ErrUnknown = errors.New("no such upstream")

// New builds a Pool, or names every mistake in the servers at once.
func New(o Options) (*Pool, error) {
	o.setDefaults()
	if err := validate(o); err != nil {
		return nil, err
	}
	p := &Pool{o: o, servers: map[string]*server{}, good: map[string]Report{}, health: map[string]Health{}}
	p.life, p.end = context.WithCancel(context.Background())
	for _, c := range o.Servers {
		s, err := p.prepare(c)
		if err != nil {
			return nil, fmt.Errorf("upstream %q: %w", c.Name, err)
		}
		p.names = append(p.names, c.Name)
		p.servers[c.Name] = s
		p.health[c.Name] = Health{Upstream: c.Name, Protocol: c.Protocol}
	}
	return p, nil
}

func (o *Options) setDefaults() {
	def := func(d *time.Duration, to time.Duration) {
		if *d == 0 {
			*d = to
		}
	}
	def(&o.DialTimeout, 2*time.Second)
	def(&o.SignInTimeout, 4500*time.Millisecond)
	def(&o.ProbeEvery, 30*time.Second)
	def(&o.ProbeTimeout, 10*time.Second)
	def(&o.patience, patience)
	def(&o.alive, aliveTimeout)
	if o.HelloName == "" {
		o.HelloName = "localhost"
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
}

func (p *Pool) prepare(c Server) (*server, error) {
	c.setDefaults()
	cfg, err := clientTLS(c)
	if err != nil {
		return nil, err
	}
	from, err := newSources(c.SourceAddresses)
	if err != nil {
		return nil, err
	}
	s := &server{Server: c, tls: cfg, addresses: addresses(c.Addresses), sources: from, timeout: p.o.DialTimeout, log: p.o.Log}
	if c.Protocol == HTTPProtocol {
		s.http = newHTTP(p, s)
	}
	return s, nil
}

func (p *Pool) find(name string) (*server, error) {
	s, ok := p.servers[name]
	if !ok {
		return nil, &Error{Upstream: name, Step: StepFind, Err: ErrUnknown}
	}
	return s, nil
}

// UserByID says whether an upstream knows members by their ids, and not by their addresses.
func (p *Pool) UserByID(name string) bool {
	s, ok := p.servers[name]
	return ok && s.User == ByID
}

// Passthrough says whether an upstream is to be shown the client's own password.
func (p *Pool) Passthrough(name string) bool {
	s, ok := p.servers[name]
	return ok && s.Way == proxy.Passthrough
}

// Close gives up what is kept open between requests. Requests in flight go on.
func (p *Pool) Close() {
	p.end()
	for _, s := range p.servers {
		for _, a := range s.addresses {
			a.warm.close()
		}
		if s.http != nil {
			s.http.closeIdle()
		}
	}
}

// Step says how far a way to an upstream led.
type Step string

// The steps, in order.
const (
	StepFind         Step = "find"
	StepToken        Step = "sign token"
	StepConnect      Step = "connect"
	StepProxyHeader  Step = "send PROXY header"
	StepTLS          Step = "TLS handshake"
	StepGreeting     Step = "greeting"
	StepCapabilities Step = "capabilities"
	StepSignIn       Step = "sign in"
	StepRequest      Step = "request"
)

// Error says which upstream failed, and at which step. It holds no secret.
type Error struct {
	Upstream string
	Step     Step
	Err      error
}

func (e *Error) Error() string { return fmt.Sprintf("upstream %q: %s: %v", e.Upstream, e.Step, e.Err) }

// Unwrap answers the cause.
func (e *Error) Unwrap() error { return e.Err }
