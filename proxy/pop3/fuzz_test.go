package pop3

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
	for _, part := range []string{p.UnverifiedName, p.AuthorizeAs, p.Secret.Reveal()} {
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

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// answerLine is any line that a door may say: an answer, a challenge, or a line of a list.
var answerLine = regexp.MustCompile(`^((\+OK|-ERR)( [ -~]+)?|\+ [A-Za-z0-9+/=]*|[A-Z-]+( [A-Z]+)*|\.)$`)

// FuzzDialogue: whatever octets come, in whatever pieces, the dialogue ends, lets nobody in and says lines of its own.
func FuzzDialogue(f *testing.F) {
	for _, seed := range []string{
		"CAPA\r\nNOOP\r\nQUIT\r\n",
		"USER ann\r\nPASS secret\r\nUSER bob\r\nPASS  two words \r\n",
		"USER ann\r\nPASS broken\r\n",
		"AUTH PLAIN " + b64("\x00ann\x00secret") + "\r\nAUTH\r\n",
		"AUTH PLAIN\r\n" + b64("ann\x00ann\x00secret") + "\r\nNOOP\r\n",
		"AUTH LOGIN\r\n" + b64("ann") + "\r\n" + b64("secret") + "\r\n",
		"AUTH LOGIN =\r\nAUTH PLAIN\r\n*\r\n",
		"STLS\r\n", "STLS\r\nx",
		"APOP ann x\r\nSTAT\r\nUTF8\r\n\r\n \r\n",
		"USER a\x01\r\nPASS\r\nUSER\r\n",
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
		door := New(Options{Auth: refuser{t}, Offer: func(authcore.ConnInfo) []string { return []string{"TOP", "UIDL"} }})
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

// FuzzLogIn: whatever an upstream says, the sign-in ends; what it tells of capabilities is clean, and an error keeps
// the secret.
func FuzzLogIn(f *testing.F) {
	for _, seed := range []string{
		"+OK [XCLIENT] ready\r\n+OK\r\nSASL PLAIN OAUTHBEARER\r\nTOP\r\n.\r\n+OK\r\n+OK\r\n",
		"+OK\r\n-ERR\r\n+OK\r\n+OK\r\n+OK\r\nTOP\r\n.\r\n",
		"+OK\r\n+OK\r\nSASL OAUTHBEARER\r\n.\r\n+ \r\n+ e30=\r\n-ERR [AUTH] no\r\n",
		"+OK\r\n+OK\r\n\r\n \r\nSASL\r\n.x\r\n.\r\n-ERR\r\n",
		"-ERR [SYS/TEMP] no\r\n", "+ \r\n", "* OK\r\n", "+OK [", "+OK []\r\n-ERR [X]\r\n+OK\r\n-ERR geheim\r\n",
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
			Way: ways[max(way, 0)%len(ways)], User: "ann", Master: "door", Secret: secret.New("geheim"),
			Token: func(context.Context) (secret.String, error) { return secret.New("geheim"), nil },
		}
		w, err := New(Options{}).LogIn(context.Background(), leg, &proxy.Login{})
		if err != nil {
			if strings.Contains(err.Error(), "geheim") || len(err.Error()) > 400 || strings.ContainsFunc(err.Error(), unicode.IsControl) {
				t.Fatalf("error %q", err)
			}
			return
		}
		for _, line := range w.Capabilities {
			if !isCapability(line) {
				t.Fatalf("capability %q", line)
			}
		}
	})
}
