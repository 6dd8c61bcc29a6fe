package upstream

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/secret"
	"latchkey/proxy"
	"latchkey/proxy/proxytest"
)

func TestHTTPSignIn(t *testing.T) {
	base := Server{Name: "dav", Protocol: HTTPProtocol, Addresses: []string{"192.0.2.1:80"}, Header: "X-Remote-User"}
	u := authcore.Upstream{Name: "dav", User: "m@new.example", Password: secret.New("pass:word")}
	for _, tt := range []struct {
		name          string
		change        func(*Server)
		authorization string
		header        string
	}{
		{"header", func(s *Server) { s.Way = Header }, "", "m@new.example"},
		{"basic with a master secret", func(s *Server) { s.Way, s.Header, s.Secret = Basic, "", secret.New("s") }, "Basic bUBuZXcuZXhhbXBsZTpz", ""},
		{"basic as one, and the header", func(s *Server) { s.Way, s.BasicUser, s.Secret = Basic, "door", secret.New("s") }, "Basic ZG9vcjpz", "m@new.example"},
		{"basic with a token", func(s *Server) { s.Way, s.Header = Basic, "" }, "Basic bUBuZXcuZXhhbXBsZTpqd3QuaHR0cHM6Ly9kb29yLmV4YW1wbGUuZGF2Lm1AbmV3LmV4YW1wbGU=", ""},
		{"bearer with a token", func(s *Server) { s.Way, s.Header = Bearer, "" }, "Bearer jwt.https://door.example.dav.m@new.example", ""},
		{"bearer with a secret", func(s *Server) { s.Way, s.Secret = Bearer, secret.New("s") }, "Bearer s", "m@new.example"},
		{"passthrough", func(s *Server) { s.Way, s.Header = proxy.Passthrough, "" }, "Basic bUBuZXcuZXhhbXBsZTpwYXNzOndvcmQ=", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := base
			tt.change(&s)
			h, err := pool(t, s).HTTP("dav")
			if err != nil {
				t.Fatal(err)
			}
			header := http.Header{}
			if err := h.SignIn(t.Context(), u, header); err != nil {
				t.Fatal(err)
			}
			if header.Get("Authorization") != tt.authorization || header.Get("X-Remote-User") != tt.header {
				t.Errorf("headers %v", header)
			}
		})
	}
	s := base
	s.Way, s.Header = proxy.Passthrough, ""
	h, err := pool(t, s).HTTP("dav")
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range []authcore.Upstream{{User: "m"}, {User: "m:n", Password: secret.New("p")}} {
		if err := h.SignIn(t.Context(), u, http.Header{}); err == nil {
			t.Errorf("passthrough took %q with password %v", u.User, !u.Password.Empty())
		}
	}
}

// wayTo builds the way to h: how long a request waits before it is asked whether the server is alive, and how long that may
// take.
func wayTo(t *testing.T, address string, patience, alive time.Duration) *HTTP {
	t.Helper()
	server := Server{Name: "dav", Protocol: HTTPProtocol, Addresses: []string{address}, Way: Header, Header: "X-Remote-User"}
	h, err := poolOf(t, Options{Servers: []Server{server}, patience: patience, alive: alive}).HTTP("dav")
	if err != nil {
		t.Fatal(err)
	}
	return h
}

const short = 50 * time.Millisecond

func ask(t *testing.T, ctx context.Context, h *HTTP) (string, error) {
	t.Helper()
	u := h.URL()
	r, err := http.NewRequestWithContext(ctx, "REPORT", u.String()+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := h.RoundTrip(r)
	if err != nil {
		return "", err
	}
	defer func() { _ = res.Body.Close() }()
	p, err := io.ReadAll(res.Body)
	return string(p), err
}

// A server that is at work on a request, and answers others, is left to it.
func TestRoundTripWaitsForTheBusy(t *testing.T) {
	asked := make(chan struct{})
	address := serveDAV(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodOptions {
			close(asked) // a second question would panic here: however many wait, one asks
			return
		}
		select {
		case <-asked:
			_, _ = io.WriteString(w, "done")
		case <-r.Context().Done():
		}
	}))
	got, err := ask(t, t.Context(), wayTo(t, address, short, time.Minute))
	if err != nil || got != "done" {
		t.Errorf("answer %q, %v", got, err)
	}
}

// A server that takes connections and says nothing is told from a busy one within the 5 s.
func TestRoundTripGivesUpTheDead(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	began := time.Now()
	_, err = ask(t, t.Context(), wayTo(t, ln.Addr().String(), short, short))
	wantStep(t, err, "dav", StepRequest)
	if took := time.Since(began); !errors.Is(err, errStalled) || took > 4*time.Second {
		t.Errorf("error %v after %v", err, took)
	}
}

func TestRoundTripDown(t *testing.T) {
	_, err := ask(t, t.Context(), wayTo(t, proxytest.Refusing(t), short, short))
	wantStep(t, err, "dav", StepConnect)
}

func TestRoundTripEndsWithItsCaller(t *testing.T) {
	began := make(chan struct{})
	address := serveDAV(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(began)
		<-r.Context().Done()
	}))
	h := wayTo(t, address, time.Hour, short)
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("cut")
	go func() { <-began; cancel(why) }()
	if _, err := ask(t, ctx, h); !errors.Is(err, why) {
		t.Errorf("error %v, want the cause of the context", err)
	}
}

func TestRoundTripBoundsHeaders(t *testing.T) {
	address := serveDAV(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Long", strings.Repeat("x", maxResponseHeaders+1))
	}))
	if _, err := ask(t, t.Context(), wayTo(t, address, time.Minute, time.Minute)); err == nil {
		t.Error("a response with endless headers was taken")
	}
}
