package proxy_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"latchkey/authcore"
	"latchkey/authcore/secret"
	"latchkey/proxy"
	"latchkey/proxy/proxytest"
	"latchkey/proxy/relay"
	"latchkey/proxy/wire"
)

// chat is a protocol of a few words: "IN name secret" signs in.
type chat struct {
	auth     proxy.Authenticator
	farewell func(error) []byte
	splitter func() relay.Splitter
	panicAt  string // "dialogue", "login", "reply" or "relay"
}

func (p *chat) Name() string { return "chat" }

func (p *chat) bug(at string) {
	if p.panicAt == at {
		panic("a bug in " + at)
	}
}

func (p *chat) Dialogue(ctx context.Context, c *wire.Conn, info authcore.ConnInfo) (*proxy.Login, error) {
	_ = c.Reply("hello\r\n")
	for {
		line, err := c.ReadLine(200)
		if err != nil {
			_ = c.Bye("bye\r\n")
			return nil, fmt.Errorf("%w: %w", proxy.ErrGone, err)
		}
		p.bug("dialogue")
		rest, ok := strings.CutPrefix(string(line), "IN ")
		if !ok {
			_ = c.Reply("what?\r\n")
			continue
		}
		name, word, _ := strings.Cut(rest, " ")
		a := authcore.Attempt{Door: "chat", Mechanism: "IN", Conn: info, Credential: authcore.Password{
			UnverifiedName: name, Secret: secret.New(word),
		}}
		d, err := p.auth.Authenticate(ctx, a)
		switch {
		case err != nil:
			_ = c.Reply("no unavailable\r\n")
		case !d.Allowed():
			_ = c.Reply("no %s\r\n", d.Reason)
		default:
			return &proxy.Login{Attempt: a, Decision: d, Reply: func(r authcore.Reason, w proxy.Welcome) error {
				p.bug("reply")
				if r != authcore.Allowed {
					return c.Bye("no %s\r\n", r)
				}
				return c.Reply("ok %s\r\n", strings.Join(w.Capabilities, " "))
			}}, nil
		}
	}
}

func (p *chat) Refuse(c *wire.Conn, why authcore.Reason, text string) error {
	return c.Bye("no %s: %s\r\n", why, text)
}

func (p *chat) LogIn(_ context.Context, up *proxy.Leg, _ *proxy.Login) (proxy.Welcome, error) {
	p.bug("login")
	if _, err := up.ReadLine(100); err != nil {
		return proxy.Welcome{}, fmt.Errorf("greeting: %w", err)
	}
	_ = up.Reply("IN %s\r\n", up.SignIn.User)
	for {
		line, err := up.ReadLine(100)
		if err != nil {
			return proxy.Welcome{}, fmt.Errorf("answer: %w", err)
		}
		word, rest, _ := strings.Cut(string(line), " ")
		switch word {
		case "ok":
			return proxy.Welcome{Capabilities: strings.Fields(rest)}, nil
		case "no":
			return proxy.Welcome{}, errors.New("refused")
		}
	}
}

func (p *chat) Relay(*proxy.Login, proxy.Welcome) proxy.Passage {
	p.bug("relay")
	passage := proxy.Passage{Farewell: p.farewell}
	if p.splitter != nil {
		passage.Splitter = p.splitter()
	}
	return passage
}

func bye(error) []byte { return []byte("bye\r\n") }

// echo is an upstream that lets everybody in and says everything back.
func echo(c net.Conn) {
	defer c.Close()
	_, _ = io.WriteString(c, "ready\r\n")
	r := bufio.NewReader(c)
	if _, err := r.ReadString('\n'); err != nil {
		return
	}
	_, _ = io.WriteString(c, "ok A B\r\n")
	_, _ = io.Copy(c, r)
}

// stage is a Server with everything around it faked.
type stage struct {
	t        *testing.T
	auth     *proxytest.Authenticator
	dialer   *proxytest.Dialer
	chat     *chat
	live     *proxy.Live
	relay    *relay.Relay
	registry *prometheus.Registry
	log      *lockedBuffer
	listener *proxytest.Listener
	settings proxy.Listener
	options  proxy.Options
	server   *proxy.Server

	wg sync.WaitGroup // Serve
}

const doorAddr = "192.0.2.1:143"

// newStage prepares a stage inside a synctest bubble; change may alter it before the Server is made. At the end of the
// test everything is shut down, and a goroutine that is left fails it.
func newStage(t *testing.T, change func(*stage)) *stage {
	s := prepare(t, change)
	s.listener = proxytest.NewListener(doorAddr)
	s.open(s.listener)
	return s
}

func prepare(t *testing.T, change func(*stage)) *stage {
	s := &stage{
		t: t, auth: proxytest.NewAuthenticator(), dialer: &proxytest.Dialer{Upstream: echo}, live: proxy.NewLive(),
		relay: relay.New(relay.Settings{}), registry: prometheus.NewRegistry(), log: &lockedBuffer{},
	}
	s.auth.Person("a@new.example", "secret", authcore.Decision{Reason: authcore.Allowed})
	s.chat = &chat{auth: s.auth, farewell: bye}
	s.settings = proxy.Listener{Name: "front", Protocol: s.chat}
	metrics := proxy.NewMetrics(s.registry)
	s.options = proxy.Options{
		Auth: s.auth, Dialer: s.dialer, Live: s.live, Relay: s.relay, MaxConnections: 1000, Metrics: metrics,
		Log: slog.New(slog.NewTextHandler(s.log, nil)),
	}
	if change != nil {
		change(s)
	}
	s.chat.auth = metrics.Counting(s.auth)
	s.server = proxy.NewServer(s.options)
	return s
}

func (s *stage) open(ln net.Listener) {
	s.wg.Go(func() {
		if err := s.server.Serve(s.t.Context(), ln, func() proxy.Listener { return s.settings }); err != nil {
			s.t.Errorf("Serve: %v", err)
		}
	})
	s.t.Cleanup(s.close)
}

func (s *stage) close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := s.server.Shutdown(ctx); err != nil {
		s.t.Errorf("Shutdown: %v", err)
	}
	s.wg.Wait()
	s.relay.Close(errors.New("end of test"))
	s.live.Close()
	s.dialer.Wait()
}

// dial connects a client from an address.
func (s *stage) dial(from string) *client {
	s.t.Helper()
	c, err := s.listener.Dial(from)
	if err != nil {
		s.t.Fatalf("dial: %v", err)
	}
	s.t.Cleanup(func() { _ = c.Close() })
	return newClient(s.t, c)
}

// signIn brings a client into its session.
func (s *stage) signIn(from string) *client {
	s.t.Helper()
	c := s.dial(from)
	c.expect("hello")
	c.say("IN a@new.example secret")
	c.expect("ok A B")
	return c
}

// ended waits for the n-th call of Ended and makes sure that there are no more.
func (s *stage) ended(n int) authcore.End {
	s.t.Helper()
	synctest.Wait()
	calls := s.auth.EndedCalls()
	if len(calls) != n {
		s.t.Fatalf("Ended was called %d times, want %d: %v", len(calls), n, calls)
	}
	return calls[n-1].End
}

// metric answers the value of a counter or gauge with exactly these labels.
func (s *stage) metric(name string, labels ...string) float64 {
	s.t.Helper()
	families, err := s.registry.Gather()
	if err != nil {
		s.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "latchkey_proxy_"+name {
			continue
		}
		for _, m := range f.GetMetric() {
			var have []string
			for _, l := range m.GetLabel() {
				have = append(have, l.GetName()+"="+l.GetValue())
			}
			if strings.Join(have, " ") == strings.Join(labels, " ") {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return 0
}

// client is a client's end.
type client struct {
	t *testing.T
	net.Conn
	r *bufio.Reader
}

func newClient(t *testing.T, c net.Conn) *client {
	return &client{t: t, Conn: c, r: bufio.NewReader(c)}
}

func (c *client) say(line string) {
	c.t.Helper()
	if _, err := io.WriteString(c, line+"\r\n"); err != nil {
		c.t.Fatalf("say %q: %v", line, err)
	}
}

func (c *client) expect(want string) {
	c.t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(2 * time.Minute))
	got, err := c.r.ReadString('\n')
	if err != nil || got != want+"\r\n" {
		c.t.Fatalf("got %q, %v; want %q", got, err, want)
	}
}

// expectClosed makes sure that nothing more comes.
func (c *client) expectClosed() {
	c.t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(2 * time.Minute))
	rest, err := io.ReadAll(c.r)
	var late net.Error
	if errors.As(err, &late) && late.Timeout() || len(rest) > 0 {
		c.t.Fatalf("got %q, %v; want the end", rest, err)
	}
}

// within fails if do takes longer than d.
func within(t *testing.T, d time.Duration, do func()) {
	t.Helper()
	began := time.Now()
	do()
	if took := time.Since(began); took > d {
		t.Errorf("it took %v, want at most %v", took, d)
	}
}

func (c *client) startTLS(cfg *tls.Config) *client {
	c.t.Helper()
	t := tls.Client(c.Conn, cfg)
	if err := t.Handshake(); err != nil {
		c.t.Fatalf("TLS handshake: %v", err)
	}
	return newClient(c.t, t)
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
