package upstream

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"latchkey/authcore"
	"latchkey/proxy"
	"latchkey/proxy/proxytest"
)

// greeter accepts, greets, and keeps what it has accepted.
type greeter struct {
	ln       net.Listener
	greeting string

	mu  sync.Mutex
	all []net.Conn // guarded by mu
}

func newGreeter(t *testing.T, greeting string) *greeter {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &greeter{ln: ln, greeting: greeting}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			g.mu.Lock()
			g.all = append(g.all, c) // before anybody can have heard the greeting
			g.mu.Unlock()
			_, _ = io.WriteString(c, g.greeting)
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		serving.Wait()
		g.each(func(c net.Conn) { _ = c.Close() })
	})
	return g
}

func (g *greeter) at() string { return g.ln.Addr().String() }

func (g *greeter) each(do func(net.Conn)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, c := range g.all {
		do(c)
	}
}

func (g *greeter) accepted() int {
	n := 0
	g.each(func(net.Conn) { n++ })
	return n
}

// closed says how many of those accepted have been closed from here.
func (g *greeter) closed() int {
	n := 0
	g.each(func(c net.Conn) {
		_ = c.SetReadDeadline(time.Now().Add(time.Millisecond))
		if _, err := c.Read(make([]byte, 1)); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) { // a reset, where the greeting was not read
			n++
		}
	})
	return n
}

const imapGreeting = "* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] ready\r\n"

func keeping(t *testing.T, p *Pool) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var run sync.WaitGroup
	run.Go(func() { p.Run(ctx) })
	stop = func() { cancel(); run.Wait() }
	t.Cleanup(stop)
	return stop
}

// eventually waits for the real world: sockets do not know the time of a bubble.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

func waiting(p *Pool, n int) func() bool {
	return func() bool {
		for _, a := range p.servers["mail"].addresses {
			if a.warm.count() != n {
				return false
			}
		}
		return true
	}
}

// warmPool keeps n connections warm at each address, without probes that would count as well.
func warmPool(t *testing.T, n int, change func(*Server), at ...string) *Pool {
	t.Helper()
	s := Server{Name: "mail", Protocol: IMAP, Addresses: at, Warm: n}
	if change != nil {
		change(&s)
	}
	p := pool(t, s)
	for _, a := range p.servers["mail"].addresses {
		ctx, cancel := context.WithCancel(t.Context())
		var kept sync.WaitGroup
		kept.Go(func() { p.keepWarm(ctx, p.servers["mail"], a) })
		t.Cleanup(func() { cancel(); kept.Wait() })
	}
	eventually(t, "warm", waiting(p, n))
	return p
}

func greetedBy(t *testing.T, leg *proxy.Leg) string {
	t.Helper()
	line, err := leg.ReadLine(200)
	if err != nil {
		t.Fatalf("greeting: %v", err)
	}
	return string(line)
}

// A sign-in takes a connection whose greeting has been waited for, and another comes in its place.
func TestWarmIsTaken(t *testing.T) {
	g := newGreeter(t, imapGreeting)
	p := warmPool(t, 2, nil, g.at())
	leg := dialled(t, p, "jane")
	if leg.Again == nil {
		t.Fatal("dialled a new one")
	}
	if got := greetedBy(t, leg); got != strings.TrimSpace(imapGreeting) {
		t.Errorf("greeted with %q", got)
	}
	if ms := unacknowledged(t, leg); ms != int(warmPatience.Milliseconds()) {
		t.Errorf("waits %d ms for an acknowledgement while it signs in", ms)
	}
	leg.Came(nil)
	if ms := unacknowledged(t, leg); ms != 0 {
		t.Errorf("waits %d ms for an acknowledgement afterwards", ms)
	}
	eventually(t, "filled up", func() bool { return waiting(p, 2)() && g.accepted() == 3 })
}

func unacknowledged(t *testing.T, leg *proxy.Leg) (ms int) {
	t.Helper()
	raw, err := leg.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	_ = raw.Control(func(fd uintptr) { ms, err = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT) })
	if err != nil {
		t.Fatal(err)
	}
	return ms
}

// TLS is behind it too.
func TestWarmHasTLS(t *testing.T) {
	ca := proxytest.NewCA(t)
	f := &fake{greeting: imapGreeting, tls: ca.Server(t, "localhost"), implicit: true, answer: func(string, map[string]string) string { return "* BYE\r\n" }}
	p := warmPool(t, 1, func(s *Server) { s.TLS = TLS{Mode: TLSOn, CAFile: caFile(t, ca), ServerName: "localhost"} }, f.start(t))
	leg := dialled(t, p, "jane")
	if leg.Again == nil || leg.TLS() == nil {
		t.Fatalf("warm %t, TLS %v", leg.Again != nil, leg.TLS())
	}
	greetedBy(t, leg)
}

// Whatever happened to those that wait, the sign-in gets a connection that works.
func TestWarmIsStale(t *testing.T) {
	for name, spoil := range map[string]func(net.Conn){
		"an end":   func(c net.Conn) { _ = c.Close() },
		"a BYE":    func(c net.Conn) { _, _ = io.WriteString(c, "* BYE inactive\r\n") },
		"a reset":  func(c net.Conn) { _ = c.(*net.TCPConn).SetLinger(0); _ = c.Close() },
		"half end": func(c net.Conn) { _ = c.(*net.TCPConn).CloseWrite() },
	} {
		t.Run(name, func(t *testing.T) {
			g := newGreeter(t, imapGreeting)
			p := warmPool(t, 2, nil, g.at())
			g.each(spoil)
			for range 3 {
				if got := greetedBy(t, dialled(t, p, "jane")); got != strings.TrimSpace(imapGreeting) {
					t.Errorf("greeted with %q", got)
				}
			}
		})
	}
}

func TestWarmAges(t *testing.T) {
	g := newGreeter(t, imapGreeting)
	p := warmPool(t, 2, nil, g.at())
	a := p.servers["mail"].addresses[0]
	if c := a.warm.take(time.Now().Add(warmAge)); c != nil {
		t.Error("took one that is a minute old")
	}
	eventually(t, "closed and filled up again", func() bool { return g.closed() == 2 && waiting(p, 2)() })
}

// A member is led to his own address, warm or not.
func TestWarmAtTheOwnAddress(t *testing.T) {
	one, two := newGreeter(t, imapGreeting), newGreeter(t, imapGreeting)
	p := warmPool(t, 2, nil, one.at(), two.at())
	for _, member := range []string{"a", "b", "c", "d", "e", "f"} {
		want := choose(p.servers["mail"].addresses, member, time.Now())[0].at
		leg := dialled(t, p, member)
		if got := leg.RemoteAddr().String(); got != want || leg.Again == nil {
			t.Errorf("%s: warm %t at %s, want %s", member, leg.Again != nil, got, want)
		}
		eventually(t, "filled up", waiting(p, 2))
	}
}

// None waits at an address that is not well, and none is made there.
func TestWarmAtAnIllAddress(t *testing.T) {
	for name, fall := range map[string]func(*address){
		"down": func(a *address) { a.failed(errors.New("refused"), time.Now()) },
		"hung": func(a *address) {
			for _, m := range []string{"a", "b", "c"} {
				a.unanswered(m, io.EOF, time.Now())
			}
		},
		"ill": func(a *address) { a.probed(errors.New("no"), false, time.Now()) },
	} {
		t.Run(name, func(t *testing.T) {
			g := newGreeter(t, imapGreeting)
			p := warmPool(t, 2, nil, g.at())
			fall(p.servers["mail"].addresses[0])
			eventually(t, "dropped", func() bool { return waiting(p, 0)() && g.closed() == 2 })
			if err := p.fillWarm(t.Context(), p.servers["mail"], p.servers["mail"].addresses[0]); err != nil || g.accepted() != 2 {
				t.Errorf("dialled %d, %v", g.accepted(), err)
			}
		})
	}
}

// The end of Run and the end of the Pool close what waits.
func TestWarmEnds(t *testing.T) {
	g := newGreeter(t, imapGreeting)
	p := pool(t, Server{Name: "mail", Protocol: IMAP, Addresses: []string{g.at()}, Warm: 3})
	stop := keeping(t, p)
	eventually(t, "warm", waiting(p, 3))
	stop()
	eventually(t, "closed", func() bool { return g.closed() == g.accepted() })

	before := g.closed()
	stop = keeping(t, p)
	eventually(t, "warm again", waiting(p, 3))
	p.Close()
	eventually(t, "closed", func() bool { return waiting(p, 0)() && g.closed() >= before+3 }) // a probe waits for its answer
	stop()
	eventually(t, "all closed", func() bool { return g.closed() == g.accepted() })
	leg := dialled(t, p, "jane") // a sign-in that began before a reload
	if leg.Again != nil {
		t.Error("a closed pool has warm connections")
	}
}

func TestGreeted(t *testing.T) {
	for name, c := range map[string]struct {
		protocol, ahead string
		want            bool
	}{
		"IMAP":                {IMAP, imapGreeting, true},
		"IMAP without an end": {IMAP, "* OK rea", false},
		"IMAP signed in":      {IMAP, "* PREAUTH hello\r\n", false},
		"IMAP that is going":  {IMAP, "* BYE full\r\n", false},
		"POP3":                {POP3, "+OK <1@host>\r\n", true},
		"POP3 refusal":        {POP3, "-ERR full\r\n", false},
		"SMTP":                {SMTP, "220 mail ESMTP\r\n", true},
		"SMTP code alone":     {SMTP, "220\r\n", true},
		"SMTP first of two":   {SMTP, "220-mail\r\n", false},
		"SMTP both of two":    {SMTP, "220-mail\r\n220 ESMTP\r\n", true},
		"SMTP refusal":        {SMTP, "421 full\r\n", false},
	} {
		if got := greeted(c.protocol)([]byte(c.ahead)); got != c.want {
			t.Errorf("%s: %q is greeted: %t, want %t", name, c.ahead, got, c.want)
		}
	}
}

// Only a connection that broke before its first answer is tried again, never a refusal.
func TestWarmGoesAgain(t *testing.T) {
	g := newGreeter(t, imapGreeting)
	for name, c := range map[string]struct {
		err   error
		heard bool
		want  bool
	}{
		"an end":              {err: io.ErrUnexpectedEOF, want: true},
		"a reset":             {err: syscall.ECONNRESET, want: true},
		"nobody there":        {err: syscall.ETIMEDOUT, want: true},
		"a BYE":               {err: proxy.ErrBye, heard: true, want: true},
		"an end in the midst": {err: io.EOF, heard: true},
		"slow":                {err: context.DeadlineExceeded},
		"a refusal":           {err: errors.New("NO"), heard: true},
	} {
		p := warmPool(t, 1, nil, g.at())
		leg := dialled(t, p, "jane")
		greetedBy(t, leg)
		if c.heard {
			hear(t, g, leg)
		}
		next, err := leg.Again(t.Context(), c.err)
		if (next != nil) != c.want || next == nil && !errors.Is(err, c.err) {
			t.Errorf("%s: got another %t, error %v", name, next != nil, err)
		}
		if next != nil {
			if next.Again != nil {
				t.Errorf("%s: the second is warm too", name)
			}
			_ = next.Close()
		}
		p.Close()
	}
}

// hear lets the leg's server say something.
func hear(t *testing.T, g *greeter, leg *proxy.Leg) {
	t.Helper()
	g.each(func(c net.Conn) {
		if c.RemoteAddr().String() == leg.LocalAddr().String() {
			_, _ = io.WriteString(c, "* OK still here\r\n")
		}
	})
	greetedBy(t, leg)
}

// However many sign in at once, each connection is one member's.
func TestWarmIsNeverShared(t *testing.T) {
	g := newGreeter(t, imapGreeting)
	p := warmPool(t, 8, nil, g.at())
	var all sync.WaitGroup
	var mu sync.Mutex
	seen := map[string]int{}
	for range 16 {
		all.Go(func() {
			for range 10 {
				leg, err := p.Dial(t.Context(), authcore.Upstream{Name: "mail", User: "jane"}, authcore.ConnInfo{})
				if err != nil {
					t.Error(err)
					return
				}
				if line, err := leg.ReadLine(200); err != nil || !strings.HasPrefix(string(line), "* OK") {
					t.Errorf("greeted %q, %v", line, err)
				}
				mu.Lock()
				seen[leg.LocalAddr().String()]++
				mu.Unlock()
				t.Cleanup(func() { _ = leg.Close() }) // open for so long, so that no port comes twice
			}
		})
	}
	all.Wait()
	for at, n := range seen {
		if n > 1 {
			t.Errorf("%s was handed out %d times", at, n)
		}
	}
}
