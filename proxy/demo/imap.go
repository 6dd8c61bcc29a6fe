package demo

import (
	"io"
	"net"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"
	"github.com/emersion/go-imap/v2/imapserver/imapmemserver"
	"github.com/emersion/go-sasl"

	"latchkey/authcore/secret"
)

// ServeIMAP serves IMAP on l, which it owns, until Close.
func (s *Server) ServeIMAP(l net.Listener) error {
	return s.served("IMAP", s.imap.Serve(s.gates.imap.listen(l)))
}

func (s *Server) newIMAP() *imapserver.Server {
	caps := imap.CapSet{}
	for _, c := range []imap.Cap{
		imap.CapIMAP4rev1, imap.CapNamespace, imap.CapUIDPlus, imap.CapESearch, imap.CapSearchRes, imap.CapListExtended,
		imap.CapListStatus, imap.CapMove, imap.CapStatusSize, imap.CapChildren, imap.CapSpecialUse,
	} {
		caps[c] = struct{}{}
	}
	return imapserver.New(&imapserver.Options{
		NewSession:   s.newIMAPSession,
		Caps:         caps,
		Logger:       libraryLog{s.log, "imap"},
		InsecureAuth: true, // loopback; TLS is the listener's affair
	})
}

func (s *Server) newIMAPSession(c *imapserver.Conn) (imapserver.Session, *imapserver.GreetingData, error) {
	sess := &imapSession{server: s}
	if p := insider(c.NetConn()); p != nil {
		sess.begin(p)
		return sess, &imapserver.GreetingData{PreAuth: true}, nil
	}
	return sess, &imapserver.GreetingData{}, nil
}

// imapSession is the library's session with our way in, and with the names and bounds of mailboxes.
type imapSession struct {
	*imapmemserver.UserSession // nil until somebody came in

	server   *Server
	mail     *mailboxes
	readOnly bool // the selected mailbox was opened by EXAMINE
}

var (
	_ imapserver.SessionSASL        = (*imapSession)(nil)
	_ imapserver.SessionNamespace   = (*imapSession)(nil)
	_ imapserver.SessionMove        = (*imapSession)(nil)
	_ imapserver.SessionAppendLimit = (*imapSession)(nil)
)

func (sess *imapSession) begin(p *person) {
	sess.mail = p.mail
	sess.UserSession = imapmemserver.NewUserSession(p.mail.user)
}

func (sess *imapSession) Login(user, password string) error {
	p := sess.server.enter("", user, secret.New(password))
	if p == nil {
		return imapserver.ErrAuthFailed
	}
	sess.begin(p)
	return nil
}

func (sess *imapSession) AuthenticateMechanisms() []string { return sess.server.mechanisms() }

func (sess *imapSession) Authenticate(mechanism string) (sasl.Server, error) {
	if e := sess.server.exchange(mechanism, sess.begin, imapserver.ErrAuthFailed); e != nil {
		return e, nil
	}
	return nil, &imap.Error{Type: imap.StatusResponseTypeNo, Text: "Unknown mechanism"}
}

// AppendLimit is told as APPENDLIMIT, RFC 7889.
func (sess *imapSession) AppendLimit() uint32 { return maxMessage }

func (sess *imapSession) Append(name string, r imap.LiteralReader, o *imap.AppendOptions) (*imap.AppendData, error) {
	if _, err := sess.mail.user.Status(name, &imap.StatusOptions{}); err != nil {
		return nil, errNoDestination
	}
	message, err := io.ReadAll(r) // the library has held the size against AppendLimit
	if err != nil {
		return nil, err
	}
	return sess.mail.append(name, message, o)
}

func (sess *imapSession) Create(name string, _ *imap.CreateOptions) error {
	return sess.mail.create(name)
}

func (sess *imapSession) Delete(name string) error { return sess.mail.delete(name) }

func (sess *imapSession) Rename(from, to string, _ *imap.RenameOptions) error {
	return sess.mail.rename(from, to)
}

func (sess *imapSession) Subscribe(name string) error { return sess.mail.subscribe(name, true) }

func (sess *imapSession) Unsubscribe(name string) error { return sess.mail.subscribe(name, false) }

func (sess *imapSession) Status(name string, o *imap.StatusOptions) (*imap.StatusData, error) {
	return sess.mail.status(name, o)
}

func (sess *imapSession) List(w *imapserver.ListWriter, ref string, patterns []string, o *imap.ListOptions) error {
	if len(patterns) == 0 { // RFC 9051 section 6.3.9: the question for the separator
		return w.WriteList(&imap.ListData{Attrs: []imap.MailboxAttr{imap.MailboxAttrNoSelect}, Delim: '/'})
	}
	found := sess.mail.list(func(name string, box mailbox) bool {
		if o.SelectSubscribed && !box.subscribed || o.SelectSpecialUse && box.use == "" {
			return false
		}
		for _, pattern := range patterns {
			if imapserver.MatchList(name, '/', ref, pattern) {
				return true
			}
		}
		return false
	})
	for _, data := range found {
		if o.ReturnStatus != nil {
			data.Status, _ = sess.mail.status(data.Mailbox, o.ReturnStatus) // nil if it was deleted since
		}
		if err := w.WriteList(&data); err != nil {
			return err
		}
	}
	return nil
}
