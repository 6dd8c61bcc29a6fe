package imap

import (
	"context"
	"encoding/base64"
	"errors"
	"regexp"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"latchkey/authcore"
	"latchkey/authcore/secret"
	"latchkey/authcore/session"
	"latchkey/proxy"
	"latchkey/proxy/proxytest"
	"latchkey/proxy/wire"
)

// refuser lets nobody in, and looks at what would have been tried.
type refuser struct{ t testing.TB }

func (r refuser) Authenticate(_ context.Context, a authcore.Attempt) (authcore.Decision, error) {
	p, ok := a.Credential.(authcore.Password)
	if !ok || p.UnverifiedName == "" || a.Conn.TLSVersion == "" {
		r.t.Fatalf("attempt %#v", a)
	}
	for _, part := range []string{p.UnverifiedName, p.AuthorizeAs, p.Secret.Reveal(), a.Conn.Agent} {
		if len(part) > 1024 || !utf8.ValidString(part) || strings.ContainsFunc(part, unicode.IsControl) {
			r.t.Fatalf("attempt with %q", part)
		}
	}
	if p.Secret.Reveal() == "broken" {
		return authcore.Decision{}, errors.New("broken")
	}
	return authcore.Decision{Reason: authcore.BadCredentials}, nil
}

func (r refuser) Stands(context.Context, authcore.Standing) (bool, error) { return false, nil }
func (r refuser) Ended(context.Context, session.ID, authcore.End)         {}
func plainMessage(s string) string                                        { return base64.StdEncoding.EncodeToString([]byte(s)) }

// answerLine is any line that a door may say: greeting and other untagged lines, a challenge, an invitation, or an
// answer with a tag.
var answerLine = regexp.MustCompile(`^(\* (OK|BAD|BYE|CAPABILITY|ID) .*|\+ [A-Za-z0-9+/=]*|\+ Go on|[^ "(){%*\\+\x00-\x1f\x7f-\xff]+ (OK|NO|BAD) .*)$`)

// FuzzDialogue: whatever octets come, in whatever pieces, the dialogue ends, lets nobody in and says lines of its own.
func FuzzDialogue(f *testing.F) {
	for _, seed := range []string{
		"a1 CAPABILITY\r\na2 NOOP\r\na3 LOGOUT\r\n",
		"a1 LOGIN ann secret\r\na2 LOGIN \"a\\\"nn\" \"\\\\\"\r\na3 LOGIN {3+}\r\nann {6}\r\nsecret\r\n",
		"a1 LOGIN ann broken\r\n",
		"a1 AUTHENTICATE PLAIN " + plainMessage("\x00ann\x00secret") + "\r\n",
		"a1 AUTHENTICATE PLAIN\r\n" + plainMessage("ann\x00ann\x00secret") + "\r\na2 NOOP\r\n",
		"a1 AUTHENTICATE LOGIN\r\n" + plainMessage("ann") + "\r\n" + plainMessage("secret") + "\r\n",
		"a1 AUTHENTICATE LOGIN =\r\na2 AUTHENTICATE PLAIN\r\n*\r\n",
		"a1 ID (\"name\" \"x\" \"version\" NIL)\r\na2 ID nil\r\na3 ID ({4+}\r\nname {1}\r\nx)\r\n",
		"a1 STARTTLS\r\n", "a1 STARTTLS\r\nx",
		"a1 APPEND {5+}\r\nINBOX {3+}\r\nabc\r\na2 SELECT {5}\r\n",
		"a1 X {99999999+}\r\n", "a1 X {9223372036854775807+}\r\n", "a1 X {9223372036854775808+}\r\n",
		"a1 LOGIN {1025+}\r\n" + strings.Repeat("x", 1025) + " x\r\na2 NOOP\r\n",
		"* x\r\n\r\n \r\n+ y\r\n",
	} {
		f.Add([]byte(seed), true, 0)
		f.Add([]byte(seed), false, 1)
	}
	f.Fuzz(func(t *testing.T, input []byte, secure bool, piece int) {
		c := &proxytest.Tape{In: input, Piece: max(piece%64, 0)}
		var info authcore.ConnInfo
		if secure {
			info.TLSVersion = "TLSv1.3"
		}
		door := New(Options{Auth: refuser{t}, Offer: func(authcore.ConnInfo) []string { return []string{"IDLE"} }})
		login, err := door.Dialogue(context.Background(), wire.New(c, wire.Options{}), info)
		if login != nil || err == nil {
			t.Fatalf("Dialogue = %v, %v", login, err)
		}
		said := c.Out.String()
		if len(said) > 64<<10 {
			t.Fatalf("said %d octets", len(said))
		}
		if !strings.HasSuffix(said, "\r\n") {
			t.Fatalf("said %q", said)
		}
		for line := range strings.SplitSeq(strings.TrimSuffix(said, "\r\n"), "\r\n") {
			if !answerLine.MatchString(line) {
				t.Fatalf("said %q", line)
			}
		}
	})
}

// FuzzLogIn: whatever an upstream says, the sign-in ends, and what it tells of capabilities can be repeated to a client.
func FuzzLogIn(f *testing.F) {
	for _, seed := range []string{
		"* OK [CAPABILITY IMAP4rev1 SASL-IR ID AUTH=PLAIN] ready\r\n* ID NIL\r\nL1 OK\r\nL2 OK [CAPABILITY IMAP4rev1 LOGIN-REFERRALS] in\r\n",
		"* OK ready\r\nL1 OK\r\n",
		"* OK ready\r\n* CAPABILITY IMAP4rev1 AUTH=PLAIN AUTH=OAUTHBEARER\r\nL1 OK x\r\n+ \r\nL2 OK in\r\n* CAPABILITY X]Y\r\nL3 OK\r\n",
		"* OK [CAPABILITY IMAP4rev1 AUTH=OAUTHBEARER] ready\r\n+ \r\n+ e30=\r\nL1 NO [X] no\r\n",
		"* OK [CAPABILITY IMAP4rev1] ready\r\n+ \r\n+ go on\r\nL1 OK [CAPABILITY X] in\r\n",
		"* OK [CAPABILITY IMAP4rev1 LITERAL+ UNAUTHENTICATE] ready\r\n",
		"* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] ready\r\n* X {5}\r\nL1 OK {3}\r\nabc\r\n* BYE\r\n",
		"* PREAUTH x\r\n", "* BYE [UNAVAILABLE] x\r\n", "+OK\r\n", "* OK [CAPABILITY", "* OK [A] {99999999999}\r\n",
	} {
		for i := range 4 {
			f.Add([]byte(seed), i, i)
		}
	}
	ways := []proxy.Way{proxy.Master, proxy.Token, proxy.Passthrough, proxy.XCLIENT}
	f.Fuzz(func(t *testing.T, input []byte, way, piece int) {
		c := &proxytest.Tape{In: input, Piece: max(piece%64, 0)}
		leg := &proxy.Leg{Conn: wire.New(c, wire.Options{}), Facts: proxy.Facts{Send: piece%2 == 0, Session: "s"}}
		leg.SignIn = proxy.SignIn{
			Way: ways[max(way, 0)%len(ways)], User: "\u00e4nn", Master: "door", Secret: secret.New("geheim"),
			Token: func(context.Context) (secret.String, error) { return secret.New("geheim"), nil },
		}
		w, err := New(Options{}).LogIn(context.Background(), leg, &proxy.Login{})
		if err != nil {
			if strings.Contains(err.Error(), "geheim") || len(err.Error()) > 400 || strings.ContainsFunc(err.Error(), unicode.IsControl) {
				t.Fatalf("error %q", err)
			}
			return
		}
		for _, name := range w.Capabilities {
			if !isAtom(name) || has([]string{"LOGIN-REFERRALS", "UNAUTHENTICATE"}, name) {
				t.Fatalf("capability %q", name)
			}
		}
	})
}

// FuzzArgument: a name or password in LOGIN is read by a strict parser as it was meant, or is not sent at all.
func FuzzArgument(f *testing.F) {
	for _, seed := range []string{"", "a", `"`, `\`, `\"`, "{5}", "{5+}", "p\u00e4ss", "a\r\nb", "a\x00b", "\xff", "NIL", `x"} y`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if len(s) > 1024 {
			return
		}
		c := &proxytest.Tape{}
		u := &upstream{leg: &proxy.Leg{Conn: wire.New(c, wire.Options{})}, caps: []string{"LITERAL+"}}
		_ = u.leg.WriteString("a1 LOGIN ")
		if err := u.argument("a1", s); err != nil {
			if !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) {
				t.Fatalf("argument(%q): %v", s, err)
			}
			return
		}
		if err := u.leg.Reply("\r\n"); err != nil {
			t.Fatal(err)
		}
		cmd, err := readCommand(wire.New(&proxytest.Tape{In: c.Out.Bytes()}, wire.Options{}))
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.sp(); err != nil {
			t.Fatal(err)
		}
		got, err := cmd.astring(1024)
		if err != nil || got != s || cmd.end() != nil {
			t.Fatalf("%q was read as %q, %v", s, got, err)
		}
	})
}

// FuzzFact: a fact in an ID is one quoted string, whatever it is.
func FuzzFact(f *testing.F) {
	for _, seed := range []string{"", "192.0.2.1", `"`, `\`, "a\r\nb", "\u00e4", strings.Repeat("x", 2000)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		cmd := &command{rest: []byte(quoted(s))}
		got, err := cmd.quoted(maxIDValue)
		if err != nil || cmd.end() != nil {
			t.Fatalf("%q was written %q: %v", s, quoted(s), err)
		}
		if len(s) <= maxIDValue && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r >= 0x7f }) && got != s {
			t.Fatalf("%q was read as %q", s, got)
		}
	})
}
