package relay_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"time"

	"latchkey/proxy/relay"
	"latchkey/proxy/wire"
)

// peersEnv makes the test binary play all clients and the upstream, so that their memory is not counted with ours.
const peersEnv = "LATCHKEY_RELAY_PEERS"

func TestMain(m *testing.M) {
	if mode := os.Getenv(peersEnv); mode != "" {
		if err := playPeers(mode); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// Which legs are under TLS.
const (
	plain     = "plain"
	clientTLS = "TLS to the client"
	bothTLS   = "TLS on both legs"
)

// idleLimits are what a session may cost while nothing moves, without the kernel's share: with TLS it is what crypto/tls
// holds, half of it buffers that the ClientHello went through.
var idleLimits = map[string]float64{plain: 1 << 10, clientTLS: 15 << 9, bothTLS: 15 << 10}

func TestIdleSessionMemory(t *testing.T) {
	for _, mode := range []string{plain, clientTLS, bothTLS} {
		t.Run(mode, func(t *testing.T) {
			heap, pss := idleSessions(t, mode, 300)
			t.Logf("%.1f KiB heap and stacks, %.1f KiB PSS a session", heap/1024, pss/1024)
			if limit := idleLimits[mode]; runtime.GOOS == "linux" && heap > limit {
				t.Errorf("an idle session holds %.0f octets, more than %.0f", heap, limit)
			}
		})
	}
}

func BenchmarkIdleSessions(b *testing.B) {
	for _, mode := range []string{plain, clientTLS, bothTLS} {
		b.Run(mode, func(b *testing.B) {
			for b.Loop() {
				heap, pss := idleSessions(b, mode, 1000)
				b.ReportMetric(heap, "heap-B/session")
				b.ReportMetric(pss, "PSS-B/session")
			}
		})
	}
}

// idleSessions opens n sessions, lets a line and its echo through each, and answers what each holds after that.
func idleSessions(t testing.TB, mode string, n int) (heap, pss float64) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p := startPeers(t, mode)
	upstream := p.line()
	r := relay.New(relay.Settings{})
	defer r.Close(errCut)
	cfg := &tls.Config{Certificates: []tls.Certificate{certificate(t)}}
	r.Start(over(tcpPair(t)).door, over(tcpPair(t)).door, relay.Options{}).Cut(errCut) // makes what all sessions share
	if err := r.Wait(context.Background()); err != nil {
		t.Fatal(err)
	}
	heap0, pss0 := held(t)
	p.say("%s %d\n", l.Addr(), n)
	var doors sync.WaitGroup
	for range n {
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		doors.Go(func() { serve(t, r, wire.New(c, wire.Options{}), upstream, mode, cfg) })
	}
	doors.Wait()
	if got := p.line(); got != "ready" {
		t.Fatalf("the peers say %q", got)
	}
	heap1, pss1 := held(t)
	if got := r.Counters().Open; got != n {
		t.Errorf("%d sessions are open, want %d", got, n)
	}
	return (heap1 - heap0) / float64(n), (pss1 - pss0) / float64(n)
}

// serve is a door without a dialogue.
func serve(t testing.TB, r *relay.Relay, client *wire.Conn, upstream, mode string, cfg *tls.Config) {
	if mode != plain {
		if err := client.ServerTLS(context.Background(), cfg, time.Minute); err != nil {
			t.Error(err)
			return
		}
	}
	u, err := net.Dial("tcp", upstream)
	if err != nil {
		t.Error(err)
		return
	}
	up := wire.New(u, wire.Options{})
	if mode == bothTLS {
		if err := up.ClientTLS(context.Background(), &tls.Config{InsecureSkipVerify: true}, time.Minute); err != nil {
			t.Error(err)
			return
		}
	}
	r.Start(client, up, relay.Options{Farewell: farewell})
}

// held is the memory of this process: heap and stacks in use, and PSS.
func held(t testing.TB) (heap, pss float64) {
	t.Helper()
	runtime.GC()
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	smaps, err := os.ReadFile("/proc/self/smaps_rollup")
	if err != nil {
		t.Skipf("PSS: %v", err)
	}
	for line := range strings.Lines(string(smaps)) {
		var kb float64
		if n, _ := fmt.Sscanf(line, "Pss: %f kB", &kb); n == 1 {
			pss = kb * 1024
		}
	}
	return float64(m.HeapAlloc + m.StackInuse), pss
}

// peers is the other process, which ends when its input does.
type peers struct {
	t   testing.TB
	in  io.WriteCloser
	out *bufio.Reader
}

func startPeers(t testing.TB, mode string) *peers {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), peersEnv+"="+mode)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the peers: %v", err)
		}
	})
	return &peers{t: t, in: in, out: bufio.NewReader(out)}
}

func (p *peers) line() string {
	s, err := p.out.ReadString('\n')
	if err != nil {
		p.t.Fatalf("the peers: %v", err)
	}
	return strings.TrimSpace(s)
}

func (p *peers) say(format string, a ...any) {
	if _, err := fmt.Fprintf(p.in, format, a...); err != nil {
		p.t.Fatal(err)
	}
}

// playPeers is the other process: an upstream that echoes, and n clients.
func playPeers(mode string) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	if mode == bothTLS {
		cert, err := newCertificate()
		if err != nil {
			return err
		}
		l = tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{cert}})
	}
	go echo(l)
	fmt.Println(l.Addr())
	var door string
	var n int
	if _, err := fmt.Scanln(&door, &n); err != nil {
		return err
	}
	var clients []net.Conn
	for range n {
		c, err := client(door, mode)
		if err != nil {
			return err
		}
		clients = append(clients, c)
	}
	fmt.Println("ready")
	_, err = io.Copy(io.Discard, os.Stdin)
	for _, c := range clients {
		c.Close()
	}
	return err
}

func echo(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() { _, _ = io.Copy(c, c); c.Close() }()
	}
}

// client opens a session and sees one line come back.
func client(door, mode string) (net.Conn, error) {
	c, err := net.Dial("tcp", door)
	if err != nil {
		return nil, err
	}
	if mode != plain {
		c = tls.Client(c, &tls.Config{InsecureSkipVerify: true})
	}
	const line = "a1 IDLE\r\n"
	if _, err := io.WriteString(c, line); err != nil {
		return nil, err
	}
	_, err = io.ReadFull(c, make([]byte, len(line)))
	return c, err
}
