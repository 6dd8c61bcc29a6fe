package ops

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/prometheus/client_golang/prometheus"
)

func ask(t *testing.T, h http.Handler, method, path, body string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body)))
	p, err := io.ReadAll(w.Result().Body)
	if err != nil {
		t.Fatal(err)
	}
	return w.Code, string(p)
}

func TestReady(t *testing.T) {
	good := Check{Name: "keys", Check: func(context.Context) error { return nil }}
	warns := Check{Name: "spool", Warns: true, Check: func(context.Context) error {
		return fmt.Errorf("look: %w", &Trouble{Sentence: "Two wait.", Cause: errors.New("canary")})
	}}
	bad := Check{Name: "records", Check: func(context.Context) error { return errors.New("open /var/lib/canary: permission denied") }}
	for name, c := range map[string]struct {
		checks []Check
		status int
		body   string
	}{
		"nothing to check": {nil, 200, `{"status":"ok"}`},
		"all hold":         {[]Check{good}, 200, `{"status":"ok","checks":[{"name":"keys","ok":true}]}`},
		"one fails":        {[]Check{good, bad}, 503, `{"status":"failing","checks":[{"name":"keys","ok":true},{"name":"records","ok":false}]}`},
		"one warns":        {[]Check{good, warns}, 200, `{"status":"degraded","checks":[{"name":"keys","ok":true},{"name":"spool","ok":false,"detail":"Two wait."}]}`},
		"one warns and one fails": {[]Check{bad, warns}, 503,
			`{"status":"failing","checks":[{"name":"records","ok":false},{"name":"spool","ok":false,"detail":"Two wait."}]}`},
		"one panics": {[]Check{{Name: "upstreams", Check: func(context.Context) error { panic("canary") }}, good}, 503,
			`{"status":"failing","checks":[{"name":"upstreams","ok":false},{"name":"keys","ok":true}]}`},
	} {
		t.Run(name, func(t *testing.T) {
			status, body := ask(t, New(Options{Ready: c.checks}), "GET", "/readyz", "")
			if status != c.status || strings.TrimSpace(body) != c.body {
				t.Errorf("%d %s, want %d %s", status, body, c.status, c.body)
			}
		})
	}
}

func TestReadyWhileDraining(t *testing.T) {
	for draining, want := range map[bool]int{true: 503, false: 200} {
		status, body := ask(t, New(Options{Draining: func() bool { return draining }}), "GET", "/readyz", "")
		if status != want || strings.Contains(body, "draining") != draining {
			t.Errorf("draining %v: %d %s", draining, status, body)
		}
	}
}

func TestReadyEndsWithACheckThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hangs := Check{Name: "records", Check: func(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) }}
		if status, _ := ask(t, New(Options{Ready: []Check{hangs}}), "GET", "/readyz", ""); status != 503 {
			t.Errorf("status %d", status)
		}
	})
}

func TestLogLevel(t *testing.T) {
	var out bytes.Buffer
	level := new(slog.LevelVar)
	log := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: level}))
	h := New(Options{Level: level, Log: log})
	for name, c := range map[string]struct {
		body   string
		status int
		want   slog.Level
	}{
		"debug":   {`{"level":"debug"}`, 200, slog.LevelDebug},
		"error":   {`{"level":"ERROR"}`, 200, slog.LevelError},
		"unknown": {`{"level":"loud"}`, 422, slog.LevelInfo},
		"nothing": {`{}`, 422, slog.LevelInfo},
		"other":   {`{"levels":"debug"}`, 422, slog.LevelInfo},
		"large":   {`{"level":"` + strings.Repeat("x", maxBody) + `"}`, 422, slog.LevelInfo},
	} {
		t.Run(name, func(t *testing.T) {
			level.Set(slog.LevelInfo)
			if status, body := ask(t, h, "PUT", "/log-level", c.body); status != c.status || level.Level() != c.want {
				t.Errorf("%d %s, level %v; want %d, %v", status, body, level.Level(), c.status, c.want)
			}
		})
	}
	level.Set(slog.LevelWarn)
	if _, body := ask(t, h, "GET", "/log-level", ""); strings.TrimSpace(body) != `{"level":"WARN"}` {
		t.Errorf("level shown: %s", body)
	}
}

func TestRest(t *testing.T) {
	reg := prometheus.NewRegistry()
	c := prometheus.NewCounter(prometheus.CounterOpts{Name: "latchkey_canary_total"})
	reg.MustRegister(c)
	full := New(Options{Metrics: reg, Upstreams: func(context.Context) any { return map[string]string{"imap": "good"} },
		More: map[string]http.Handler{"GET /demo": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "demo") })}})
	empty := New(Options{})
	for name, c := range map[string]struct {
		h            http.Handler
		method, path string
		status       int
		holds        string
	}{
		"health":          {empty, "GET", "/healthz", 200, `{"status":"ok"}`},
		"metrics":         {full, "GET", "/metrics", 200, "latchkey_canary_total 0"},
		"no metrics":      {empty, "GET", "/metrics", 404, ""},
		"upstreams":       {full, "GET", "/upstreams", 200, `{"imap":"good"}`},
		"no upstreams":    {empty, "GET", "/upstreams", 404, ""},
		"profiles":        {empty, "GET", "/debug/pprof/", 200, "goroutine"},
		"one profile":     {empty, "GET", "/debug/pprof/heap?debug=1", 200, "heap profile"},
		"no level":        {empty, "PUT", "/log-level", 404, ""},
		"more":            {full, "GET", "/demo", 200, "demo"},
		"wrong method":    {full, "POST", "/healthz", 405, ""},
		"nothing of main": {full, "GET", "/", 404, ""},
	} {
		t.Run(name, func(t *testing.T) {
			status, body := ask(t, c.h, c.method, c.path, "")
			if status != c.status || !strings.Contains(body, c.holds) {
				t.Errorf("%d %.200s, want %d and %q", status, body, c.status, c.holds)
			}
		})
	}
}
