package authcore

import (
	"net/netip"
	"time"

	"latchkey/authcore/member"
	"latchkey/authcore/secret"
	"latchkey/authcore/session"
)

// Attempt is one try to sign in at a door.
type Attempt struct {
	Door       string   // policy.IMAP, SMTP, POP3, CalDAV, CardDAV
	Doors      []string // a DAV listener that serves two: all must be open and in scope; empty: Door alone
	Mechanism  string   // "PLAIN", "LOGIN", "USER", "BASIC": for audit and logs
	Conn       ConnInfo
	Credential Credential

	// StandsFollows: whoever asks will ask Stands before the client hears OK, and end the session where that fails. So an
	// allow need not be on record before it is answered.
	StandsFollows bool
}

// Credential is what the client sent. The set is sealed: Password now.
type Credential interface{ credential() }

// Password is a name with an account or app password.
type Password struct {
	UnverifiedName string // as the client sent it, before any preparation; at most 1024 bytes
	AuthorizeAs    string // SASL authorization identity; empty or the member's own name
	Secret         secret.String
}

func (Password) credential() {}

// ConnInfo is what is known of a connection: of the client as seen by the first trusted hop, and of the client's words.
type ConnInfo struct {
	ID            string         // of the connection, for logs and upstream session ids; at most 32 characters
	Listener      string         // the listener's name in the configuration
	Client        netip.AddrPort // from the socket, or from a PROXY header of a listed network
	ClientVouched bool           // Client may be told upstream: not loopback unless the socket says so, not from an untrusted header
	Local         netip.AddrPort
	ServerName    string // SNI, lower case; empty: none
	TLSVersion    string // "TLSv1.3"; empty: none
	TLSCipher     string
	Helo          string // SMTP: the client's EHLO argument
	Agent         string // IMAP ID name and version, or User-Agent; cleaned, at most 200 bytes
	DefaultDomain string // for bare local parts; empty: they are refused
}

// Decision is the answer to an Attempt. The zero value refuses.
type Decision struct {
	Reason         Reason
	Domain         member.DomainID
	Member         member.ID
	Credential     string // id of the app password; "account" for the account password
	CredentialName string // as its owner named it, for lists and audit
	Session        session.ID
	Addresses      []string      // primary first: what the member may send as
	Epochs         member.Epochs // under which the session stands
	Until          time.Time     // the credential's expiry; zero: none
	Upstream       Upstream      // set only when allowed
	RetryAfter     time.Duration // for temporary reasons
}

// Allowed says whether the client may go on to its upstream.
func (d Decision) Allowed() bool { return d.Reason == Allowed }

// Standing is what Stands judges: a live session with what it was opened under.
func (d Decision) Standing(a Attempt) Standing {
	return Standing{
		Session: d.Session, Domain: d.Domain, Member: d.Member, Credential: d.Credential, Door: a.Door, Doors: a.Doors,
		Epochs: d.Epochs, Until: d.Until,
	}
}

// Upstream names where an allowed session leads and as whom.
type Upstream struct {
	Name     string        // in the configuration
	User     string        // the name that the upstream knows the member by: the primary address, or the member's id by template
	Password secret.String // the client's own, for upstreams with passthrough; set only in account-password sessions
}

// Standing identifies a live session for Core.Stands.
type Standing struct {
	Session    session.ID
	Domain     member.DomainID
	Member     member.ID
	Credential string
	Door       string
	Doors      []string
	Epochs     member.Epochs
	Until      time.Time
}

// End says how a live session ended.
type End struct {
	Cause        string // a short closed word: "client", "upstream", "idle", "drain", "revoked", "expired", "unavailable", "error"
	Established  bool   // the upstream let it in and the client heard OK
	FromClient   int64  // bytes
	FromUpstream int64
}
