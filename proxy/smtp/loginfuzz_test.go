package smtp

import (
	"bytes"
	"context"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"latchkey/authcore"
	"latchkey/authcore/secret"
	"latchkey/proxy"
	"latchkey/proxy/proxytest"
	"latchkey/proxy/wire"
)

// Bits of a fuzzed sign-in's mode, above the two of its way.
const (
	modeFacts = 4 << iota
	modeTold
	modePromised // the client was offered SIZE
)

// digits is a secret that looks like an enhanced status code to who does not look closely.
const digits = "4711.0815"

// wanted is what an upstream must have said for the member to be in, by way and whether XCLIENT was spoken: the last
// line of each of its replies begins so.
func wanted(way proxy.Way, told bool) *regexp.Regexp {
	codes := "^220 250 "
	if told {
		codes += "220 250 "
	}
	switch way {
	case proxy.XCLIENT:
	case proxy.Token: // RFC 7628 section 3.2.3: an error message is answered, and the verdict comes behind it
		codes += "(334 )?235 "
	default:
		codes += "235 "
	}
	return regexp.MustCompile(codes)
}

// replyCodes answers the codes of the replies in octets, each with a blank behind it.
func replyCodes(octets []byte) string {
	var codes strings.Builder
	for line := range strings.SplitSeq(string(octets), "\r\n") {
		if len(line) == 3 || len(line) > 3 && line[3] != '-' {
			codes.WriteString(line[:3] + " ")
		}
	}
	return codes.String()
}

// onlyCommands is what the door may say to an upstream.
var onlyCommands = regexp.MustCompile(`^(EHLO door\.example\r\n(XCLIENT( [A-Z]+=[!-<>-~]+)+\r\n(EHLO (pc|door\.example)\r\n)?)?` +
	`(AUTH (PLAIN|OAUTHBEARER) [A-Za-z0-9+/=]+\r\n([A-Za-z0-9+/=]+\r\n)?)?)?$`)

// FuzzLogIn: whatever an upstream says, in whatever pieces, the sign-in ends after a bounded part of it; the member is
// in only where it has said so; an error is fit for a log and keeps the secret.
func FuzzLogIn(f *testing.F) {
	for _, seed := range []string{
		"220 x\r\n250-x\r\n250-SIZE 9\r\n250 AUTH PLAIN OAUTHBEARER\r\n235 in\r\n",
		"220-x\r\n220 y\r\n250-x\r\n250 AUTH=PLAIN OAUTHBEARER\r\n235\r\n",
		"220 x\r\n250-x\r\n250-SIZE\r\n250-XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT SESSION\r\n250 AUTH PLAIN\r\n220 y\r\n" +
			"250-x\r\n250-SIZE\r\n250 AUTH PLAIN OAUTHBEARER\r\n235 2.7.0 in\r\n",
		"220 x\r\n250-x\r\n250 XCLIENT LOGIN\r\n220 y\r\n250 x\r\n", "220 x\r\n250-x\r\n250 XCLIENT LOGIN HELO\r\n550 5.7.0 no\r\n",
		"220 x\r\n250-x\r\n250 AUTH OAUTHBEARER\r\n334 e30=\r\n535 5.7.8 no\r\n", "220 x\r\n250-x\r\n250 AUTH OAUTHBEARER\r\n334 e30=\r\n334 e30=\r\n235 in\r\n",
		"220 x\r\n250-x\r\n250 AUTH PLAIN\r\n334 \r\n235 in\r\n", "220 x\r\n250-x\r\n250 AUTH PLAIN\r\n250 2.0.0 in\r\n",
		"220 x\r\n250-x\r\n250 AUTH PLAIN\r\n235-in\r\n535 5.7.8 no\r\n", "220 x\r\n250-x\r\n250 AUTH PLAIN OAUTHBEARER\r\n535 " + digits + " is wrong\r\n",
		"221 x\r\n250-x\r\n250 AUTH PLAIN\r\n235 in\r\n", "220 x\r\n251-x\r\n251 AUTH PLAIN\r\n235 in\r\n",
		"220 x\r\n250-x\r\n250 XCLIENT LOGIN\r\n250 y\r\n250 AUTH PLAIN\r\n", "220 x\r\n250-x\r\n250 XCLIENT LOGIN\r\n220 y\r\n220 x\r\n",
		"554 no \x00\xff\x1b[2J\r\n", "220-x\r\n", "220x\r\n", "220 x\n", "250 x\r\n", "+OK\r\n", "220 x\r\n250-\r\n250\r\n", "22\r\n",
		strings.Repeat("220-"+strings.Repeat("x", 8000)+"\r\n", 30), "220 x\r\n" + strings.Repeat("250-x\r\n", 120) + "250 AUTH PLAIN\r\n235 in\r\n",
	} {
		for mode := range byte(32) {
			f.Add([]byte(seed), mode, int(mode)%3*7)
		}
	}
	f.Fuzz(func(t *testing.T, input []byte, mode byte, piece int) {
		c := &proxytest.Tape{In: input, Piece: max(piece%64, 0)}
		leg, login := fuzzedLeg(c, mode), &proxy.Login{}
		if mode&modePromised != 0 {
			login.Offered = []string{"SIZE"}
		}
		w, err := New(Options{Hostname: "door.example"}).LogIn(context.Background(), leg, login)
		checkSaid(t, c, input)
		if err != nil {
			checkError(t, c, err)
			return
		}
		told := bytes.Contains(c.Out.Bytes(), []byte("\r\nXCLIENT "))
		if codes, want := replyCodes(input), wanted(leg.SignIn.Way, told); !want.MatchString(codes) {
			t.Fatalf("let in by %s after the replies %s; want %s", leg.SignIn.Way, codes, want)
		}
		if auth := bytes.Contains(c.Out.Bytes(), []byte("\r\nAUTH ")); auth == (leg.SignIn.Way == proxy.XCLIENT) {
			t.Fatalf("let in by %s after %q", leg.SignIn.Way, c.Out.Bytes())
		}
		checkWelcome(t, w, login.Offered, told || mode&modeTold != 0)
	})
}

func fuzzedLeg(c *proxytest.Tape, mode byte) *proxy.Leg {
	leg := &proxy.Leg{Conn: wire.New(c, wire.Options{}), Facts: proxy.Facts{
		Send: mode&modeFacts != 0, Told: mode&modeTold != 0, Session: "s1",
		Conn: authcore.ConnInfo{Client: netip.MustParseAddrPort("[2001:db8::1]:40000"), ClientVouched: true, Helo: "pc"},
	}}
	leg.SignIn = proxy.SignIn{
		Way:  []proxy.Way{proxy.Master, proxy.Token, proxy.Passthrough, proxy.XCLIENT}[mode%4],
		User: "\u00e4nn=a+b", Master: "door", Secret: secret.New(digits),
		Token: func(context.Context) (secret.String, error) { return secret.New(digits), nil },
	}
	return leg
}

// checkSaid wants commands of the door's own, and no more read than six replies (greeting, EHLO, XCLIENT, EHLO and two
// to AUTH), each up to its last line, and what the reader holds.
func checkSaid(t *testing.T, c *proxytest.Tape, input []byte) {
	t.Helper()
	if said := c.Out.Bytes(); !onlyCommands.Match(said) {
		t.Fatalf("said %q", said)
	}
	const reply = maxUpstreamOctets + 2*maxUpstreamLines + maxReplyLine
	if read := len(input) - len(c.In); read > 6*reply+wire.MaxLine {
		t.Fatalf("read %d octets", read)
	}
}

// checkError: before AUTH the upstream's own words may be told, quoted, which takes four octets for one at most.
func checkError(t *testing.T, c *proxytest.Tape, err error) {
	t.Helper()
	text, bound := err.Error(), 4*maxTold+100
	if bytes.Contains(c.Out.Bytes(), []byte("\r\nAUTH ")) {
		if bound = 200; strings.Contains(text, digits) {
			t.Fatalf("the secret is in the error %q", text)
		}
	}
	if len(text) > bound || !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) {
		t.Fatalf("error of %d octets: %q", len(text), text)
	}
}

func checkWelcome(t *testing.T, w proxy.Welcome, offered []string, told bool) {
	t.Helper()
	kept := len(offered) == 0
	for _, line := range w.Capabilities {
		if strings.ContainsAny(line, "\r\n\x00") {
			t.Fatalf("capability %q", line)
		}
		kept = kept || strings.EqualFold(keywordOf(line), offered[0])
	}
	if !kept || len(w.Capabilities) >= maxUpstreamLines {
		t.Fatalf("let in with %q, where %q was offered", w.Capabilities, offered)
	}
	if w.AddReceived == told {
		t.Fatalf("Received is added: %v, where the upstream was told of the client: %v", w.AddReceived, told)
	}
}
