package upstream

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"latchkey/authcore/secret"
	"latchkey/proxy"
	"latchkey/proxy/proxytest"
)

// imapServer takes PLAIN and OAUTHBEARER with the secrets that tests use.
func imapServer(before, after string) *fake {
	return &fake{greeting: "* OK ready\r\n", answer: func(line string, m map[string]string) string {
		tag, command, _ := strings.Cut(line, " ")
		switch word, rest, _ := strings.Cut(command, " "); strings.ToUpper(word) {
		case "STARTTLS":
			return tag + " OK begin\r\n"
		case "CAPABILITY":
			caps := before
			if m["in"] != "" {
				caps = after
			}
			return "* CAPABILITY " + caps + "\r\n" + tag + " OK done\r\n"
		case "AUTHENTICATE":
			_, initial, _ := strings.Cut(rest, " ")
			if right(initial) {
				m["in"] = "yes"
				return tag + " OK in\r\n"
			}
			return tag + " NO [AUTHENTICATIONFAILED] I heard " + initial + "\r\n"
		case "LOGOUT":
			return "* BYE\r\n" + tag + " OK bye\r\n"
		}
		return tag + " BAD what\r\n"
	}}
}

// right judges an initial response: the member's, by the master or by a token that is meant for "mail".
func right(initial string) bool {
	p, err := base64.StdEncoding.DecodeString(initial)
	return err == nil && (string(p) == "m@new.example\x00door\x00master-secret" ||
		strings.Contains(string(p), "auth=Bearer jwt.https://door.example.mail.m@new.example\x01"))
}

func TestProbeIMAP(t *testing.T) {
	const before, after = "IMAP4rev1 SASL-IR AUTH=PLAIN AUTH=OAUTHBEARER ID", "IMAP4rev1 ID IDLE"
	ca := proxytest.NewCA(t)
	for _, tt := range []struct {
		name   string
		server *fake
		change func(*Server)
		step   Step // empty: well
	}{
		{"before only", imapServer(before, after), func(s *Server) { s.ProbeUser = "" }, ""},
		{"master", imapServer(before, after), func(*Server) {}, ""},
		{"token", imapServer(before, after), func(s *Server) { s.Way = proxy.Token }, ""},
		{"wrong secret", imapServer(before, after), func(s *Server) { s.Master, s.Secret = "door", secret.New("master-secret2") }, StepSignIn},
		{"UNAUTHENTICATE before", imapServer(before+" UNAUTHENTICATE", after), func(*Server) {}, StepCapabilities},
		{"UNAUTHENTICATE after", imapServer(before, after+" UNAUTHENTICATE"), func(*Server) {}, StepCapabilities},
		{"UNAUTHENTICATE of the door's own", imapServer(before, after+" UNAUTHENTICATE"), func(s *Server) { s.AuthenticatesOnlyDoor = true }, ""},
		{"STARTTLS", withTLS(imapServer(before, after), ca, t), func(s *Server) { s.TLS = TLS{Mode: StartTLS, CAFile: caFile(t, ca)} }, ""},
		{"STARTTLS is not there", &fake{greeting: "* OK\r\n", answer: func(l string, _ map[string]string) string {
			return strings.Fields(l)[0] + " BAD no\r\n"
		}}, func(s *Server) { s.TLS = TLS{Mode: StartTLS, CAFile: caFile(t, ca)} }, StepTLS},
		{"PREAUTH", &fake{greeting: "* PREAUTH welcome\r\n", answer: imapServer(before, after).answer}, func(*Server) {}, StepGreeting},
		{"garbage", &fake{greeting: "220 smtp.example\r\n", answer: imapServer(before, after).answer}, func(*Server) {}, StepGreeting},
		{"endless", &fake{greeting: "* OK " + strings.Repeat("x", 1<<20)}, func(*Server) {}, StepGreeting},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := Server{Name: "mail", Protocol: IMAP, Addresses: []string{tt.server.start(t)}, ProbeUser: "m@new.example"}
			tt.change(&s)
			r, err := pool(t, s).Probe(t.Context(), "mail")
			if tt.step != "" {
				wantStep(t, err, "mail", tt.step)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Contains(r.Before, "AUTH=PLAIN") {
				t.Errorf("before: %q", r.Before)
			}
			if in := s.ProbeUser != ""; in != slices.Contains(r.After, "IDLE") {
				t.Errorf("after: %q, signed in: %v", r.After, in)
			}
			if s.TLS.Mode == StartTLS && r.CertificateExpires.Year() != 2120 {
				t.Errorf("certificate ends %v", r.CertificateExpires)
			}
		})
	}
}

func withTLS(f *fake, ca *proxytest.CA, t *testing.T) *fake {
	f.tls = ca.Server(t, "127.0.0.1")
	return f
}

// smtpServer is a Postfix of few words. hold says whether XCLIENT LOGIN makes the member signed in.
func smtpServer(hold bool, ehlo ...string) *fake {
	return &fake{greeting: "220 mail.internal ESMTP\r\n", answer: func(line string, m map[string]string) string {
		word, rest, _ := strings.Cut(line, " ")
		switch strings.ToUpper(word) {
		case "EHLO":
			lines := append([]string{"mail.internal"}, ehlo...)
			return "250-" + strings.Join(lines[:len(lines)-1], "\r\n250-") + "\r\n250 " + lines[len(lines)-1] + "\r\n"
		case "STARTTLS":
			return "220 go\r\n"
		case "XCLIENT":
			if rest == "LOGIN=m@new.example" {
				m["in"] = fmt.Sprint(hold)
			}
			return "220 mail.internal again\r\n"
		case "AUTH":
			mechanism, initial, _ := strings.Cut(rest, " ")
			if (mechanism == "PLAIN" || mechanism == "OAUTHBEARER") && right(initial) {
				m["in"] = "true"
				return "235 2.7.0 in\r\n"
			}
			return "535 5.7.8 I heard " + rest + "\r\n"
		case "RCPT":
			if m["in"] != "true" {
				return "554 5.7.1 Relay access denied\r\n"
			}
			return "250 2.1.5 ok\r\n"
		case "MAIL", "RSET":
			return "250 2.0.0 ok\r\n"
		case "QUIT":
			return "221 2.0.0 bye\r\n"
		}
		return "502 5.5.1 what\r\n"
	}}
}

const xclientWords = "XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT"

func TestProbeSMTP(t *testing.T) {
	ca := proxytest.NewCA(t)
	for _, tt := range []struct {
		name   string
		server *fake
		change func(*Server)
		step   Step
	}{
		{"before only", smtpServer(true, "SIZE 100", "X-UNKNOWN"), func(s *Server) { s.ProbeUser = "" }, ""},
		{"master", smtpServer(true, "AUTH PLAIN", "SIZE 100"), func(*Server) {}, ""},
		{"token", smtpServer(true, "AUTH OAUTHBEARER", "SIZE 100"), func(s *Server) { s.Way = proxy.Token }, ""},
		{"xclient", smtpServer(true, "SIZE 100", xclientWords), func(s *Server) { s.Way = proxy.XCLIENT }, ""},
		{"xclient under STARTTLS", withTLS(smtpServer(true, "SIZE 100", "STARTTLS", xclientWords), ca, t), func(s *Server) {
			s.Way = proxy.XCLIENT
			s.TLS = TLS{Mode: StartTLS, CAFile: caFile(t, ca)}
		}, ""},
		{"xclient not granted", smtpServer(true, "SIZE 100"), func(s *Server) { s.Way = proxy.XCLIENT }, StepSignIn},
		{"xclient without LOGIN", smtpServer(true, "XCLIENT NAME ADDR"), func(s *Server) { s.Way = proxy.XCLIENT }, StepSignIn},
		{"wrong secret", smtpServer(true, "AUTH PLAIN"), func(s *Server) { s.Master, s.Secret = "door", secret.New("master-secret2") }, StepSignIn},
		{"STARTTLS is not there", smtpServer(true, "SIZE 100"), func(s *Server) { s.TLS = TLS{Mode: StartTLS, CAFile: caFile(t, ca)} }, StepTLS},
		{"busy", &fake{greeting: "421 4.3.2 no\r\n"}, func(*Server) {}, StepGreeting},
		{"endless", &fake{greeting: strings.Repeat("220-more\r\n", 20000)}, func(*Server) {}, StepGreeting},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := Server{Name: "mail", Protocol: SMTP, Addresses: []string{tt.server.start(t)}, ProbeUser: "m@new.example"}
			tt.change(&s)
			r, err := pool(t, s).Probe(t.Context(), "mail")
			if tt.step != "" {
				wantStep(t, err, "mail", tt.step)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Contains(r.Before, "SIZE 100") || slices.Contains(r.Before, "X-UNKNOWN") {
				t.Errorf("before: %q", r.Before)
			}
			if in := s.ProbeUser != ""; in != slices.Contains(r.After, "SIZE 100") {
				t.Errorf("after: %q, signed in: %v", r.After, in)
			}
		})
	}
}

func pop3Server() *fake {
	return &fake{greeting: "+OK ready\r\n", answer: func(line string, m map[string]string) string {
		switch word := strings.ToUpper(line); {
		case word == "CAPA" && m["in"] == "":
			return "+OK\r\nSASL PLAIN\r\nTOP\r\n.\r\n"
		case word == "CAPA":
			return "+OK\r\nTOP\r\nuidl\r\n.\r\n"
		case word == "STLS":
			return "+OK begin\r\n"
		case strings.HasPrefix(word, "AUTH "):
			return "+ \r\n"
		case right(line):
			m["in"] = "yes"
			return "+OK in\r\n"
		case word == "QUIT":
			return "+OK bye\r\n"
		}
		return "-ERR I heard " + line + "\r\n"
	}}
}

func TestProbePOP3(t *testing.T) {
	ca := proxytest.NewCA(t)
	for _, tt := range []struct {
		name   string
		server *fake
		change func(*Server)
		step   Step
	}{
		{"master", pop3Server(), func(*Server) {}, ""},
		{"token", pop3Server(), func(s *Server) { s.Way = proxy.Token }, ""},
		{"STLS", withTLS(pop3Server(), ca, t), func(s *Server) { s.TLS = TLS{Mode: StartTLS, CAFile: caFile(t, ca)} }, ""},
		{"wrong secret", pop3Server(), func(s *Server) { s.Master, s.Secret = "door", secret.New("master-secret2") }, StepSignIn},
		{"garbage", &fake{greeting: "* OK\r\n"}, func(*Server) {}, StepGreeting},
		{"down", &fake{greeting: "-ERR [SYS/TEMP] later\r\n"}, func(*Server) {}, StepGreeting},
		{"endless list", &fake{greeting: "+OK\r\n", answer: func(string, map[string]string) string {
			return "+OK\r\n" + strings.Repeat("X\r\n", 200)
		}}, func(*Server) {}, StepCapabilities},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := Server{Name: "mail", Protocol: POP3, Addresses: []string{tt.server.start(t)}, ProbeUser: "m@new.example"}
			tt.change(&s)
			r, err := pool(t, s).Probe(t.Context(), "mail")
			if tt.step != "" {
				wantStep(t, err, "mail", tt.step)
				return
			}
			if err != nil || !slices.Equal(r.Before, []string{"SASL PLAIN", "TOP"}) || !slices.Equal(r.After, []string{"TOP", "UIDL"}) {
				t.Errorf("before %q, after %q, %v", r.Before, r.After, err)
			}
		})
	}
}

// davServer knows the member by X-Remote-User, by a bearer token, or by Basic. Its clock is ahead of ours.
func davServer(ahead time.Duration) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("DAV", "1, 3, calendar-access")
		w.Header().Set("Date", time.Now().Add(ahead).UTC().Format(http.TimeFormat))
		if r.Method == http.MethodOptions {
			return
		}
		name, password, _ := r.BasicAuth()
		switch {
		case r.Header.Get("X-Remote-User") == "m@new.example",
			r.Header.Get("Authorization") == "Bearer jwt.https://door.example.dav.m@new.example",
			name == "m@new.example*door" && password == "master-secret":
		default:
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(http.StatusMultiStatus)
		fmt.Fprint(w, `<?xml version="1.0"?><multistatus xmlns="DAV:"><response><href>/</href><propstat><prop>`+
			`<current-user-principal><href>/m@new.example/</href></current-user-principal></prop>`+
			`<status>HTTP/1.1 200 OK</status></propstat></response></multistatus>`)
	})
}

func serveDAV(t *testing.T, h http.Handler) string {
	t.Helper()
	up := httptest.NewServer(h)
	t.Cleanup(up.Close)
	return up.Listener.Addr().String()
}

func TestProbeHTTP(t *testing.T) {
	at := serveDAV(t, davServer(10*time.Minute))
	for _, tt := range []struct {
		name   string
		change func(*Server)
		step   Step
	}{
		{"nobody", func(s *Server) { s.ProbeUser = "" }, ""},
		{"header", func(*Server) {}, ""},
		{"bearer", func(s *Server) { s.Way, s.Header = Bearer, "" }, ""},
		{"basic", func(s *Server) {
			s.Way, s.Header, s.BasicUser, s.Secret = Basic, "", "{user}*door", secret.New("master-secret")
		}, ""},
		{"another header", func(s *Server) { s.Header = "X-Other" }, StepSignIn},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := Server{Name: "dav", Protocol: HTTPProtocol, Addresses: []string{at}, Way: Header, Header: "X-Remote-User", ProbeUser: "m@new.example"}
			tt.change(&s)
			r, err := pool(t, s).Probe(t.Context(), "dav")
			if tt.step != "" {
				wantStep(t, err, "dav", tt.step)
				return
			}
			if err != nil || !slices.Equal(r.Before, []string{"1", "3", "calendar-access"}) || (r.After != nil) != (s.ProbeUser != "") {
				t.Errorf("before %q, after %q, %v", r.Before, r.After, err)
			}
			if !r.Clocked || (r.Ahead-10*time.Minute).Abs() > 5*time.Second {
				t.Errorf("clock ahead by %v, want 10 m", r.Ahead)
			}
		})
	}
}

func TestProbeUnknown(t *testing.T) {
	if _, err := pool(t).Probe(t.Context(), "none"); !errors.Is(err, ErrUnknown) {
		t.Errorf("Probe: %v, want ErrUnknown", err)
	}
}
