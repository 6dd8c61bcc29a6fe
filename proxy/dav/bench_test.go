package dav

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"latchkey/authcore"
	"latchkey/authcore/session"
	"latchkey/policy"
	"latchkey/proxy"
	"latchkey/proxy/http1"
	"latchkey/proxy/proxytest"
)

// The people of the tests. Everyone's password is "secret".
const (
	member  = "m@new.example"
	sitting = session.ID("SESSION-OF-M") // the session that every attempt of member belongs to
	host    = "dav.new.example"
)

// scene is a door with everything around it.
type scene struct {
	t        *testing.T
	auth     *proxytest.Authenticator
	live     *proxy.Live
	upstream *fakeUpstream
	options  http1.Options // of upstream
	way      Upstream      // instead of upstream
	names    []string      // in the door's certificate
	stall    time.Duration
	settings Settings
	registry *prometheus.Registry
	door     *Door
	addr     string
	ca       *proxytest.CA
}

// fakeUpstream is the way to an httptest.Server, by what requests go in earnest.
type fakeUpstream struct {
	*http1.Transport
	base   url.URL
	signIn func(h http.Header) error
	quiet  bool // is not told of the client
}

func (f *fakeUpstream) URL() url.URL       { return f.base }
func (f *fakeUpstream) UserHeader() string { return "X-Member" }
func (f *fakeUpstream) Forwarded() bool    { return !f.quiet }
func (f *fakeUpstream) SignIn(_ context.Context, u authcore.Upstream, h http.Header) error {
	h.Set("X-Member", u.User)
	if f.signIn != nil {
		return f.signIn(h)
	}
	return nil
}

// start opens a door whose upstream is h. change may alter the scene before it opens.
func start(t *testing.T, h http.Handler, change ...func(*scene)) *scene {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	base, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	s := &scene{
		t: t, registry: prometheus.NewRegistry(), auth: proxytest.NewAuthenticator(), live: proxy.NewLive(), ca: proxytest.NewCA(t),
		upstream: &fakeUpstream{base: *base},
		settings: Settings{Listener: "dav", Doors: map[string][]string{"": {policy.CalDAV, policy.CardDAV}}},
	}
	s.options.Dial = func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", s.upstream.base.Host)
	}
	s.auth.Person(member, "secret", authcore.Decision{Reason: authcore.Allowed})
	s.auth.OnAuthenticate = func(_ context.Context, _ authcore.Attempt, told authcore.Decision) (authcore.Decision, error) {
		if told.Allowed() {
			told.Session = sitting
		}
		return told, nil
	}
	s.way, s.names = s.upstream, []string{host}
	for _, c := range change {
		c(s)
	}
	s.upstream.Transport = http1.New(s.options)
	t.Cleanup(s.upstream.Close)
	s.open()
	return s
}

func (s *scene) open() {
	s.door = New(Options{
		Auth: s.auth, Live: s.live, Drain: 5 * time.Second, Stall: s.stall, Metrics: proxy.NewMetrics(s.registry),
		Upstream: func(string) (Upstream, error) { return s.way, nil },
	})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	s.addr = ln.Addr().String()
	serving, stopServing := context.WithCancel(context.Background())
	running, stopRunning := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() { s.door.Run(running) })
	served := make(chan error, 1)
	go func() {
		served <- s.door.Serve(serving, ln, s.ca.Server(s.t, s.names...), func() Settings { return s.settings })
	}()
	s.t.Cleanup(func() {
		stopServing()
		if err := <-served; err != nil {
			s.t.Errorf("Serve: %v", err)
		}
		stopRunning()
		all.Wait()
		s.live.Close()
		if n := s.live.Len(); n != 0 {
			s.t.Errorf("%d sessions are left in the registry", n)
		}
	})
}

// client speaks HTTP/1.1 or HTTP/2 to the door and follows nothing.
func (s *scene) client(http2 bool) *http.Client {
	var versions http.Protocols
	versions.SetHTTP1(!http2)
	versions.SetHTTP2(http2)
	t := &http.Transport{
		TLSClientConfig: s.ca.Client(host), Protocols: &versions, ExpectContinueTimeout: 10 * time.Second,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", s.addr)
		},
	}
	s.t.Cleanup(t.CloseIdleConnections)
	return &http.Client{
		Transport: t, Timeout: 20 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// request builds one of member's.
func (s *scene) request(method, path string, body io.Reader) *http.Request {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, "https://"+host+path, body)
	if err != nil {
		s.t.Fatal(err)
	}
	r.SetBasicAuth(member, "secret")
	return r
}

func (s *scene) do(c *http.Client, r *http.Request) (*http.Response, string) {
	s.t.Helper()
	res, err := c.Do(r)
	if err != nil {
		s.t.Fatalf("%s %s: %v", r.Method, r.URL, err)
	}
	defer func() { _ = res.Body.Close() }()
	p, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatalf("%s %s: read: %v", r.Method, r.URL, err)
	}
	return res, string(p)
}

// raw is a connection on which tests write what no client library would.
type raw struct {
	t *testing.T
	*tls.Conn
	r *bufio.Reader
}

func (s *scene) dial() *raw {
	s.t.Helper()
	c, err := tls.Dial("tcp", s.addr, s.ca.Client(host))
	if err != nil {
		s.t.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	s.t.Cleanup(func() { _ = c.Close() })
	return &raw{t: s.t, Conn: c, r: bufio.NewReader(c)}
}

// basic is member's Authorization.
const basic = "Authorization: Basic bUBuZXcuZXhhbXBsZTpzZWNyZXQ="

// send writes a request line and headers, lines without CRLF; Host is added.
func (c *raw) send(lines ...string) {
	c.t.Helper()
	lines = append([]string{lines[0], "Host: " + host}, lines[1:]...)
	if _, err := io.WriteString(c, strings.Join(lines, "\r\n")+"\r\n\r\n"); err != nil {
		c.t.Fatal(err)
	}
}

func (c *raw) response() *http.Response {
	c.t.Helper()
	res, err := http.ReadResponse(c.r, nil)
	if err != nil {
		c.t.Fatalf("read a response: %v", err)
	}
	return res
}

// recorder is an upstream that keeps what arrives.
type recorder struct {
	mu   sync.Mutex
	seen []seen // guarded by mu
}

type seen struct {
	Method, URI, Host, Body string
	Header, Trailer         http.Header
}

func (rec *recorder) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p, _ := io.ReadAll(r.Body)
	rec.mu.Lock()
	defer rec.mu.Unlock()
	rec.seen = append(rec.seen, seen{r.Method, r.RequestURI, r.Host, string(p), r.Header, r.Trailer})
	w.Header().Set("Etag", `"1"`)
	w.WriteHeader(http.StatusMultiStatus)
	fmt.Fprint(w, "answer")
}

func (rec *recorder) all() []seen {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	return append([]seen(nil), rec.seen...)
}

// last answers the only or latest request that arrived.
func (rec *recorder) last(t *testing.T) seen {
	t.Helper()
	all := rec.all()
	if len(all) == 0 {
		t.Fatal("nothing has arrived at the upstream")
	}
	return all[len(all)-1]
}
