package api_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/authcore"
	"latchkey/policy/admin"
	"latchkey/policy/api"
	"latchkey/policy/self"
)

// pipes is a listener of connections in memory, whose deadlines follow a test's own time.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { close(p.done); return nil }
func (p *pipes) Addr() net.Addr { return &net.IPAddr{} }

// TestDeadlines: an operation may take longer than a body, as a refusal that is held back does, and yet ends.
func TestDeadlines(t *testing.T) {
	wait := func(ctx context.Context, seconds int) (*api.None, error) {
		select {
		case <-time.After(time.Duration(seconds) * time.Second):
			return nil, nil
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	slow := func(k *api.Kit) {
		api.Open(k, api.Operation{ID: "slow", Method: "POST", Path: "/slow"},
			func(ctx context.Context, _ authcore.Client, in *struct{ Body struct{ Seconds int } }) (*api.None, error) {
				return wait(ctx, in.Body.Seconds)
			})
		api.Open(k, api.Operation{ID: "bare", Method: "POST", Path: "/bare"},
			func(ctx context.Context, _ authcore.Client, _ *struct{}) (*api.None, error) { return wait(ctx, 40) })
	}
	for name, c := range map[string]struct {
		path    string
		seconds int
		sent    int // how much of the body arrives
		status  int
		after   time.Duration
	}{
		"longer than a body may take": {path: "/slow", seconds: 40, sent: 14, status: 204, after: 40 * time.Second},
		"no body":                     {path: "/bare", status: 204, after: 40 * time.Second},
		"too long":                    {path: "/slow", seconds: 99, sent: 14, status: 503, after: 60 * time.Second},
		"a body that stops":           {path: "/slow", seconds: 10, sent: 5, status: 408, after: 15 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
				s := &http.Server{Handler: api.New(api.Options{}, slow)}
				served := make(chan error, 1)
				go func() { served <- s.Serve(l) }()
				mine, theirs := net.Pipe()
				l.conns <- theirs
				body := ""
				if c.seconds > 0 {
					body = fmt.Sprintf(`{"Seconds":%d}`, c.seconds)
				}
				began := time.Now()
				if _, err := fmt.Fprintf(mine, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", api.Prefix+c.path, len(body), body[:c.sent]); err != nil {
					t.Fatal(err)
				}
				res, err := http.ReadResponse(bufio.NewReader(mine), nil)
				if err != nil {
					t.Fatal(err)
				}
				if took := time.Since(began); res.StatusCode != c.status || took != c.after {
					t.Errorf("status %d after %v, want %d after %v", res.StatusCode, took, c.status, c.after)
				}
				_ = mine.Close()
				_ = s.Close()
				<-served
			})
		})
	}
}

// TestHTTP2 has what a real listener speaks: sign in, a body over the bound, an export.
func TestHTTP2(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	s := httptest.NewUnstartedServer(api.New(api.Options{Core: h.Core.Core}, self.Register, admin.Register))
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	token := h.token(t, "admin")
	for name, c := range map[string]struct {
		method, path, body string
		status             int
	}{
		"me":        {"GET", "/me", "", 200},
		"too large": {"POST", "/me/app-passwords", strings.Repeat(" ", 3*api.MaxBody), 413},
		"export":    {"GET", "/domains/old.example/audit?format=csv", "", 200},
		"again":     {"GET", "/me", "", 200},
	} {
		q, err := http.NewRequestWithContext(t.Context(), c.method, s.URL+api.Prefix+c.path, strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		q.Header.Set("Authorization", "Bearer "+token)
		res, err := s.Client().Do(q)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		p, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if err != nil || res.StatusCode != c.status || res.ProtoMajor != 2 || len(p) == 0 {
			t.Errorf("%s: %s %d, %v: %.200s", name, res.Proto, res.StatusCode, err, p)
		}
	}
}
