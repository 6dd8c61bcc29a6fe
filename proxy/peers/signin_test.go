package peers

import (
	"crypto/x509"
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// The ways in which a door signs in at Dovecot, as the example configures them.

func TestPeersDovecotMaster(t *testing.T) {
	t.Parallel()
	d := Dovecot(t, DovecotOptions{})
	for name, c := range map[string]struct{ master, secret, want string }{
		"right":        {MasterUser, MasterSecret, "TAG OK"},
		"wrong":        {MasterUser, "wrong", "TAG NO [AUTHENTICATIONFAILED]"},
		"not a master": {"john@new.example", UserPassword, "TAG NO [AUTHENTICATIONFAILED]"},
	} {
		t.Run(name, func(t *testing.T) {
			s := dialIMAP(t, Endpoint{Addr: d.IMAP, User: "jane@new.example"})
			response := base64.StdEncoding.EncodeToString([]byte("jane@new.example\x00" + c.master + "\x00" + c.secret))
			if got := s.do("AUTHENTICATE PLAIN %s", response); !strings.HasPrefix(got, c.want) {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestPeersDovecotToken(t *testing.T) {
	t.Parallel()
	d := Dovecot(t, DovecotOptions{})
	signer := tokenSigner(t, d)
	good := jwt.Claims{
		Issuer: TokenIssuer, Audience: jwt.Audience{TokenAudience}, Subject: "jane@new.example",
		Expiry:   jwt.NewNumericDate(time.Now().Add(time.Minute)),
		IssuedAt: jwt.NewNumericDate(time.Now().Add(-5 * time.Second)), // Dovecot reads its clock with time(2), which lags
	}
	with := func(change func(*jwt.Claims)) jwt.Claims {
		c := good
		change(&c)
		return c
	}
	for name, c := range map[string]struct {
		claims  jwt.Claims
		want    string
		because string // what the server logs
	}{
		"right":          {good, "TAG OK", "user=<jane@new.example>, method=OAUTHBEARER"},
		"wrong audience": {with(func(c *jwt.Claims) { c.Audience = jwt.Audience{"dovecot-2"} }), "TAG NO", "client_id not found in aud field"},
		"no audience":    {with(func(c *jwt.Claims) { c.Audience = nil }), "TAG NO", "client_id set but aud is missing"},
		"wrong issuer":   {with(func(c *jwt.Claims) { c.Issuer = "https://elsewhere.example" }), "TAG NO", "Issuer 'https://elsewhere.example' is not allowed"},
		"no issuer":      {with(func(c *jwt.Claims) { c.Issuer = "" }), "TAG NO", "Token is missing 'iss' field"},
		"expired":        {with(func(c *jwt.Claims) { c.Expiry = jwt.NewNumericDate(time.Now().Add(-time.Minute)) }), "TAG NO", "Token has expired"},
		"no expiry":      {with(func(c *jwt.Claims) { c.Expiry = nil }), "TAG NO", "Missing 'exp' field"},
	} {
		t.Run(name, func(t *testing.T) {
			token, err := jwt.Signed(signer).Claims(c.claims).Serialize()
			if err != nil {
				t.Fatal(err)
			}
			s := dialIMAP(t, Endpoint{Addr: d.IMAP, User: "jane@new.example"})
			response := base64.StdEncoding.EncodeToString([]byte("n,a=jane@new.example,\x01auth=Bearer " + token + "\x01\x01"))
			s.send(s.tag() + " AUTHENTICATE OAUTHBEARER " + response + "\r\n")
			got := s.response()
			if strings.HasPrefix(got, "+") { // RFC 7628 section 3.2.3: the failure is told in a challenge
				s.send("AQ==\r\n")
				got = s.response()
			}
			if !strings.HasPrefix(got, c.want) {
				t.Errorf("got %s, want %s", got, c.want)
			}
			wantLog(t, d.LogFile, c.because)
		})
	}
}

// tokenSigner signs with ES256 and gives Dovecot the public key as it reads it.
func tokenSigner(t *testing.T, d *DovecotServer) jose.Signer {
	t.Helper()
	key := newKey(t)
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(d.KeyDir, "default", "ES256")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "key-1"), []byte(block("PUBLIC KEY", der)), 0o644); err != nil {
		t.Fatal(err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: "key-1"}},
		(&jose.SignerOptions{}).WithType("JWT")) // Dovecot demands typ
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

// The member's own address is believed from the doors, and ends in the log.
func TestPeersDovecotForwardedAddress(t *testing.T) {
	t.Parallel()
	d := Dovecot(t, DovecotOptions{Proxy: true})
	t.Run("IMAP ID", func(t *testing.T) {
		s := dialIMAP(t, Endpoint{Addr: d.IMAP, User: "id@new.example"})
		s.do(`ID ("x-originating-ip" "192.0.2.7" "x-originating-port" "4711" "x-session-id" "abc")`)
		s.do(`LOGIN "id@new.example" %s`, quote(UserPassword))
		wantLog(t, d.LogFile, "user=<id@new.example>", "rip=192.0.2.7")
	})
	t.Run("POP3 XCLIENT", func(t *testing.T) {
		r := dialRaw(t, Endpoint{Addr: d.POP3})
		r.line()
		for _, line := range []string{"XCLIENT ADDR=192.0.2.8 PORT=4711", "USER pop@new.example", "PASS " + UserPassword} {
			r.send(line + "\r\n")
			if got := r.line(); !strings.HasPrefix(got, "+OK") {
				t.Fatalf("%s: %s", line, got)
			}
		}
		wantLog(t, d.LogFile, "user=<pop@new.example>", "rip=192.0.2.8")
	})
	t.Run("submission XCLIENT", func(t *testing.T) {
		s := &smtpSession{rawConn: dialRaw(t, Endpoint{Addr: d.Submission}), user: "submit@new.example", sink: d.Relayed}
		s.reply()
		s.do("EHLO door.example")
		if got := s.do("XCLIENT ADDR=192.0.2.6 PORT=4711 HELO=client.example"); !strings.HasPrefix(got, "220 ") {
			t.Fatalf("XCLIENT: %s", got)
		}
		s.do("EHLO client.example")
		s.do("AUTH PLAIN %s", base64.StdEncoding.EncodeToString([]byte("submit@new.example\x00"+MasterUser+"\x00"+MasterSecret)))
		wantLog(t, d.LogFile, "user=<submit@new.example>", "rip=192.0.2.6")
	})
	t.Run("PROXY header", func(t *testing.T) {
		s := &imapSession{rawConn: dialRaw(t, Endpoint{Addr: d.IMAPProxied}), user: "proxy@new.example"}
		s.send("PROXY TCP4 192.0.2.9 127.0.0.1 4711 143\r\n")
		s.response()
		s.do(`LOGIN "proxy@new.example" %s`, quote(UserPassword))
		wantLog(t, d.LogFile, "user=<proxy@new.example>", "rip=192.0.2.9")
	})
	t.Run("PROXY header at POP3 and submission", func(t *testing.T) {
		for addr, greeting := range map[string]string{d.POP3Proxied: "+OK", d.SubmissionProxied: "220 "} {
			r := dialRaw(t, Endpoint{Addr: addr})
			r.send("PROXY TCP4 192.0.2.9 127.0.0.1 4711 110\r\n")
			if got := r.line(); !strings.HasPrefix(got, greeting) {
				t.Errorf("greeting behind a PROXY header: %s", got)
			}
		}
	})
}

// wantLog looks for a line that holds all the words, which the server may write a little later.
func wantLog(t *testing.T, logFile string, words ...string) {
	t.Helper()
	holds := func(line string) bool {
		for _, w := range words {
			if !strings.Contains(line, w) {
				return false
			}
		}
		return true
	}
	deadline := time.Now().Add(startWait)
	for time.Now().Before(deadline) {
		for line := range strings.Lines(tailOf(logFile, 64<<10)) {
			if holds(line) {
				return
			}
		}
		<-time.After(20 * time.Millisecond)
	}
	t.Errorf("the server's log has no line with %q", words)
}
