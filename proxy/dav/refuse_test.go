package dav

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"latchkey/authcore"
	"latchkey/policy"
)

func TestEveryReasonHasAReply(t *testing.T) {
	want := map[authcore.Reason]int{
		authcore.BadCredentials: 401, authcore.AppPasswordRequired: 401, authcore.PasswordExpired: 401,
		authcore.PasswordChangeRequired: 401, authcore.Suspended: 403, authcore.DoorClosed: 403, authcore.Throttled: 429,
		authcore.TooManyConnections: 429, authcore.Unavailable: 503, authcore.TLSRequired: 403,
	}
	for _, reason := range authcore.Reasons() {
		if reason == authcore.Allowed {
			continue
		}
		t.Run(string(reason), func(t *testing.T) {
			rec := &recorder{}
			s := start(t, rec, func(s *scene) {
				s.auth.OnAuthenticate = func(context.Context, authcore.Attempt, authcore.Decision) (authcore.Decision, error) {
					return authcore.Decision{Reason: reason, RetryAfter: 1500 * time.Millisecond}, nil
				}
			})
			res, text := s.do(s.client(false), s.request("PROPFIND", "/", strings.NewReader("x")))
			if res.StatusCode != want[reason] {
				t.Errorf("status %d, want %d", res.StatusCode, want[reason])
			}
			if text != reason.Sentence()+"\n" || res.Header.Get("Content-Type") != "text/plain; charset=utf-8" {
				t.Errorf("text %q as %q", text, res.Header.Get("Content-Type"))
			}
			challenged := res.Header.Get("WWW-Authenticate") == `Basic realm="Latchkey", charset="UTF-8"`
			if challenged != (want[reason] == 401) {
				t.Errorf("challenge %q with %d", res.Header.Get("WWW-Authenticate"), want[reason])
			}
			if retry := res.Header.Get("Retry-After"); (retry == "2") != reason.Temporary() || (retry != "") != reason.Temporary() {
				t.Errorf("Retry-After %q", retry)
			}
			if len(rec.all()) != 0 {
				t.Error("the request went to the upstream")
			}
		})
	}
}

func TestBrokenIsNotDenied(t *testing.T) {
	s := start(t, &recorder{}, func(s *scene) {
		s.auth.OnAuthenticate = func(context.Context, authcore.Attempt, authcore.Decision) (authcore.Decision, error) {
			return authcore.Decision{}, errors.New("storage is down")
		}
	})
	res, text := s.do(s.client(false), s.request("GET", "/", nil))
	if res.StatusCode != 503 || res.Header.Get("Retry-After") == "" || strings.Contains(text, "storage") {
		t.Errorf("status %d, Retry-After %q, %q", res.StatusCode, res.Header.Get("Retry-After"), text)
	}
}

func TestCredentials(t *testing.T) {
	for _, tt := range []struct {
		name   string
		values []string
		user   string // empty: not asked
		secret string
	}{
		{"right", []string{"Basic bUBuZXcuZXhhbXBsZTpzZWNyZXQ="}, "m@new.example", "secret"},
		{"any case", []string{"bAsIc bUBuZXcuZXhhbXBsZTpzZWNyZXQ="}, "m@new.example", "secret"},
		{"colons in the password", []string{"Basic bTphOmI="}, "m", "a:b"},
		{"UTF-8", []string{"Basic bTrDvA=="}, "m", "ü"},
		{"empty password", []string{"Basic bTo="}, "m", ""},
		{"none", nil, "", ""},
		{"two", []string{"Basic bTph", "Basic bTpi"}, "", ""},
		{"another scheme", []string{"Bearer bTph"}, "", ""},
		{"no base64", []string{"Basic m:a"}, "", ""},
		{"no padding", []string{"Basic bTo"}, "", ""},
		{"loose bits", []string{"Basic bTp="}, "", ""},
		{"no colon", []string{"Basic bQ=="}, "", ""},
		{"no name", []string{"Basic OmE="}, "", ""},
		{"NUL", []string{"Basic bQBuOmE="}, "", ""},
		{"line break", []string{"Basic bTphCmI="}, "", ""},
		{"endless", []string{"Basic " + strings.Repeat("QUFB", 1000)}, "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := http.Header{}
			for _, v := range tt.values {
				h.Add("Authorization", v)
			}
			got, ok := credentials(h)
			if ok != (tt.user != "") || got.UnverifiedName != tt.user || got.Secret.Reveal() != tt.secret {
				t.Errorf("credentials = %q, %v", got.UnverifiedName, ok)
			}
		})
	}
}

func TestNoCredentialsAreAskedFor(t *testing.T) {
	rec := &recorder{}
	s := start(t, rec)
	r := s.request("PROPFIND", "/", nil)
	r.Header.Del("Authorization")
	res, _ := s.do(s.client(true), r)
	if res.StatusCode != 401 || res.Header.Get("WWW-Authenticate") == "" || len(s.auth.Attempts()) != 0 || len(rec.all()) != 0 {
		t.Errorf("status %d, %d attempts, %d requests upstream", res.StatusCode, len(s.auth.Attempts()), len(rec.all()))
	}
}

// A program that waits for 100 Continue hears 401 without having sent its body.
func TestRefusedBeforeTheBody(t *testing.T) {
	s := start(t, &recorder{})
	c := s.dial()
	c.send("PUT /m@new.example/a.ics HTTP/1.1", "Authorization: Basic bTpi", "Content-Length: 1000000", "Expect: 100-continue")
	if res := c.response(); res.StatusCode != 401 {
		t.Errorf("status %d, want 401", res.StatusCode)
	}
}

func TestContinueComesFromTheUpstream(t *testing.T) {
	for _, taken := range []bool{true, false} {
		s := start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !taken {
				w.WriteHeader(http.StatusPreconditionFailed)
				return
			}
			buf := make([]byte, 4)
			_, _ = r.Body.Read(buf)
			_, _ = w.Write(buf)
		}), func(s *scene) { s.options.Continue = time.Minute })
		c := s.dial()
		c.send("PUT /m@new.example/a.ics HTTP/1.1", basic, "Content-Length: 4", "Expect: 100-continue")
		res := c.response()
		if !taken {
			if res.StatusCode != 412 {
				t.Errorf("status %d, want the upstream's 412 before the body", res.StatusCode)
			}
			continue
		}
		if res.StatusCode != 100 {
			t.Fatalf("status %d, want 100", res.StatusCode)
		}
		if _, err := c.Write([]byte("body")); err != nil {
			t.Fatal(err)
		}
		if res = c.response(); res.StatusCode != 200 {
			t.Errorf("status %d, want 200", res.StatusCode)
		}
	}
}

func TestThreeRefusalsEndTheConnection(t *testing.T) {
	s := start(t, &recorder{})
	c := s.dial()
	for i := 1; i <= 3; i++ {
		c.send("PROPFIND / HTTP/1.1", "Authorization: Basic bTpi")
		res := c.response()
		_ = res.Body.Close()
		if last := i == 3; res.StatusCode != 401 || res.Close != last {
			t.Fatalf("refusal %d: status %d, close %v", i, res.StatusCode, res.Close)
		}
	}
}

func TestMethodsThatAreRefused(t *testing.T) {
	rec := &recorder{}
	s := start(t, rec)
	for _, method := range []string{"TRACE", "CONNECT"} {
		c := s.dial()
		c.send(method+" / HTTP/1.1", basic)
		if res := c.response(); res.StatusCode < 400 || res.StatusCode == 401 {
			t.Errorf("%s: status %d", method, res.StatusCode)
		}
	}
	if len(rec.all()) != 0 || len(s.auth.Attempts()) != 0 {
		t.Error("a refused method was looked at")
	}
}

func TestWellKnown(t *testing.T) {
	rec := &recorder{}
	s := start(t, rec, func(s *scene) {
		s.settings.ContextPath = "/dav/"
		s.settings.Doors = map[string][]string{host: {policy.CalDAV}}
	})
	for _, tt := range []struct {
		method, path string
		status       int
	}{
		{"GET", "/.well-known/caldav", 301},
		{"PROPFIND", "/.well-known/caldav/", 301},
		{"GET", "/.well-known/carddav", 404}, // this host does not serve it
		{"GET", "/.well-known/other", 401},   // the upstream's, behind the sign-in
	} {
		r := s.request(tt.method, tt.path, nil)
		r.Header.Del("Authorization")
		res, _ := s.do(s.client(false), r)
		if res.StatusCode != tt.status || tt.status == 301 && res.Header.Get("Location") != "/dav/" {
			t.Errorf("%s %s: %d to %q, want %d", tt.method, tt.path, res.StatusCode, res.Header.Get("Location"), tt.status)
		}
	}
	if len(rec.all()) != 0 {
		t.Error("discovery went to the upstream")
	}
}

func TestDoorsByHostName(t *testing.T) {
	s := start(t, &recorder{}, func(s *scene) {
		s.settings.Doors = map[string][]string{
			host: {policy.CalDAV, policy.CardDAV}, "cal.new.example": {policy.CalDAV}, "card.new.example": {policy.CardDAV},
		}
	})
	for _, tt := range []struct {
		host   string
		status int
		door   string
		doors  int
	}{
		{host, 207, policy.CalDAV, 2},
		{"CAL.new.example:8443", 207, policy.CalDAV, 0},
		{"card.new.example.", 207, policy.CardDAV, 0},
		{"other.example", 421, "", 0},
	} {
		r := s.request("PROPFIND", "/", nil)
		r.Host = tt.host
		before := len(s.auth.Attempts())
		res, _ := s.do(s.client(false), r)
		if res.StatusCode != tt.status {
			t.Errorf("%s: status %d, want %d", tt.host, res.StatusCode, tt.status)
		}
		attempts := s.auth.Attempts()[before:]
		switch {
		case tt.door == "" && len(attempts) != 0:
			t.Errorf("%s: the attempt was judged", tt.host)
		case tt.door != "" && (len(attempts) != 1 || attempts[0].Door != tt.door || len(attempts[0].Doors) != tt.doors):
			t.Errorf("%s: attempts %+v, want door %s", tt.host, attempts, tt.door)
		}
	}
}

// Some host names have no calendars: somebody else answers there, and nobody is asked for a password.
func TestElsewhere(t *testing.T) {
	s := start(t, &recorder{}, func(s *scene) {
		s.settings.Elsewhere = func(host string) http.Handler {
			if host != "mail.example" {
				return nil
			}
			return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
		}
	})
	for name, want := range map[string]int{"mail.example": 418, "mail.example:443": 418, "other.example": 207} {
		r := s.request("PROPFIND", "/", nil)
		r.Host = name
		before := len(s.auth.Attempts())
		res, _ := s.do(s.client(false), r)
		if elsewhere := want == 418; (res.StatusCode == 418) != elsewhere || (len(s.auth.Attempts()) == before) != elsewhere {
			t.Errorf("%s: status %d, %d attempts", name, res.StatusCode, len(s.auth.Attempts())-before)
		}
	}
}

func TestAttemptSaysWhoCame(t *testing.T) {
	s := start(t, &recorder{}, func(s *scene) { s.settings.DefaultDomain = "new.example" })
	r := s.request("PROPFIND", "/", nil)
	r.Header.Set("User-Agent", "DAVx5/4\u00fc"+strings.Repeat("x", 300))
	s.do(s.client(true), r)
	a := s.auth.Attempts()[0]
	if a.Mechanism != "BASIC" || a.Conn.Listener != "dav" || a.Conn.TLSVersion != "TLSv1.3" || a.Conn.ServerName != host ||
		a.Conn.DefaultDomain != "new.example" || !a.Conn.Client.Addr().IsLoopback() || a.Conn.ClientVouched || a.Conn.ID == "" ||
		len(a.Conn.Agent) != 200 || !strings.HasPrefix(a.Conn.Agent, "DAVx5/4x") {
		t.Errorf("attempt %+v", a)
	}
}
