package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/authtest"
	"latchkey/policy/admin"
	"latchkey/policy/api"
	"latchkey/policy/self"
)

// house is the whole API over HTTP, with the people of the sample.
type house struct {
	*authtest.Core
	url   string
	clock *clock
	log   *buffer
}

// clock is a time that tests move.
type clock struct {
	mu sync.Mutex
	at time.Time // guarded by mu
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// buffer takes logs of many goroutines.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer // guarded by mu
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func open(t testing.TB, change func(*authcore.Options)) *house {
	t.Helper()
	h := &house{clock: &clock{at: time.Now()}, log: &buffer{}}
	log := slog.New(slog.NewTextHandler(h.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	h.Core = authtest.New(t, func(o *authcore.Options) {
		o.Now, o.Log = h.clock.now, log
		if change != nil {
			change(o)
		}
	})
	s := httptest.NewServer(api.New(api.Options{Core: h.Core.Core, Log: log, Rates: api.Rates{PerMember: -1, PerSource: -1}, JWKS: func() ([]byte, error) { return []byte(`{"keys":[]}`), nil }},
		self.Register, admin.Register))
	t.Cleanup(s.Close)
	h.url = s.URL
	return h
}

// answer is what came back.
type answer struct {
	t      testing.TB
	status int
	header http.Header
	body   []byte
}

// call sends a request; body nil is none, a string is sent as it is, anything else as JSON.
func (h *house) call(t testing.TB, token, method, path string, body any, headers ...string) answer {
	t.Helper()
	var r io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		r = strings.NewReader(b)
	default:
		p, err := json.Marshal(b)
		if err != nil {
			t.Fatal(err)
		}
		r = bytes.NewReader(p)
	}
	if strings.HasPrefix(path, "/") && !strings.HasPrefix(path, "/.well-known/") {
		path = api.Prefix + path
	}
	q, err := http.NewRequestWithContext(t.Context(), method, h.url+path, r)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		q.Header.Set("Authorization", "Bearer "+token)
	}
	if body != nil {
		q.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		q.Header.Set(headers[i], headers[i+1])
	}
	res, err := http.DefaultClient.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	p, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{t: t, status: res.StatusCode, header: res.Header, body: p}
}

// is asks for a status, and for a reason where one is given.
func (a answer) is(status int, reason ...string) answer {
	a.t.Helper()
	if a.status != status {
		a.t.Fatalf("status %d, want %d: %s", a.status, status, a.body)
	}
	if len(reason) > 0 && a.text("reason") != reason[0] {
		a.t.Fatalf("reason %q, want %q: %s", a.text("reason"), reason[0], a.body)
	}
	return a
}

func (a answer) value() map[string]any {
	a.t.Helper()
	var v map[string]any
	if err := json.Unmarshal(a.body, &v); err != nil {
		a.t.Fatalf("status %d, not a JSON object: %s", a.status, a.body)
	}
	return v
}

func (a answer) text(field string) string {
	s, _ := a.value()[field].(string)
	return s
}

func (a answer) items() []map[string]any {
	a.t.Helper()
	l, ok := a.value()["items"].([]any)
	if !ok {
		a.t.Fatalf("no items: %s", a.body)
	}
	var items []map[string]any
	for _, v := range l {
		items = append(items, v.(map[string]any))
	}
	return items
}

type m = map[string]any

// token signs a person of the sample in.
func (h *house) token(t testing.TB, state string) string {
	t.Helper()
	p := h.People[state]
	return h.tokenOf(t, p.Address, p.Account.Reveal())
}

func (h *house) tokenOf(t testing.TB, address, password string) string {
	t.Helper()
	a := h.call(t, "", "POST", "/sign-in", m{"login": address, "password": password}).is(200)
	if a.text("state") != "signed_in" || a.text("token") == "" {
		t.Fatalf("sign in %s: %s", address, a.body)
	}
	return a.text("token")
}

// eventually waits for words in the log: an event is written after its answer.
func (h *house) eventually(t testing.TB, words string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for !strings.Contains(h.log.String(), words) {
		select {
		case <-ctx.Done():
			t.Fatalf("the log never says %q", words)
		case <-time.After(time.Millisecond):
		}
	}
}
