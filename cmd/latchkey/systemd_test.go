package main

import (
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// What systemd hands over and is told. The sockets of every stage come as systemd passes them.

func TestNotifyAndPrivateListener(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	told := listenNotify(t)
	p := start{args: []string{"serve", "-config", s.file}, sockets: s.sockets, env: []string{"NOTIFY_SOCKET=" + told.LocalAddr().String()}}.begin(t)
	if got := hearNotify(t, told); got != "READY=1" {
		t.Errorf("systemd hears %q, want READY=1", got)
	}
	s.wantAll("once systemd heard READY", "app-only", good)
	for path, want := range map[string]string{"/healthz": "", "/readyz": "", "/metrics": "latchkey_door_sessions"} {
		status, body := get(t, "http://"+s.addr["ops"]+path)
		if status != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("%s: %d %.200s", path, status, body)
		}
	}
	p.says("latchkey serves")
	p.signal(syscall.SIGTERM)
	if got := hearNotify(t, told); got != "STOPPING=1" {
		t.Errorf("systemd hears %q, want STOPPING=1", got)
	}
	if code := p.ends(); code != 0 {
		t.Errorf("exit %d", code)
	}
}

func listenNotify(t *testing.T) *net.UnixConn {
	t.Helper()
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func hearNotify(t *testing.T, c *net.UnixConn) string {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 1024)
	n, err := c.Read(p)
	if err != nil {
		t.Fatal(err)
	}
	return string(p[:n])
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	tr := &http.Transport{DisableKeepAlives: true}
	resp, err := (&http.Client{Transport: tr, Timeout: patience}).Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func TestSocketsOfSystemd(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	t.Run("one is missing", func(t *testing.T) {
		p := start{args: []string{"serve", "-config", s.file}, sockets: s.sockets[1:]}.begin(t)
		name := s.sockets[0].name
		if code := p.ends(); code != exitFailed || !strings.Contains(p.err.String(), `systemd passed no socket named "`+name+`"`) {
			t.Errorf("exit %d, says\n%s", code, p.err)
		}
	})
	t.Run("one too many", func(t *testing.T) {
		ln, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		p := start{args: []string{"serve", "-config", s.file}, sockets: append(s.sockets[:len(s.sockets):len(s.sockets)], namedSocket{"managesieve", ln})}.begin(t)
		p.says("latchkey serves")
		if !strings.Contains(p.err.String(), "managesieve") {
			t.Errorf("nobody is told that a socket is not used:\n%s", p.err)
		}
		p.stop()
	})
	t.Run("none, with addresses of its own", func(t *testing.T) {
		s.configure(func(c string) string {
			for _, k := range s.sockets {
				c = strings.Replace(c, "'systemd:"+k.name+"'", "'127.0.0.1:0'", 1)
			}
			return c
		})
		p := start{args: []string{"serve", "-config", s.file}}.begin(t)
		p.says("latchkey serves")
		p.says("listener=imap address=127.0.0.1:")
		p.stop()
	})
	t.Run("an address that is taken", func(t *testing.T) {
		s.configure(func(c string) string {
			for _, k := range s.sockets {
				c = strings.Replace(c, "'systemd:"+k.name+"'", "'"+s.addr[k.name]+"'", 1)
			}
			return c
		})
		refused(t, []string{"listeners[0].address: ", "listeners[4].address: ", "ops.address: ", "address already in use"}, "serve", "-config", s.file)
	})
}

// A log that nobody reads any more must not end the doors.
func TestServeOutlivesItsLog(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	p := start{args: []string{"serve", "-config", s.file}, sockets: s.sockets, deaf: true}.begin(t)
	for range 3 {
		if got := s.signIn("imap", "app-only"); !strings.HasPrefix(got, good["imap"]) {
			t.Fatalf("after the log was closed: %q", got)
		}
	}
	p.stop()
}
