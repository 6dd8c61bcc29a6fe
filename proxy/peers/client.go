package peers

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// clientPatience bounds one run of a client.
const clientPatience = 2 * time.Minute

// A client runs somebody's program in a folder of its own, with no configuration but the one given here.
type client struct {
	t   testing.TB
	dir string
	env []string
}

func newClient(t testing.TB, program string) *client {
	t.Helper()
	Need(t, program)
	dir := t.TempDir()
	return &client{t: t, dir: dir, env: []string{"HOME=" + dir, "PATH=" + os.Getenv("PATH"), "LC_ALL=C.UTF-8"}}
}

// run returns what the program wrote; if it fails, the test does.
func (c *client) run(name string, args ...string) string {
	c.t.Helper()
	out, err := c.try(name, args...)
	if err != nil {
		c.t.Fatalf("%s: %v\n%s", name, err, out)
	}
	return out
}

func (c *client) try(name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), clientPatience)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = c.dir
	cmd.Env = c.env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// file writes a file that only the owner reads: it may hold a password.
func (c *client) file(name, content string) string {
	c.t.Helper()
	path := filepath.Join(c.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		c.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		c.t.Fatal(err)
	}
	return path
}

// maildir makes an empty one.
func (c *client) maildir(name string) string {
	c.t.Helper()
	for _, sub := range []string{"cur", "new", "tmp"} {
		if err := os.MkdirAll(filepath.Join(c.dir, name, sub), 0o700); err != nil {
			c.t.Fatal(err)
		}
	}
	return filepath.Join(c.dir, name)
}

// messages are those in a maildir, without the header fields named, in the order of their text.
func (c *client) messages(name string, without ...string) []string {
	c.t.Helper()
	var all []string
	for _, sub := range []string{"cur", "new"} {
		entries, err := os.ReadDir(filepath.Join(c.dir, name, sub))
		if err != nil {
			c.t.Fatal(err)
		}
		for _, entry := range entries {
			b, err := os.ReadFile(filepath.Join(c.dir, name, sub, entry.Name()))
			if err != nil {
				c.t.Fatal(err)
			}
			all = append(all, shorten(withoutFields(string(b), without)))
		}
	}
	slices.Sort(all)
	return append(all, fmt.Sprintf("%d messages", len(all)))
}

func withoutFields(message string, names []string) string {
	message = receivedHeader.ReplaceAllString(message, "")
	var kept strings.Builder
	for line := range strings.Lines(message) {
		if name, _, _ := strings.Cut(line, ":"); !slices.Contains(names, name) {
			kept.WriteString(line)
		}
	}
	return kept.String()
}

func shorten(s string) string {
	if len(s) > 2000 {
		return digest([]byte(s))
	}
	return fmt.Sprintf("%q", s)
}

// host and port as a client wants them. Some look only for names in a certificate, so loopback gets its own.
func (e Endpoint) hostPort(t testing.TB) (host, port string) {
	t.Helper()
	host, port, err := net.SplitHostPort(e.Addr)
	if err != nil {
		t.Fatal(err)
	}
	if host == "127.0.0.1" && e.Security != Plain {
		host = "localhost"
	}
	return host, port
}

// settled makes equal what differs from run to run in a client's output.
func settled(out string, e Endpoint) []string {
	var lines []string
	for line := range strings.Lines(out) {
		line = substitute(strings.TrimRight(line, "\r\n"), imapSubstitutions)
		line = strings.ReplaceAll(line, e.User, "USER")
		lines = append(lines, strings.ReplaceAll(line, "USER at 127.0.0.1:", "USER at localhost:"))
	}
	return lines
}
