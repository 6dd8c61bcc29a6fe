package demo

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/textproto"
	"runtime/debug"
	"strings"
	"sync"
	"time"
)

const (
	// RFC 1939 section 4 allows lines of 255 octets, RFC 5034 section 4 longer ones while signing in; the doors go to 12288.
	maxPOP3Line = 12288 + len("AUTH OAUTHBEARER \r\n")

	pop3SignIn = time.Minute      // for each line until somebody came in
	pop3Idle   = 10 * time.Minute // RFC 1939 section 3: at least ten minutes
	pop3Write  = 5 * time.Minute  // for one reply, the largest message included

	maxPOP3Failures = 3 // refused sign-ins, after which the connection ends
)

// ServePOP3 serves POP3 on l, which it owns, until Close. Its maildrops are the INBOXes that IMAP shows.
func (s *Server) ServePOP3(l net.Listener) error {
	in := newInside()
	var mail, sessions sync.WaitGroup
	mail.Go(func() { s.serveInside(in) })
	defer mail.Wait()
	defer in.Close()
	defer sessions.Wait()

	l = s.gates.pop3.listen(l)
	defer l.Close()
	for {
		c, err := l.Accept()
		if err != nil {
			return s.served("POP3", err)
		}
		sessions.Go(func() { s.servePOP3(c, in) })
	}
}

func (s *Server) serveInside(in *inside) {
	if err := s.served("IMAP for POP3", s.imap.Serve(s.gates.inside.listen(in))); err != nil {
		s.log.Error("demo: POP3 has lost its mail", "cause", err)
	}
}

func (s *Server) servePOP3(c net.Conn, in *inside) {
	defer c.Close()
	sess := &pop3Session{
		server: s, conn: c, inside: in,
		in:  bufio.NewReaderSize(c, maxPOP3Line),
		out: bufio.NewWriter(c),
	}
	defer func() {
		if v := recover(); v != nil {
			s.log.Error("demo: panic in a connection", "protocol", "pop3", "cause", v, "stack", string(debug.Stack()))
		}
	}()
	defer sess.leave()
	if err := sess.run(s.ctx); err != nil {
		s.log.Debug("demo: pop3 connection ended", "cause", err)
	}
}

// pop3Session is one connection, owned by servePOP3.
type pop3Session struct {
	server *Server
	conn   net.Conn
	inside *inside
	in     *bufio.Reader
	out    *bufio.Writer

	user     string    // the argument of USER
	failures int       // refused sign-ins
	drop     *maildrop // nil until somebody came in: the TRANSACTION state
}

// errPOP3Quit ends a session as the client or we wished.
var errPOP3Quit = errors.New("session over")

var errPOP3Line = errors.New("malformed line")

// leave sends what still waits behind pipelined commands and lets go of the maildrop.
func (sess *pop3Session) leave() {
	_ = sess.out.Flush()
	if sess.drop != nil {
		sess.drop.close()
	}
}

func (sess *pop3Session) run(ctx context.Context) error {
	// RFC 1939 section 7: a greeting without a timestamp, so no APOP.
	if err := sess.reply("+OK Latchkey demo POP3 server ready"); err != nil {
		return err
	}
	for {
		line, err := sess.line()
		if errors.Is(err, errPOP3Line) || errors.Is(err, bufio.ErrBufferFull) {
			return errors.Join(err, sess.reply("-ERR Malformed line"))
		}
		if err != nil {
			return err
		}
		if err := sess.command(ctx, line); errors.Is(err, errPOP3Quit) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// line reads one line, without its CRLF. A bare LF or a NUL is refused.
func (sess *pop3Session) line() (string, error) {
	patience := pop3SignIn
	if sess.drop != nil {
		patience = pop3Idle
	}
	if err := sess.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return "", err
	}
	raw, err := sess.in.ReadSlice('\n')
	if err != nil {
		return "", err
	}
	line, ok := strings.CutSuffix(string(raw), "\r\n")
	if !ok || strings.ContainsAny(line, "\r\x00") {
		return "", errPOP3Line
	}
	return line, nil
}

// command does one command and writes its reply.
func (sess *pop3Session) command(ctx context.Context, line string) error {
	verb, rest, _ := strings.Cut(line, " ")
	verb = strings.ToUpper(verb)
	switch verb {
	case "CAPA":
		return sess.capabilities()
	case "QUIT":
		return sess.quit()
	}
	if sess.drop == nil {
		return sess.signIn(ctx, verb, rest)
	}
	return sess.transaction(verb, rest)
}

// capabilities answers CAPA, RFC 2449.
func (sess *pop3Session) capabilities() error {
	return sess.lines("+OK Capability list follows", []string{
		"TOP", "UIDL", "USER", "RESP-CODES", "AUTH-RESP-CODE", "PIPELINING",
		"SASL " + strings.Join(sess.server.mechanisms(), " "),
		"IMPLEMENTATION Latchkey-demo",
	})
}

// quit enters the UPDATE state: only here are messages removed (RFC 1939 section 6).
func (sess *pop3Session) quit() error {
	text := "+OK Bye"
	if sess.drop != nil {
		if err := sess.drop.update(); err != nil {
			text = "-ERR [SYS/TEMP] Some deleted messages were not removed"
		}
	}
	return errors.Join(sess.reply(text), errPOP3Quit)
}

func (sess *pop3Session) reply(text string) error {
	if err := sess.begin(text); err != nil {
		return err
	}
	return sess.flush()
}

// begin writes the first line of a reply; flush sends it, unless the client has pipelined more commands.
func (sess *pop3Session) begin(text string) error {
	if err := sess.conn.SetWriteDeadline(time.Now().Add(pop3Write)); err != nil {
		return err
	}
	_, err := sess.out.WriteString(text + "\r\n")
	return err
}

func (sess *pop3Session) flush() error {
	if sess.in.Buffered() > 0 {
		return nil // RFC 2449 section 6.6
	}
	return sess.out.Flush()
}

// lines writes a reply of several lines.
func (sess *pop3Session) lines(first string, rest []string) error {
	return sess.body(first, []byte(strings.Join(append(rest, ""), "\r\n")))
}

// body writes a reply with a text behind it, byte-stuffed (RFC 1939 section 3).
func (sess *pop3Session) body(first string, text []byte) error {
	if err := sess.begin(first); err != nil {
		return err
	}
	if err := stuff(sess.out, text); err != nil {
		return err
	}
	return sess.flush()
}

func stuff(out *bufio.Writer, text []byte) error {
	if len(text) == 0 { // the library would send an empty line
		_, err := out.WriteString(".\r\n")
		return err
	}
	w := textproto.NewWriter(out).DotWriter()
	if _, err := w.Write(text); err != nil {
		return err
	}
	return w.Close()
}
