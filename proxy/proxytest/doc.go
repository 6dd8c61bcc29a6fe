// Package proxytest is what the tests of the doors share: dialogue scripts with their runner, a listener of pipes,
// throw-away certificates, an address that refuses connections, and an Authenticator and a Dialer that behave as they are told.
// It refuses nothing and is imported by tests alone.
//
// # Scripts
//
// A script is a text file, one behaviour each. Lines are carried out from the top, over a pipe and in fake time
// (testing/synctest), so waiting costs nothing and every run is the same. Empty lines and lines that start with # say
// nothing. There are two sides: the client (C, S) and, in scripts that reach it, the upstream (U, V):
//
//	C: a1 NOOP              the client sends this line; the CRLF is added
//	C+ a1 NOOP              the same, but it leaves in one write with what follows
//	C> "PASS \x00" "A"*900  the client sends these octets: Go strings, each perhaps repeated; no CRLF is added
//	S: a1 OK done           the door must answer exactly this line, ended by CRLF
//	S~ ^a1 NO \[LIMIT\] .   the door must answer a line that matches this regular expression
//	S> "+ \r\n"             the door must answer exactly these octets
//	U: * OK ready           the upstream sends; U+ and U> as with C
//	V: c1 CAPABILITY        the door must say this to the upstream; V~ and V> as with S
//
// In C and U lines, and in S and V lines without a regular expression, {b64 "\x00a@new.example\x00secret"} stands for
// the base64 of the Go string.
//
// Words act on the client's side, or on the upstream's when it is the only one or "upstream" follows:
//
//	TLS         do the handshake now; the door must not have said anything that was not expected
//	EOF         the door must close, and say nothing more
//	RESET       the door must break the connection off (TCP RST)
//	CLOSE       close
//	QUIET       nothing that was not expected may have come by now
//	WAIT 61s    let time pass
//	CANCEL      the connection's context ends, as in a drain
//
// What the door does beside talking:
//
//	ATTEMPT mechanism=PLAIN name=a@new.example secret=x authzid= agent= helo= tls=TLSv1.3
//	            the next attempt that the authenticator saw; keys that are left out are not compared
//	NO ATTEMPT  there was none that has not been checked
//	REPLY allowed IMAP4rev1 IDLE
//	            the Dialogue has answered a Login: its Reply is called with this reason and these capabilities;
//	            after any reason but allowed the connection is closed. Capabilities with spaces stand in Go quotes
//	GONE        the Dialogue has ended with ErrGone
//	FAIL regexp the Dialogue or LogIn has ended with another error, which matches
//	WELCOME IMAP4rev1 IDLE
//	            LogIn has succeeded with exactly these capabilities
//	TEXT hello  the text of that Welcome
//
// A script that does not say how it ends must end well: the Dialogue with ErrGone or a Login, LogIn with a Welcome.
// Octets that nobody expected fail it too.
//
// Before the first other line stand the settings:
//
//	PERSON a@new.example secret allowed
//	            who may come in, and with which Reason an attempt is answered; unlisted ones get bad_credentials.
//	            "error" instead of a Reason: the authenticator fails
//	SET tls implicit
//	            a setting; those below are known to the runner, all others are for the function that builds the
//	            Protocol, which must ask for each of them
//
// Settings of a client: tls (starttls: the default, implicit, none), tls_before (TLSv1.3: ended at a trusted
// load balancer), sni, client (address:port), default_domain.
//
// Settings of an upstream: way, user, master, secret, token, starttls (on: the Leg asks for it), session, facts (on),
// authenticates_only_door (on), client, local, vouched (off), helo, agent, tls_version, tls_cipher, sni,
// addresses (with commas), mechanism, door.
package proxytest
