package api_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"latchkey/authcore"
	"latchkey/authcore/audit"
	"latchkey/authcore/store"
	"latchkey/policy/api"
)

func TestTokens(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	token := h.token(t, "account")
	for name, c := range map[string]struct {
		path    string
		headers []string
		status  int
	}{
		"bearer":           {"/me", []string{"Authorization", "Bearer " + token}, 200},
		"scheme in small":  {"/me", []string{"Authorization", "bearer " + token}, 200},
		"none":             {"/me", nil, 401},
		"basic":            {"/me", []string{"Authorization", "Basic " + token}, 401},
		"bare":             {"/me", []string{"Authorization", token}, 401},
		"cookie":           {"/me", []string{"Cookie", "token=" + token + "; __Host-session=" + token}, 401},
		"query":            {"/me?access_token=" + token, nil, 401},
		"another's":        {"/me", []string{"Authorization", "Bearer " + token[:len(token)-1] + "!"}, 401},
		"another domain's": {"/me", []string{"Authorization", "Bearer lk_" + strings.Repeat("a", 26) + token[29:]}, 401},
		"empty":            {"/me", []string{"Authorization", "Bearer "}, 401},
	} {
		t.Run(name, func(t *testing.T) {
			a := h.call(t, "", "GET", c.path, nil, c.headers...).is(c.status)
			if c.status == 401 && (a.text("reason") != "not_signed_in" || !strings.HasPrefix(a.header.Get("WWW-Authenticate"), "Bearer")) {
				t.Errorf("%s, WWW-Authenticate %q", a.body, a.header.Get("WWW-Authenticate"))
			}
		})
	}
}

func TestRequestsThatAreNotRight(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	token := h.token(t, "account")
	for name, c := range map[string]struct {
		method, path, body string
		headers            []string
		status             int
		reason             string
	}{
		"unknown path":       {"GET", "/nothing", "", nil, 404, "not_found"},
		"unknown root":       {"GET", "/../x", "", nil, 404, "not_found"},
		"unknown method":     {"DELETE", "/me", "", nil, 405, "method_not_allowed"},
		"made-up method":     {"FROB", "/me", "", nil, 405, "method_not_allowed"},
		"unknown field":      {"POST", "/sign-in", `{"login":"a","password":"b","admin":true}`, nil, 422, "invalid"},
		"unknown parameter":  {"GET", "/me?debug=1", "", nil, 422, "invalid"},
		"missing field":      {"POST", "/sign-in", `{"login":"a"}`, nil, 422, "invalid"},
		"null":               {"POST", "/sign-in", `{"login":"a","password":null}`, nil, 422, "invalid"},
		"wrong kind":         {"POST", "/sign-in", `{"login":["a"],"password":"b"}`, nil, 422, "invalid"},
		"no JSON":            {"POST", "/sign-in", `login=a`, nil, 400, "invalid"},
		"two documents":      {"POST", "/sign-in", `{"login":"a","password":"b"}{}`, nil, 400, "invalid"},
		"no body":            {"POST", "/sign-in", "", nil, 400, "invalid"},
		"another media type": {"POST", "/sign-in", `{"login":"a","password":"b"}`, []string{"Content-Type", "text/plain"}, 415, "unsupported_media_type"},
		"too large":          {"POST", "/sign-in", `{"login":"` + strings.Repeat("a", api.MaxBody) + `","password":"b"}`, nil, 413, "too_large"},
		"much too large":     {"POST", "/sign-in", strings.Repeat(" ", 3*api.MaxBody), nil, 413, "too_large"},
		"long password":      {"POST", "/sign-in", `{"login":"a","password":"` + strings.Repeat("b", 2000) + `"}`, nil, 422, "invalid"},
		"id of another kind": {"DELETE", "/me/app-passwords/" + strings.Repeat("x", 65), "", nil, 422, "invalid"},
	} {
		t.Run(name, func(t *testing.T) {
			var body any
			if c.body != "" {
				body = c.body
			}
			a := h.call(t, token, c.method, c.path, body, c.headers...).is(c.status, c.reason)
			v := a.value()
			if a.header.Get("Content-Type") != "application/problem+json" || v["type"] != "about:blank" || v["title"] != http.StatusText(c.status) ||
				v["status"] != float64(c.status) || v["detail"] == "" {
				t.Errorf("%s: %s", a.header.Get("Content-Type"), a.body)
			}
			if c.status == 405 && a.header.Get("Allow") == "" {
				t.Error("405 without Allow")
			}
		})
	}
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	for name, a := range map[string]answer{
		"answer":   h.call(t, h.token(t, "account"), "GET", "/me", nil).is(200),
		"problem":  h.call(t, "", "GET", "/me", nil).is(401),
		"no route": h.call(t, "", "GET", "/nothing", nil).is(404),
		"document": h.call(t, "", "GET", "/openapi.json", nil).is(200),
	} {
		for key, want := range map[string]string{
			"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
			"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'", "Set-Cookie": "", "Access-Control-Allow-Origin": "",
		} {
			if got := a.header.Get(key); got != want {
				t.Errorf("%s: %s %q, want %q", name, key, got, want)
			}
		}
		if a.header.Get("X-Request-Id") == "" {
			t.Errorf("%s: no request id", name)
		}
	}
	keys := h.call(t, "", "GET", "/.well-known/jwks.json", nil).is(200)
	if keys.header.Get("Content-Type") != "application/jwk-set+json" || keys.header.Get("Cache-Control") != "public, max-age=3600" || string(keys.body) != `{"keys":[]}` {
		t.Errorf("keys: %v %s", keys.header, keys.body)
	}
}

func TestThrottledSaysWhen(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	var last answer
	for i := range 200 {
		last = h.call(t, "", "POST", "/sign-in", m{"login": "account@old.example", "password": strings.Repeat("x", i+1)})
		if last.status != 401 {
			break
		}
	}
	last.is(429, "throttled")
	if last.header.Get("Retry-After") == "" || last.header.Get("Retry-After") == "0" {
		t.Errorf("Retry-After %q", last.header.Get("Retry-After"))
	}
}

// failing are records that may be told to fail.
type failing struct {
	store.Records
	fails atomic.Bool
	lists atomic.Int64 // above zero: the list of the audit fails that counts it down to zero
}

var errCanary = errors.New("dial canary-host: connection refused")

func (f *failing) Get(ctx context.Context, k store.Key) (store.Record, error) {
	if f.fails.Load() {
		return store.Record{}, errCanary
	}
	return f.Records.Get(ctx, k)
}

func (f *failing) List(ctx context.Context, partition string, q store.Query) ([]store.Record, error) {
	if q.Prefix == audit.Prefix && f.lists.Load() > 0 && f.lists.Add(-1) == 0 {
		return nil, errCanary
	}
	return f.Records.List(ctx, partition, q)
}

func (f *failing) Apply(ctx context.Context, partition string, ops ...store.Op) (int64, error) {
	if f.fails.Load() {
		return 0, errCanary
	}
	return f.Records.Apply(ctx, partition, ops...)
}

func TestBrokenIsUnavailable(t *testing.T) {
	t.Parallel()
	records := &failing{}
	h := open(t, func(o *authcore.Options) { records.Records = o.Records; o.Records = records })
	token := h.token(t, "account")
	records.fails.Store(true)
	for name, a := range map[string]answer{
		"token":   h.call(t, token, "GET", "/me", nil),
		"sign in": h.call(t, "", "POST", "/sign-in", m{"login": "account@old.example", "password": h.People["account"].Account.Reveal()}),
	} {
		a.is(503, "unavailable")
		if a.header.Get("Retry-After") == "" || strings.Contains(string(a.body), "canary") {
			t.Errorf("%s: Retry-After %q, %s", name, a.header.Get("Retry-After"), a.body)
		}
	}
	if !strings.Contains(h.log.String(), "canary-host") {
		t.Error("the log does not say what broke")
	}
	records.fails.Store(false)
	h.call(t, token, "GET", "/me", nil).is(200)
}

func TestSecretsAreInNoLog(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	p := h.People["account"]
	secrets := []string{"canary-wrong-1", "canary-new-22", "canary-field-3", p.Account.Reveal()}
	token := h.token(t, "account")
	secrets = append(secrets, token)
	h.call(t, "", "POST", "/sign-in", m{"login": "canary-login@old.example", "password": "canary-wrong-1"}).is(401)
	field := h.call(t, token, "PUT", "/me/password", m{"current": p.Account.Reveal(), "new": "canary-new-22", "canary-field-3": 1}).is(422)
	broken := h.call(t, token, "PUT", "/me/password", `{"current":"canary-wrong-1","new":canary-new-22}`).is(400)
	for _, a := range []answer{field, broken} {
		if body := string(a.body); strings.Contains(body, "canary-new-22") || strings.Contains(body, "canary-wrong-1") || strings.Contains(body, p.Account.Reveal()) {
			t.Errorf("a problem shows what was sent: %s", body)
		}
	}
	changed := h.call(t, token, "PUT", "/me/password", m{"current": p.Account.Reveal(), "new": "canary-new-22"}).is(200)
	made := h.call(t, changed.text("token"), "POST", "/me/app-passwords", m{"name": "Phone"}).is(201)
	reset := h.call(t, h.token(t, "admin"), "POST", "/members/"+p.Address+"/reset-password", nil).is(200)
	step := h.call(t, "", "POST", "/sign-in", m{"login": p.Address, "password": reset.text("temporary_password")}).is(200)
	secrets = append(secrets, changed.text("token"), made.text("password"), reset.text("temporary_password"), step.text("ticket"))
	audit := h.call(t, h.token(t, "admin"), "GET", "/domains/old.example/audit?format=jsonl", nil).is(200)
	h.eventually(t, `{domain}/audit"`) // the last one's event comes behind its answer
	log := h.log.String()
	for _, s := range append(secrets, "canary-login", p.Address) {
		if s == "" {
			t.Fatal("a secret is empty: the test looks for nothing")
		}
		if strings.Contains(log, s) {
			t.Errorf("the log holds %q", s)
		}
	}
	for _, s := range secrets {
		if strings.Contains(string(audit.body), s) {
			t.Errorf("the audit holds %q", s)
		}
	}
	if n := strings.Count(log, "msg=request "); n != 11 {
		t.Errorf("%d events, want one for each of 11 requests:\n%s", n, log)
	}
	for _, want := range []string{`route="POST /api/v1/sign-in"`, "reason=bad_credentials", "status=422", "client=127.0.0.1", "member="} {
		if !strings.Contains(log, want) {
			t.Errorf("no event says %s", want)
		}
	}
}

func TestPanicIsAnAnswer(t *testing.T) {
	t.Parallel()
	var log buffer
	reg := prometheus.NewRegistry()
	add := func(k *api.Kit) {
		api.Open(k, api.Operation{ID: "panic", Method: "GET", Path: "/panic"}, func(context.Context, authcore.Client, *struct{}) (*api.None, error) {
			panic("canary")
		})
	}
	s := httptest.NewServer(api.New(api.Options{Log: slog.New(slog.NewTextHandler(&log, nil)), Metrics: api.NewMetrics(reg)}, add))
	defer s.Close()
	h := &house{url: s.URL}
	a := h.call(t, "", "GET", "/panic", nil).is(500, "internal_error")
	if strings.Contains(string(a.body), "canary") || !strings.Contains(log.String(), "canary") {
		t.Errorf("told %s, logged %s", a.body, log.String())
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "latchkey_api_panics_total" && f.GetMetric()[0].GetCounter().GetValue() != 1 {
			t.Errorf("panics counted: %v", f)
		}
	}
}

// TestClientIsTheConnection: headers that claim another address are not believed.
func TestClientIsTheConnection(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	p := h.People["account"]
	h.call(t, "", "POST", "/sign-in", m{"login": p.Address, "password": p.Account.Reveal()}, "X-Forwarded-For", "203.0.113.9", "Forwarded", "for=203.0.113.9",
		"X-Real-Ip", "203.0.113.9", "User-Agent", "agent\t"+strings.Repeat("é", 300)).is(200)
	for _, s := range h.call(t, h.token(t, "account"), "GET", "/me/sessions", nil).is(200).items() {
		if s["from"] != "127.0.0.1" {
			t.Errorf("from %v", s["from"])
		}
		if agent := s["agent"].(string); len(agent) > 200 || strings.Contains(agent, "\t") {
			t.Errorf("agent %q", agent)
		}
	}
}

func TestHeadAnswersWithoutBody(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	if a := h.call(t, h.token(t, "account"), http.MethodHead, "/me", nil).is(200); len(a.body) != 0 {
		t.Errorf("body %s", a.body)
	}
}

// TestBodyThatNeverEnds is cut off and answered, and does not stay.
func TestBodyThatNeverEnds(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	q, err := http.NewRequestWithContext(t.Context(), "POST", h.url+api.Prefix+"/sign-in", io.LimitReader(spaces{}, 1<<30))
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(q)
	if err != nil {
		return // the server may hang up while we still send
	}
	defer res.Body.Close()
	if res.StatusCode != 413 {
		t.Errorf("status %d", res.StatusCode)
	}
}

type spaces struct{}

func (spaces) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

// TestBodyThatDoesNotArrive is the client's failure, not the server's.
func TestBodyThatDoesNotArrive(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	c, err := net.Dial("tcp", strings.TrimPrefix(h.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "POST "+api.Prefix+"/sign-in HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"); err != nil {
		t.Fatal(err)
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if err := c.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if p, _ := io.ReadAll(res.Body); res.StatusCode != 408 || !strings.Contains(string(p), `"reason":"timeout"`) {
		t.Errorf("status %d: %s", res.StatusCode, p)
	}
}
