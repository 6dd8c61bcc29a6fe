package upstream

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"latchkey/authcore/secret"
	"latchkey/proxy"
	"latchkey/proxy/proxytest"
)

var checkup = Checkup{Address: "m@new.example", ID: "id7", Password: secret.New("account-password")}

func TestDoctor(t *testing.T) {
	const imapWords = "IMAP4rev1 SASL-IR AUTH=PLAIN AUTH=OAUTHBEARER"
	ca := proxytest.NewCA(t)
	imap := func(f *fake, change func(*Server)) []Server {
		s := Server{Name: "mail", Protocol: IMAP, Addresses: []string{f.start(t)}}
		change(&s)
		return []Server{s}
	}
	smtp := func(f *fake, way proxy.Way) []Server {
		return []Server{{Name: "mail", Protocol: SMTP, Addresses: []string{f.start(t)}, Way: way}}
	}
	dav := func(h http.Handler, change func(*Server)) []Server {
		s := Server{Name: "dav", Protocol: HTTPProtocol, Addresses: []string{serveDAV(t, h)}, Way: Header, Header: "X-Remote-User"}
		change(&s)
		return []Server{s}
	}
	credulous := imapServer(imapWords, "IMAP4rev1")
	credulous.answer = func(line string, m map[string]string) string {
		if tag, command, _ := strings.Cut(line, " "); strings.HasPrefix(command, "AUTHENTICATE") {
			return tag + " OK whoever you are\r\n"
		}
		return imapServer(imapWords, "IMAP4rev1").answer(line, m)
	}
	ending := imapServer(imapWords, "IMAP4rev1")
	ending.tls = ca.Server(t, "127.0.0.1")
	ending.tls.Certificates[0] = ca.LeafUntil(t, time.Now().Add(24*time.Hour), "127.0.0.1")
	expired := imapServer(imapWords, "IMAP4rev1")
	expired.tls = ca.Server(t, "127.0.0.1")
	expired.tls.Certificates[0] = ca.LeafUntil(t, time.Now().Add(-time.Hour), "127.0.0.1")
	starttls := func(s *Server) { s.TLS = TLS{Mode: StartTLS, CAFile: caFile(t, ca)} }
	token := func(s *Server) { s.Way = proxy.Token }
	for _, tt := range []struct {
		name    string
		servers []Server
		want    []string // "level: what / mend" must begin and hold these words; none: all is well
	}{
		{"all is well", imap(imapServer(imapWords, "IMAP4rev1"), func(*Server) {}), nil},
		{"token is well", imap(imapServer(imapWords, "IMAP4rev1"), token), nil},
		{"any token will do", imap(credulous, token), []string{"error: accepts a token with a wrong audience", "error: accepts a token with a wrong issuer"}},
		{"wrong master", imap(imapServer(imapWords, ""), func(s *Server) { s.Master, s.Secret = "x", secret.New("master-secret") }), []string{"error: sign in: refused with NO [AUTHENTICATIONFAILED] / see that the master user"}},
		{"UNAUTHENTICATE", imap(imapServer(imapWords+" UNAUTHENTICATE", ""), func(*Server) {}), []string{"error: capabilities: offers UNAUTHENTICATE"}},
		{"certificate ends soon", imap(ending, starttls), []string{"warning: its certificate ends on"}},
		{"certificate has ended", imap(expired, starttls), []string{"error: TLS handshake"}},
		{"unknown CA", imap(withTLS(imapServer(imapWords, "IMAP4rev1"), proxytest.NewCA(t), t), starttls), []string{"/ name the CA"}},
		{"other name", imap(withTLS(imapServer(imapWords, "IMAP4rev1"), ca, t), func(s *Server) {
			starttls(s)
			s.TLS.ServerName = "mail.internal"
		}), []string{"/ set tls.server_name"}},
		{"not verified", imap(withTLS(imapServer(imapWords, "IMAP4rev1"), ca, t), func(s *Server) { s.TLS = TLS{Mode: StartTLS, Insecure: true} }), []string{"warning: its certificate is not verified"}},
		{"in the clear", []Server{{Name: "mail", Protocol: IMAP, Addresses: []string{"unix:/nowhere", "192.0.2.1:143"}}}, []string{"error: passwords, tokens and mail go to another host in the clear"}},
		{"down", []Server{{Name: "mail", Protocol: IMAP, Addresses: []string{"unix:/nowhere"}}}, []string{"error: connect:"}},
		{"XCLIENT took hold", smtp(smtpServer(true, xclientWords), proxy.XCLIENT), nil},
		{"XCLIENT is ignored", smtp(smtpServer(false, xclientWords), proxy.XCLIENT), []string{"error: lets the member in, but not send: 554 / XCLIENT LOGIN did not take hold"}},
		{"SMTP by master", smtp(smtpServer(true, "AUTH PLAIN"), proxy.Master), nil},
		{"DAV is well", dav(davServer(0), func(*Server) {}), nil},
		{"DAV clock", dav(davServer(time.Hour), func(*Server) {}), []string{"warning: its clock is off"}},
		{"DAV clock for tokens", dav(davServer(-time.Hour), func(s *Server) { s.Way, s.Header = Bearer, "" }), []string{"error: its clock is off"}},
		{"two that differ", append(imap(imapServer(imapWords+" IDLE", "IMAP4rev1 IDLE"), func(*Server) {}),
			imap(imapServer(imapWords, "IMAP4rev1"), func(s *Server) { s.Name = "two" })...), []string{"warning: lacks what others of its protocol offer: IDLE"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			findings := pool(t, tt.servers...).Doctor(t.Context(), checkup)
			var got []string
			for _, f := range findings {
				got = append(got, string(f.Level)+": "+f.What+" / "+f.Mend)
			}
			all := strings.Join(got, "\n")
			for _, want := range tt.want {
				if !strings.Contains(all, want) {
					t.Errorf("findings %q, want %q", got, want)
				}
			}
			if len(tt.want) == 0 && len(got) > 0 {
				t.Errorf("findings %q, want none", got)
			}
			if strings.Contains(all, "master-secret") || strings.Contains(all, "jwt.") {
				t.Errorf("findings tell a secret: %q", got)
			}
		})
	}
}

func TestDoctorSendsNothing(t *testing.T) {
	f := smtpServer(true, xclientWords)
	p := pool(t, Server{Name: "mail", Protocol: SMTP, Addresses: []string{f.start(t)}, Way: proxy.XCLIENT})
	if got := p.Doctor(t.Context(), checkup); len(got) > 0 {
		t.Fatalf("findings %v", got)
	}
	if !f.said("RCPT TO:<nobody@example.com>") || !f.said("RSET") || f.said("DATA") {
		t.Errorf("the upstream heard %q", f.heard)
	}
}

func TestDoctorWithoutMember(t *testing.T) {
	f := imapServer("IMAP4rev1", "")
	p := pool(t, Server{Name: "mail", Protocol: IMAP, Addresses: []string{f.start(t)}})
	got := p.Doctor(t.Context(), Checkup{})
	if len(got) != 1 || got[0].Level != Warning || f.said("AUTHENTICATE") {
		t.Errorf("findings %v", got)
	}
}
