package configs

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func example(t *testing.T, name string) string {
	t.Helper()
	p, err := os.ReadFile(filepath.Join("examples", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(p)
}

// The balancers lead every port of fleet.yaml to the same port of all three nodes, and wait longer than they do.
func TestBalancersMatchTheFleet(t *testing.T) {
	c, _ := readFleet(t)
	text := example(t, "haproxy.cfg")
	for _, l := range c.Listeners {
		port := l.Address[strings.LastIndex(l.Address, ":"):]
		want := "listen " + l.Name + "\n    bind " + port + "\n"
		for _, node := range []string{"1", "2", "3"} {
			want += "    server mx" + node + " 10.20.0.2" + node + port + "\n"
		}
		if !strings.Contains(text, want) {
			t.Errorf("haproxy.cfg lacks\n%s", want)
		}
	}
	if !strings.Contains(text, "check port "+c.Ops.Address[strings.LastIndex(c.Ops.Address, ":")+1:]+" ") {
		t.Errorf("haproxy.cfg does not ask %s", c.Ops.Address)
	}
	for name, pattern := range map[string]string{"haproxy.cfg": `timeout (?:client|server) (\S+)`, "nginx-stream.conf": `proxy_timeout (\S+);`} {
		l := regexp.MustCompile(pattern).FindAllStringSubmatch(example(t, name), -1)
		for _, m := range l {
			if m[1] != "35m" || c.Limits.IdleTimeout.Minutes() >= 35 {
				t.Errorf("%s ends a connection after %s, the nodes after %v", name, m[1], c.Limits.IdleTimeout)
			}
		}
		if len(l) == 0 {
			t.Errorf("%s says nothing of time", name)
		}
	}
}

// HAProxy and nginx understand the files.
func TestPeersBalancersUnderstand(t *testing.T) {
	dir := t.TempDir()
	free := regexp.MustCompile(`(?m)^(\s+listen )(\d+);`).ReplaceAllString(example(t, "nginx-stream.conf"), "${1}unix:"+dir+"/$2.sock;")
	write(t, filepath.Join(dir, "haproxy.cfg"), example(t, "haproxy.cfg"), 0o600)
	write(t, filepath.Join(dir, "nginx.conf"), "load_module /usr/lib/nginx/modules/ngx_stream_module.so;\npid "+dir+"/pid;\nerror_log stderr;\nevents {}\n"+free, 0o600)
	for program, args := range map[string][]string{
		"haproxy": {"-c", "-f", filepath.Join(dir, "haproxy.cfg")},
		"nginx":   {"-t", "-p", dir, "-c", filepath.Join(dir, "nginx.conf")},
	} {
		t.Run(program, func(t *testing.T) {
			path, err := exec.LookPath(program)
			if err != nil {
				t.Skip(program + " is not installed")
			}
			if out, err := exec.CommandContext(t.Context(), path, args...).CombinedOutput(); err != nil || strings.Contains(string(out), "[WARNING]") {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}
