package relay_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"os/exec"
	"sync"
	"testing"
	"time"

	"latchkey/proxy/relay"
	"latchkey/proxy/wire"
)

// openssl asks for new keys, and gives itself new ones, in the middle of a session.
func TestPeersOpenSSLNewKeys(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("openssl is missing")
	}
	engines(t, func(t *testing.T, settings relay.Settings) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		cmd := exec.Command(openssl, "s_client", "-connect", l.Addr().String(), "-tls1_3", "-msg")
		out := &told{}
		cmd.Stdout, cmd.Stderr = out, out
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		defer cmd.Wait()
		defer in.Close()
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		client := link{door: wire.New(c, wire.Options{}), peer: c}
		cfg := &tls.Config{Certificates: []tls.Certificate{certificate(t)}}
		if err := client.door.ServerTLS(context.Background(), cfg, time.Minute); err != nil {
			t.Fatal(err)
		}
		r := start(t, settings, client, over(tcpPair(t)), relay.Options{})
		for _, command := range []string{"K\n", "k\n", "K\n"} {
			_, _ = io.WriteString(in, "before\n") // a failure is heard next
			hears(t, r.upstream, "before\n")
			says(t, r.upstream, "answer before "+command)
			out.wait(t, "answer before "+command)
			seen := out.count("KeyUpdate")
			_, _ = io.WriteString(in, command)
			if out.waitFor(t, "KeyUpdate", seen+1); command == "K\n" {
				out.waitFor(t, "KeyUpdate", seen+2) // the relay's
			}
			_, _ = io.WriteString(in, "after\n")
			hears(t, r.upstream, "after\n")
			says(t, r.upstream, "answer after "+command)
			out.wait(t, "answer after "+command)
		}
		in.Close()
		r.session.Cut(errCut)
		r.endsWith(errCut)
	})
}

// told gathers what a program says.
type told struct {
	mu  sync.Mutex
	all []byte // guarded by mu
}

func (o *told) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.all = append(o.all, p...)
	return len(p), nil
}

func (o *told) count(s string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return bytes.Count(o.all, []byte(s))
}

func (o *told) wait(t *testing.T, s string) {
	t.Helper()
	o.waitFor(t, s, 1)
}

func (o *told) waitFor(t *testing.T, s string, n int) {
	t.Helper()
	for began := time.Now(); o.count(s) < n; time.Sleep(5 * time.Millisecond) {
		if time.Since(began) > 30*time.Second {
			t.Fatalf("openssl never says %q %d times:\n%s", s, n, o.all)
		}
	}
}
