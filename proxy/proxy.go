// Package proxy is the way of a connection: a Server accepts it, a Protocol speaks with the client until the core has
// allowed an attempt, a Dialer reaches the real server, the Protocol signs the member in there, and the relay carries
// bytes from then on. It refuses to decide anything about passwords (authcore does) and to look into what is relayed.
//
// Denied is a value, broken is an error: every error becomes the temporary answer of its protocol.
package proxy

import (
	"context"
	"crypto/tls"
	"errors"

	"latchkey/authcore"
	"latchkey/authcore/secret"
	"latchkey/authcore/session"
	"latchkey/proxy/relay"
	"latchkey/proxy/wire"
)

// Authenticator decides. It is kept by *authcore.Core and faked in tests.
type Authenticator interface {
	// Authenticate answers an error only when it could not decide: tell the client to try again, count nothing.
	// A refusal is held back by Authenticate itself; callers send it at once.
	Authenticate(ctx context.Context, a authcore.Attempt) (authcore.Decision, error)
	// Stands says, from the records and never a cache, whether the session may go on.
	Stands(ctx context.Context, s authcore.Standing) (bool, error)
	// Ended is called once for every allowed Decision, also when its upstream could not be reached.
	Ended(ctx context.Context, id session.ID, e authcore.End)
}

// Dialer reaches an upstream by name. The error says what failed, for the log; the client hears "unavailable".
type Dialer interface {
	Dial(ctx context.Context, u authcore.Upstream, c authcore.ConnInfo) (*Leg, error)
}

// Leg is a connection to an upstream, greeted by nobody yet, with what its dialogue needs to know. It is a struct of its
// own, and not only the wire.Conn, because the way of signing in is chosen per upstream.
type Leg struct {
	*wire.Conn
	Name     string
	StartTLS *tls.Config // the protocol must speak STARTTLS first and fail without it; nil: it must not
	SignIn   SignIn
	Facts    Facts
	// AuthenticatesOnlyDoor: this upstream may offer UNAUTHENTICATE, for it authenticates none but the door.
	AuthenticatesOnlyDoor bool
	Came                  func(err error) // told once how the sign-in went, unless it was given up from here; may be nil
	// Again answers another Leg for a sign-in that failed with err because the upstream had gone before; else err itself. It is
	// set on legs that were dialled ahead, and not on what it answers. Nil: there is no other.
	Again func(ctx context.Context, err error) (*Leg, error)
}

// ErrBye is in an error of LogIn where the upstream said that it is going: IMAP BYE, SMTP 421.
var ErrBye = errors.New("it is going")

// Way is how a member is signed in at an upstream.
type Way string

// The ways of the text protocols; "header", "basic" and "bearer" are for HTTP alone.
const (
	Master      Way = "master"      // SASL PLAIN with authorization identity
	Token       Way = "token"       // OAUTHBEARER with a JWT of ours
	XCLIENT     Way = "xclient"     // XCLIENT LOGIN, Postfix only
	Passthrough Way = "passthrough" // the client's own account password
)

// SignIn is what one sign-in at an upstream needs.
type SignIn struct {
	Way    Way
	User   string                                           // the member, as the upstream knows him
	Master string                                           // Master: the authentication identity
	Secret secret.String                                    // Master: its secret; Passthrough: the client's
	Token  func(ctx context.Context) (secret.String, error) // Token: makes one for this sign-in
}

// Facts say what of the client's connection is told upstream inside the protocol, and how.
type Facts struct {
	Send    bool // IMAP ID, POP3 XCLIENT, SMTP XCLIENT (facts only, unless the way is XCLIENT)
	Told    bool // the upstream has heard of the client already, by PROXY protocol
	Session string
	Conn    authcore.ConnInfo
}

// Protocol speaks one text protocol, on both sides of the door.
type Protocol interface {
	Name() string
	// Dialogue greets and speaks with the client until an attempt is allowed (a Login) or the client is gone: then the
	// error says why (ErrGone for every end that is nobody's fault). All refusals were answered already.
	Dialogue(ctx context.Context, c *wire.Conn, info authcore.ConnInfo) (*Login, error)
	// Refuse speaks to a client that is not let in at all (too many connections, shutting down) instead of a greeting.
	// text, printable ASCII, is what people are told.
	Refuse(c *wire.Conn, why authcore.Reason, text string) error
	// LogIn speaks with the upstream from its greeting until it has let the member in.
	LogIn(ctx context.Context, up *Leg, l *Login) (Welcome, error)
	// Relay says how the session is relayed and what a cut may say.
	Relay(l *Login, w Welcome) Passage
}

// Passage is how a protocol's sessions are relayed: a nil Splitter passes every byte as it comes.
type Passage struct {
	Splitter relay.Splitter
	// Farewell is what a cut or drain says, where the relay allows it; nil: nothing. The client learns that it is over, and
	// nothing of why.
	Farewell func(cause error) []byte
}

// Login is an allowed attempt whose command the client still waits on.
type Login struct {
	Attempt  authcore.Attempt // Conn as after STARTTLS, EHLO, ID
	Decision authcore.Decision
	// Offered is what the client was told of the upstreams before it signed in: LogIn fails if this one lacks any of it.
	Offered []string
	// Reply answers the waiting command: Allowed after the upstream let the member in, Unavailable when it did not; any
	// other Reason is answered as its table says. After anything but Allowed the connection closes.
	Reply func(authcore.Reason, Welcome) error
}

// Welcome is what the upstream said when it let the member in.
type Welcome struct {
	Capabilities []string // IMAP: after sign-in; SMTP: EHLO keywords with parameters; POP3: CAPA
	Text         string
	AddReceived  bool // SMTP: nothing has told the upstream of the client, so a Received field goes with each message
}

// ErrGone: the client ended the dialogue, or ran into one of its bounds, and has been told what the protocol has to say.
var ErrGone = errors.New("client gone")

// Offer answers what a door may offer before sign-in beyond the basics: what is true for every upstream the connection
// may lead to. It is passed in by main and may answer nil.
type Offer func(info authcore.ConnInfo) []string

type memberKey struct{}

// WithMember says for whom a request goes upstream, as the upstream knows him.
func WithMember(ctx context.Context, user string) context.Context {
	return context.WithValue(ctx, memberKey{}, user)
}

// MemberOf answers that; empty: it was not said.
func MemberOf(ctx context.Context) string {
	user, _ := ctx.Value(memberKey{}).(string)
	return user
}
