package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"latchkey/proxy/proxytest"
)

// golden compares with a file of testdata, in which DIR is the folder of the stage.
func golden(t *testing.T, s *stage, name, got string) {
	t.Helper()
	got = strings.ReplaceAll(got, s.dir, "DIR")
	want, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	t.Run("good", func(t *testing.T) {
		if c := well(t, "check", "-config", s.file); c.out != s.file+": no mistake found\n" || c.err != "" {
			t.Errorf("says %q and %q", c.out, c.err)
		}
	})
	t.Run("many mistakes", func(t *testing.T) {
		bad, err := os.ReadFile(filepath.Join("testdata", "mistakes.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		other := bareStage(t)
		s.copyFrom(other, "server.key", "other.key")
		s.write("open-secret", "everybody reads it\n", 0o644)
		if err := os.Chmod(s.path("keys.json"), 0o644); err != nil {
			t.Fatal(err)
		}
		s.write("latchkey.yaml", strings.ReplaceAll(string(bad), "DIR", s.dir), 0o600)
		for _, command := range []string{"check", "serve"} {
			c := call(t, command, "-config", s.file)
			if c.code != exitFailed || c.out != "" {
				t.Errorf("%s: exit %d, says %q", command, c.code, c.out)
			}
			if command == "check" {
				golden(t, s, "mistakes.txt", c.err)
			}
		}
	})
	t.Run("no file", func(t *testing.T) {
		refused(t, []string{"no such file"}, "check", "-config", s.path("missing.yaml"))
	})
	t.Run("no YAML", func(t *testing.T) {
		refused(t, []string{"broken.yaml:", "is not YAML"}, "check", "-config", s.write("broken.yaml", "data: [\n", 0o600))
	})
}

// A certificate that works today and ends next week is a warning: a deployment that checks first must not be refused.
func TestCheckWarns(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	ends := proxytest.NewCA(t).LeafUntil(t, time.Now().Add(5*24*time.Hour), "localhost")
	certFile, keyFile := proxytest.Files(t, s.dir, "ends", ends)
	s.configure(func(c string) string {
		return strings.NewReplacer(s.path("server.pem"), certFile, s.path("server.key"), keyFile).Replace(c)
	})
	c := call(t, "check", "-config", s.file)
	if c.code != 0 || !strings.Contains(c.err, "warning") || !strings.Contains(c.err, "the certificate expires on") {
		t.Errorf("exit %d, says\n%s%s", c.code, c.out, c.err)
	}
}
