package configs

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

const unitProgram = "/usr/local/bin/latchkey"

// values lists what a unit file sets a key to.
func values(t *testing.T, file, key string) []string {
	t.Helper()
	p, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var l []string
	for _, m := range regexp.MustCompile(`(?m)^`+key+`=(.*)$`).FindAllStringSubmatch(string(p), -1) {
		l = append(l, m[1])
	}
	return l
}

// Each socket is that of a listener of latchkey.yaml, by its name, at its port, and sockets.conf passes all of them.
func TestSocketUnits(t *testing.T) {
	c, _ := annotated(t)
	ports := map[string]string{}
	for _, l := range c.Listeners {
		ports[l.Name] = l.Address[strings.LastIndex(l.Address, ":")+1:]
	}
	files, err := filepath.Glob("systemd/*.socket")
	if err != nil {
		t.Fatal(err)
	}
	var units []string
	for _, file := range files {
		name := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(file), "latchkey-"), ".socket")
		units = append(units, filepath.Base(file))
		for key, want := range map[string]string{"FileDescriptorName": name, "ListenStream": ports[name], "Service": "latchkey.service"} {
			if got := values(t, file, key); !slices.Equal(got, []string{want}) {
				t.Errorf("%s: %s is %q, want %q", file, key, got, want)
			}
		}
		delete(ports, name)
	}
	if len(ports) > 0 {
		t.Errorf("no socket unit for %v", slices.Sorted(maps.Keys(ports)))
	}
	passed := strings.Fields(strings.Join(values(t, "systemd/sockets.conf", "Sockets"), " "))
	slices.Sort(passed)
	if !slices.Equal(passed, units) {
		t.Errorf("sockets.conf passes %q, want %q", passed, units)
	}
}

// The unit's folders, time and signal are those of the configuration and the program.
func TestServiceUnit(t *testing.T) {
	const unit = "systemd/latchkey.service"
	c, _ := annotated(t)
	for _, dir := range []string{c.Data, filepath.Dir(c.Keys)} {
		if got := strings.Fields(strings.Join(values(t, unit, "StateDirectory"), " ")); !slices.Contains(got, strings.TrimPrefix(dir, "/var/lib/")) {
			t.Errorf("StateDirectory %q does not make %s", got, dir)
		}
	}
	stop, err := time.ParseDuration(values(t, unit, "TimeoutStopSec")[0])
	if err != nil || stop <= c.Limits.DrainTimeout {
		t.Errorf("TimeoutStopSec %v is not longer than drain_timeout %v", stop, c.Limits.DrainTimeout)
	}
	for key, want := range map[string]string{
		"Type": "notify", "LimitCORE": "0", "NoNewPrivileges": "yes", "ProtectSystem": "strict", "MemoryDenyWriteExecute": "yes",
		"ExecStart": unitProgram + " serve -config /etc/latchkey/latchkey.yaml", "ExecReload": "/bin/kill -HUP $MAINPID",
	} {
		if got := values(t, unit, key); !slices.Equal(got, []string{want}) {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
}

// A fleet's node keeps its notes in the same folders, has more descriptors, and is never given up.
func TestFleetUnit(t *testing.T) {
	const unit, more = "systemd/latchkey.service", "systemd/fleet.conf"
	c, _ := readFleet(t)
	for _, dir := range []string{c.Data, filepath.Dir(c.Keys)} {
		if got := strings.Fields(strings.Join(values(t, more, "StateDirectory"), " ")); !slices.Contains(got, strings.TrimPrefix(dir, "/var/lib/")) {
			t.Errorf("StateDirectory %q does not make %s", got, dir)
		}
	}
	if got, want := values(t, more, "StateDirectory"), values(t, unit, "StateDirectory"); !slices.Equal(got, want) {
		t.Errorf("StateDirectory is %q, the unit's %q", got, want)
	}
	if got := values(t, more, "StartLimitIntervalSec"); !slices.Equal(got, []string{"0"}) {
		t.Errorf("StartLimitIntervalSec is %q, want 0: a node that finds no Redis goes on trying", got)
	}
	if one, fleet := number(t, unit, "LimitNOFILE"), number(t, more, "LimitNOFILE"); fleet < 3*one {
		t.Errorf("LimitNOFILE is %d, the unit's %d: one of three nodes carries all connections", fleet, one)
	}
}

func number(t *testing.T, file, key string) int {
	t.Helper()
	n, err := strconv.Atoi(strings.Join(values(t, file, key), ""))
	if err != nil {
		t.Fatalf("%s: %s: %v", file, key, err)
	}
	return n
}

// systemd understands the units, and finds the service well locked up, with and without sockets.conf.
func TestSystemdAnalyze(t *testing.T) {
	tool, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd-analyze is not installed")
	}
	for name, dropIns := range map[string][]string{
		"binds itself": nil, "sockets passed": {"sockets.conf"}, "a fleet's node": {"fleet.conf"}, "a fleet's node, sockets passed": {"fleet.conf", "sockets.conf"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			units := copyUnits(t, dir)
			if err := os.Mkdir(filepath.Join(dir, "latchkey.service.d"), 0o755); err != nil {
				t.Fatal(err)
			}
			for _, file := range dropIns {
				p, err := os.ReadFile("systemd/" + file)
				if err != nil {
					t.Fatal(err)
				}
				write(t, filepath.Join(dir, "latchkey.service.d", file), string(p), 0o644)
			}
			analyze(t, tool, append([]string{"verify", "--man=no"}, units...)...)
			analyze(t, tool, "security", "--offline=true", "--threshold=20", filepath.Join(dir, "latchkey.service"))
		})
	}
}

// copyUnits puts the units into dir, with a program that is there.
func copyUnits(t *testing.T, dir string) (units []string) {
	t.Helper()
	files, err := filepath.Glob("systemd/latchkey*")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		p, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(dir, filepath.Base(file))
		write(t, to, strings.ReplaceAll(string(p), unitProgram, "/bin/true"), 0o644)
		units = append(units, to)
	}
	return units
}

func analyze(t *testing.T, tool string, args ...string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), tool, args...).CombinedOutput()
	if strings.Contains(string(out), "Unknown option") || strings.Contains(string(out), "unrecognized option") {
		t.Skipf("systemd-analyze is too old for %q", args)
	}
	if err != nil {
		t.Errorf("systemd-analyze %s: %v\n%s", args[0], err, out)
	}
}
