package demo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/emersion/go-imap/v2/imapserver"
	"github.com/emersion/go-smtp"

	"latchkey/authcore/secret"
)

// Connections per protocol: a demonstration with a few programs open needs a dozen; each may hold one whole message.
const maxConnections = 128

// Options says who the people are and how the proxy signs in. The zero value is a server that nobody can enter.
type Options struct {
	Domains []string // the demo's own mail domains
	People  []Person // the first people; AddPerson adds more

	Master       string        // the master user of SASL PLAIN; empty: none
	MasterSecret secret.String // the master user's password; empty: none
	// Passthrough says whether a person may enter with a password of his own; nil: nobody may.
	Passthrough func(user, password string) bool
	// Token answers whose bearer token it is, as an address; nil: OAUTHBEARER is not offered.
	Token func(ctx context.Context, token string) (user string, err error)

	Now    func() time.Time // nil: time.Now
	Logger *slog.Logger     // nil: nothing is logged
}

// Person is somebody with a mailbox, a calendar and an address book.
type Person struct {
	Address string   // the primary address, by which the trees of CalDAV and CardDAV are named
	Aliases []string // further addresses that reach the same mailbox
}

// Server is the demo: one set of people behind four protocols. Close must be called.
type Server struct {
	o       Options
	log     *slog.Logger
	ctx     context.Context // ended by Close
	cancel  context.CancelCauseFunc
	people  *people
	imap    *imapserver.Server
	smtp    *smtp.Server
	gates   struct{ imap, inside, pop3, smtp *gate }
	closing sync.Once
}

// New makes a server for o. It listens nowhere until one of the Serve methods is called.
func New(o Options) (*Server, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{o: o, log: o.Logger, people: newPeople(o.Domains, o.Now)}
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	s.gates.imap, s.gates.inside = newGate(maxConnections), newGate(maxConnections)
	s.gates.pop3, s.gates.smtp = newGate(maxConnections), newGate(maxConnections)
	s.imap = s.newIMAP()
	s.smtp = s.newSMTP()
	for _, p := range o.People {
		if err := s.AddPerson(p.Address, p.Aliases...); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// AddPerson makes a mailbox with a welcome message, a calendar and an address book for address.
func (s *Server) AddPerson(address string, aliases ...string) error {
	p, err := s.people.add(address, aliases)
	if err != nil {
		return fmt.Errorf("add person %q: %w", address, err)
	}
	if err := p.mail.deliver(inbox, welcome(p.address, s.o.Now())); err != nil {
		return fmt.Errorf("welcome %q: %w", address, err)
	}
	return nil
}

// Deliver puts message, with CRLF line ends, into the INBOX of the person with the address or alias to.
func (s *Server) Deliver(to string, message []byte) error {
	p := s.people.find(to)
	if p == nil {
		return fmt.Errorf("deliver to %q: %w", to, errNoSuchPerson)
	}
	if err := p.mail.deliver(inbox, message); err != nil {
		return fmt.Errorf("deliver to %q: %w", to, err)
	}
	return nil
}

// Close closes all listeners and connections and waits until what served them has ended. Later calls do nothing.
func (s *Server) Close() error {
	s.closing.Do(func() {
		s.cancel(net.ErrClosed)
		// POP3 first: its sessions are clients of the IMAP server.
		for _, g := range []*gate{s.gates.pop3, s.gates.inside, s.gates.imap, s.gates.smtp} {
			g.shut()
		}
		// The IMAP library has nothing more to close. The SMTP library lets a connection go at QUIT and still does a little.
		_ = s.smtp.Shutdown(context.Background())
	})
	return nil
}

// served turns the end of a listener into the answer of a Serve method: being closed is no error.
func (s *Server) served(protocol string, err error) error {
	if err == nil || errors.Is(err, net.ErrClosed) || s.ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("serve %s: %w", protocol, err)
}
