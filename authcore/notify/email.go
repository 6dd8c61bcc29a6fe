package notify

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/mail"
	"strconv"
	"strings"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
	gomail "github.com/wneessen/go-mail"

	"latchkey/authcore/secret"
)

// How the way to the mail server is protected.
const (
	ImplicitTLS = "tls"
	StartTLS    = "starttls"
	NoTLS       = "none" // to this host alone
)

// EmailOptions say how e-mail leaves.
type EmailOptions struct {
	Address  string        // host:port of the server that takes it
	Mode     string        // ImplicitTLS, StartTLS or NoTLS
	TLS      *tls.Config   // nil: the system's authorities, and the host of Address
	User     string        // of AUTH; empty: none
	Secret   secret.String // its password
	From     string        // like "Example Mail <no-reply@example.org>"
	Hostname string        // what EHLO and the Message-ID name
	Now      func() time.Time
}

// Email is a Sender over SMTP (RFC 5321), a connection for each message.
type Email struct {
	o    EmailOptions
	host string
	from *mail.Address
}

const (
	smtpCommand  = 10 * time.Second // one command; the attempt as a whole ends with its context
	smtpMessage  = 20 * time.Second // the reply to the final dot
	maxSMTPReply = 256 << 10        // bytes that a server may say in one connection
)

// NewEmail makes one. It dials nobody.
func NewEmail(o EmailOptions) (*Email, error) {
	host, _, err := net.SplitHostPort(o.Address)
	if err != nil {
		return nil, fmt.Errorf("address: must be host:port, is %q", o.Address)
	}
	from, err := mail.ParseAddress(o.From)
	if err != nil {
		return nil, fmt.Errorf("from: must be an e-mail address, perhaps with a name before it, is %q", o.From)
	}
	switch {
	case o.Mode != ImplicitTLS && o.Mode != StartTLS && o.Mode != NoTLS:
		return nil, fmt.Errorf("tls: must be tls, starttls or none, is %q", o.Mode)
	case o.Mode == NoTLS && !loopback(host):
		return nil, errors.New("tls: none is for a server on this host alone")
	case (o.User == "") != o.Secret.Empty():
		return nil, errors.New("user: goes with secret_file, and secret_file with it")
	}
	if o.TLS == nil {
		o.TLS = &tls.Config{}
	}
	o.TLS = o.TLS.Clone()
	o.TLS.MinVersion = tls.VersionTLS12
	if o.TLS.ServerName == "" {
		o.TLS.ServerName = host
	}
	if o.Hostname == "" {
		o.Hostname = "localhost"
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Email{o: o, host: host, from: from}, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Send brings one message to the server.
func (e *Email) Send(ctx context.Context, o Outgoing) error {
	text, err := e.message(o)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	c, end, err := e.dial(ctx)
	if err != nil {
		return err
	}
	defer end()
	if err := e.submit(c, o, text); err != nil {
		return err
	}
	_ = c.Quit() // it has been taken
	return nil
}

// message is the text as it goes out. The Message-ID is the same at every attempt.
func (e *Email) message(o Outgoing) ([]byte, error) {
	m := gomail.NewMsg(gomail.WithNoDefaultUserAgent(), gomail.WithCharset(gomail.CharsetUTF8), gomail.WithEncoding(gomail.EncodingQP))
	if err := m.FromFormat(e.from.Name, e.from.Address); err != nil {
		return nil, errors.New("the sender's address cannot be written")
	}
	if err := m.To(o.To); err != nil {
		return nil, errors.New("the receiver's address cannot be written")
	}
	m.Subject(o.Subject)
	m.SetDateWithValue(o.Time)
	m.SetMessageIDWithValue(o.ID + "@" + e.o.Hostname)
	m.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834 section 5
	m.SetGenHeader("X-Latchkey-Kind", string(o.Kind))
	m.SetGenHeader("X-Latchkey-Attempt", strconv.Itoa(o.Attempt))
	m.SetBodyString(gomail.TypeTextPlain, o.Text+"\n")
	var b bytes.Buffer
	if _, err := m.WriteTo(&b); err != nil {
		return nil, fmt.Errorf("write the message: %w", err)
	}
	return b.Bytes(), nil
}

// dial opens the connection, protected and signed in.
func (e *Email) dial(ctx context.Context) (*smtp.Client, func(), error) {
	conn, err := (&net.Dialer{Timeout: smtpCommand}).DialContext(ctx, "tcp", e.o.Address)
	if err != nil {
		return nil, nil, fmt.Errorf("dial the mail server: %w", err)
	}
	conn = &bounded{Conn: conn, left: maxSMTPReply}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	end := func() { stop(); _ = conn.Close() }
	c, err := e.greet(ctx, conn)
	if err != nil {
		end()
		return nil, nil, err
	}
	return c, end, nil
}

func (e *Email) greet(ctx context.Context, conn net.Conn) (c *smtp.Client, err error) {
	_ = conn.SetDeadline(time.Now().Add(smtpCommand)) // until the client sets its own for each command
	switch e.o.Mode {
	case ImplicitTLS:
		t := tls.Client(conn, e.o.TLS)
		if err := t.HandshakeContext(ctx); err != nil {
			return nil, fmt.Errorf("TLS with the mail server: %w", err)
		}
		c = smtp.NewClient(t)
	case StartTLS:
		if c, err = smtp.NewClientStartTLS(conn, e.o.TLS); err != nil {
			return nil, fmt.Errorf("STARTTLS with the mail server: %w", plain(err))
		}
	default:
		c = smtp.NewClient(conn)
	}
	c.CommandTimeout, c.SubmissionTimeout = smtpCommand, smtpMessage
	if err := c.Hello(e.o.Hostname); err != nil {
		return nil, fmt.Errorf("greet the mail server: %w", plain(err))
	}
	if e.o.User == "" {
		return c, nil
	}
	var way sasl.Client = sasl.NewPlainClient("", e.o.User, e.o.Secret.Reveal())
	if !c.SupportsAuth(sasl.Plain) && c.SupportsAuth(sasl.Login) {
		way = sasl.NewLoginClient(e.o.User, e.o.Secret.Reveal())
	}
	if err := c.Auth(way); err != nil {
		return nil, fmt.Errorf("sign in at the mail server: %w", plain(err))
	}
	return c, nil
}

func (e *Email) submit(c *smtp.Client, o Outgoing, text []byte) error {
	wide := strings.ContainsFunc(o.To+e.from.Address, func(r rune) bool { return r > 0x7f })
	if ok, _ := c.Extension("SMTPUTF8"); wide && !ok {
		return fmt.Errorf("%w: the mail server takes no address with such letters (SMTPUTF8)", ErrRefused)
	}
	if err := c.Mail(e.from.Address, &smtp.MailOptions{UTF8: wide}); err != nil {
		return fmt.Errorf("MAIL: %w", plain(err)) // says something of the server or of us
	}
	if err := c.Rcpt(o.To, nil); err != nil {
		return fmt.Errorf("RCPT: %w", ofReceiver(refusal(err)))
	}
	w, err := c.Data()
	if err != nil {
		return fmt.Errorf("DATA: %w", refusal(err))
	}
	if _, err := w.Write(text); err != nil {
		return fmt.Errorf("write the message: %w", plain(err))
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("end of the message: %w", refusal(err))
	}
	return nil
}

// refusal tells a reply that will not change (RFC 5321 section 4.2.1: 5yz) from one that may.
func refusal(err error) error {
	var s *smtp.SMTPError
	if errors.As(err, &s) && s.Code >= 500 {
		return fmt.Errorf("%w: %w", ErrRefused, plain(err))
	}
	return plain(err)
}

// ofReceiver tells a full or unknown mailbox from a server that closes (RFC 5321 section 3.8: 421).
func ofReceiver(err error) error {
	var r replied
	if errors.As(err, &r) && r.code >= 400 && r.code < 500 && r.code != 421 {
		return fmt.Errorf("%w: %w", ErrNotNow, err)
	}
	return err
}

// plain keeps of a reply its codes: the text of many servers holds the address, and may hold anything.
func plain(err error) error {
	var s *smtp.SMTPError
	if errors.As(err, &s) {
		return replied{s.Code, s.EnhancedCode}
	}
	return err
}

// replied is a reply without its text.
type replied struct {
	code     int
	enhanced smtp.EnhancedCode
}

func (r replied) Error() string {
	return fmt.Sprintf("answered %d %d.%d.%d", r.code, r.enhanced[0], r.enhanced[1], r.enhanced[2])
}

// bounded is a connection whose other side may say only so much.
type bounded struct {
	net.Conn
	left int
}

var errTalks = errors.New("the server says too much")

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errTalks
	}
	n, err := b.Conn.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}
