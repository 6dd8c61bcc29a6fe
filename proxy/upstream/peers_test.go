package upstream

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"latchkey/authcore/secret"
	"latchkey/proxy"
	"latchkey/proxy/peers"
)

// dovecotSigner signs tokens with a key that d reads.
func dovecotSigner(t *testing.T, d *peers.DovecotServer) func(context.Context, Claims) (secret.String, error) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(d.KeyDir, "default", "ES256")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "k"), pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), 0o644); err != nil {
		t.Fatal(err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: "k"}},
		(&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		t.Fatal(err)
	}
	return func(_ context.Context, c Claims) (secret.String, error) {
		now := time.Now()
		s, err := jwt.Signed(signer).Claims(jwt.Claims{
			Issuer: c.Issuer, Audience: jwt.Audience{c.Audience}, Subject: c.Subject,
			IssuedAt: jwt.NewNumericDate(now.Add(-5 * time.Second)), // Dovecot's clock is that of its last wake-up
			Expiry:   jwt.NewNumericDate(now.Add(time.Minute)),
		}).Serialize()
		return secret.New(s), err
	}
}

// Doctor finds nothing to mend at servers that are configured as the examples show.
func TestPeersDoctor(t *testing.T) {
	d := peers.Dovecot(t, peers.DovecotOptions{})
	tls := peers.Dovecot(t, peers.DovecotOptions{TLS: true})
	r := peers.Radicale(t)
	master := func(s Server) Server {
		s.Way, s.Master, s.Secret = proxy.Master, peers.MasterUser, secret.New(peers.MasterSecret)
		return s
	}
	servers := []Server{
		master(Server{Name: "imap", Protocol: IMAP, Addresses: []string{d.IMAP}}),
		master(Server{Name: "pop3", Protocol: POP3, Addresses: []string{d.POP3}}),
		master(Server{Name: "submission", Protocol: SMTP, Addresses: []string{d.Submission}}),
		master(Server{Name: "imaps", Protocol: IMAP, Addresses: []string{tls.IMAPS}, TLS: TLS{Mode: TLSOn, CAFile: tls.CA}}),
		master(Server{Name: "pop3-starttls", Protocol: POP3, Addresses: []string{tls.POP3}, TLS: TLS{Mode: StartTLS, CAFile: tls.CA}}),
		master(Server{Name: "submission-starttls", Protocol: SMTP, Addresses: []string{tls.Submission}, TLS: TLS{Mode: StartTLS, CAFile: tls.CA}}),
		{Name: "token", Protocol: IMAP, Addresses: []string{d.IMAP}, Way: proxy.Token, Token: TokenSettings{Audience: peers.TokenAudience, Issuer: peers.TokenIssuer}},
		{Name: "dav", Protocol: HTTPProtocol, Addresses: []string{r.Addr}, Way: Header, Header: "X-Remote-User"},
	}
	for i := range servers {
		fill(&servers[i])
		servers[i].ProbeUser = "jane@new.example"
	}
	p, err := New(Options{Servers: servers, Token: dovecotSigner(t, d), ProbeTimeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	for _, f := range p.Doctor(t.Context(), Checkup{Address: "jane@new.example"}) {
		if strings.HasPrefix(f.What, "its certificate ends") {
			continue // that of a test lives for a day
		}
		t.Errorf("%s at %s: %s / %s", f.Level, f.Upstream, f.What, f.Mend)
	}
	for protocol, want := range map[string]string{IMAP: "IDLE", SMTP: "CHUNKING", POP3: "TOP", HTTPProtocol: "calendar-access"} {
		name := map[string]string{IMAP: "imap", SMTP: "submission", POP3: "pop3", HTTPProtocol: "dav"}[protocol]
		if _, err := p.Probe(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		if got := p.Offer(protocol, []string{name}); !slices.Contains(got, want) {
			t.Errorf("%s offers %q, want %s among it", name, got, want)
		}
	}
}

// A Dovecot that checks neither issuer nor audience lets in with tokens that another upstream got: doctor says so at
// every protocol, and nothing once issuers and client_id are set.
func TestPeersDoctorWrongTokens(t *testing.T) {
	for _, c := range []struct {
		name string
		any  bool
		want []string
	}{
		{"minimal", true, []string{"accepts a token with a wrong audience", "accepts a token with a wrong issuer"}},
		{"issuers and client_id", false, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := peers.Dovecot(t, peers.DovecotOptions{AnyToken: c.any})
			token := dovecotSigner(t, d)
			for protocol, address := range map[string]string{IMAP: d.IMAP, POP3: d.POP3} {
				one := Server{Name: "token", Protocol: protocol, Addresses: []string{address}, Way: proxy.Token, Token: TokenSettings{Audience: peers.TokenAudience, Issuer: peers.TokenIssuer}}
				fill(&one)
				p, err := New(Options{Servers: []Server{one}, Token: token, ProbeTimeout: time.Minute})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(p.Close)
				var got []string
				for _, f := range p.Doctor(t.Context(), Checkup{Address: "jane@new.example"}) {
					what, _, _ := strings.Cut(f.What, ":")
					got = append(got, what)
					if f.Level != Failure {
						t.Errorf("%s: %+v", protocol, f)
					}
				}
				if !slices.Equal(got, c.want) {
					t.Errorf("%s: got %q, want %q", protocol, got, c.want)
				}
			}
		})
	}
}

// Postfix lets whom XCLIENT names send. Dovecot's submission server takes the command and ignores the name.
func TestPeersDoctorXCLIENT(t *testing.T) {
	checkup := Checkup{Address: "jane@new.example", Outside: "nobody@elsewhere.example"}
	at := func(address string) string {
		p := pool(t, Server{Name: "mail", Protocol: SMTP, Addresses: []string{address}, Way: proxy.XCLIENT})
		var found []string
		for _, f := range p.Doctor(t.Context(), checkup) {
			found = append(found, f.What)
		}
		return strings.Join(found, "\n")
	}
	if got := at(peers.Postfix(t, peers.PostfixOptions{}).Submission); got != "" {
		t.Errorf("Postfix: %s", got)
	}
	if got := at(peers.Dovecot(t, peers.DovecotOptions{}).Submission); !strings.Contains(got, "not send: 530") {
		t.Errorf("Dovecot: findings %q, want that the name did not take hold", got)
	}
}
