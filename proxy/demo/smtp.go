package demo

import (
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

const (
	// Longer than the 12288 octets of a sign-in line (RFC 4954 section 4), and than the lines of 20000 octets that some
	// programs send as a message.
	maxSMTPLine = 64 << 10
	// RFC 5321 section 4.5.3.1.8 asks for 100 at least.
	maxRecipients = 100

	smtpRead  = 5 * time.Minute // RFC 5321 section 4.5.3.2.7
	smtpWrite = time.Minute
)

var (
	errSignInFirst = &smtp.SMTPError{Code: 530, EnhancedCode: smtp.EnhancedCode{5, 7, 0}, Message: "Authentication required"}
	errUnknownUser = &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "Nobody in the demo has that address"}
	errNoRoom      = &smtp.SMTPError{Code: 452, EnhancedCode: smtp.EnhancedCode{4, 2, 2}, Message: "A mailbox of the demo is full"}
)

// ServeSMTP serves message submission on l, which it owns, until Close.
func (s *Server) ServeSMTP(l net.Listener) error {
	return s.served("SMTP", s.smtp.Serve(s.gates.smtp.listen(l)))
}

func (s *Server) newSMTP() *smtp.Server {
	srv := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) {
		return &smtpSession{server: s}, nil
	}))
	srv.Domain = s.hostname()
	srv.AllowInsecureAuth = true // loopback; TLS is the listener's affair
	srv.MaxLineLength = maxSMTPLine
	srv.MaxMessageBytes = maxMessage
	srv.MaxRecipients = maxRecipients
	srv.EnableSMTPUTF8 = true
	srv.ReadTimeout, srv.WriteTimeout = smtpRead, smtpWrite
	srv.ErrorLog = libraryLog{s.log, "smtp"}
	return srv
}

// hostname is the name in greetings.
func (s *Server) hostname() string {
	if len(s.people.domains) == 0 {
		return "localhost"
	}
	return s.people.domains[0]
}

// smtpSession is one connection; the library calls its methods one after another.
type smtpSession struct {
	server *Server
	who    *person // nil until somebody came in
	from   string
	to     []*person // recipients here, each once
	away   []string  // recipients elsewhere
}

var _ smtp.AuthSession = (*smtpSession)(nil)

func (sess *smtpSession) AuthMechanisms() []string { return sess.server.mechanisms() }

func (sess *smtpSession) Auth(mechanism string) (sasl.Server, error) {
	e := sess.server.exchange(mechanism, func(p *person) { sess.who = p }, smtp.ErrAuthFailed)
	if e == nil {
		return nil, smtp.ErrAuthUnknownMechanism
	}
	return e, nil
}

func (sess *smtpSession) Reset() { sess.from, sess.to, sess.away = "", nil, nil }

func (sess *smtpSession) Logout() error { return nil }

// Mail takes any sender: whether a member may send as somebody is the door's decision.
func (sess *smtpSession) Mail(from string, _ *smtp.MailOptions) error {
	if sess.who == nil {
		return errSignInFirst
	}
	sess.from = from
	return nil
}

func (sess *smtpSession) Rcpt(to string, _ *smtp.RcptOptions) error {
	p := sess.server.people.find(to)
	switch {
	case p == nil && (sess.server.people.local(to) || !strings.Contains(to, "@")):
		return errUnknownUser
	case p == nil:
		sess.away = append(sess.away, headerText(to))
	case !slices.Contains(sess.to, p):
		sess.to = append(sess.to, p)
	}
	return nil
}

func (sess *smtpSession) Data(r io.Reader) error {
	who, from, to, away := sess.who, sess.from, sess.to, sess.away
	body, err := io.ReadAll(r) // the library stops at MaxMessageBytes
	if err != nil {
		return err
	}
	if len(body)+maxTrace > maxMessage {
		return smtp.ErrDataTooLarge
	}
	if err := sess.server.route(who, from, to, away, body); err != nil {
		return smtpRefusal(err)
	}
	return nil
}

// route delivers one message. Room is looked at first, so that a full mailbox refuses the message as a whole; should
// another message take the room in between, some recipients have it and the sender is told to try again.
func (s *Server) route(who *person, from string, to []*person, away []string, body []byte) error {
	for _, p := range to {
		if !p.mail.hasRoom(int64(len(body) + maxTrace)) {
			return errMailboxFull
		}
	}
	for _, p := range to {
		if err := p.mail.deliver(inbox, slices.Concat(s.trace(from, p.address), body)); err != nil {
			return err
		}
	}
	if len(away) == 0 {
		return nil
	}
	list := "X-Demo-Recipients: " + strings.Join(away, ",\r\n ") + "\r\n"
	return who.mail.deliver(sentElsewhere, slices.Concat([]byte(list), body))
}

// maxTrace is more than what route writes above a message: maxRecipients times maxAddress, and a few lines.
const maxTrace = 48 << 10

// maxAddress is what RFC 5321 section 4.5.3.1 lets an address have, 64 octets, @ and 255 more.
const maxAddress = 320

// trace is what a final delivery writes above a message, RFC 5321 section 4.4.
func (s *Server) trace(from, to string) []byte {
	return fmt.Appendf(nil, "Return-Path: <%s>\r\nDelivered-To: %s\r\nReceived: by %s (Latchkey demo) with ESMTPA; %s\r\n",
		headerText(from), to, s.hostname(), s.o.Now().Format(time.RFC1123Z))
}

// headerText keeps an address from the wire from being more than a part of one header field.
func headerText(address string) string {
	address = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return -1
		}
		return r
	}, address)
	return address[:min(len(address), maxAddress)]
}

// smtpRefusal says in SMTP why a message was not delivered.
func smtpRefusal(err error) error {
	var refused *imap.Error
	if errors.As(err, &refused) {
		return errNoRoom
	}
	return fmt.Errorf("deliver: %w", err)
}
