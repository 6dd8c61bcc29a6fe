package main

import (
	"context"
	"debug/buildinfo"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"time"
)

// machine names what was measured on, and what was.
type machine struct {
	Processor string            `json:"processor"`
	Cores     int               `json:"cores"`
	MemoryMiB int64             `json:"memory_mib"`
	Kernel    string            `json:"kernel"`
	System    string            `json:"system"`
	Versions  map[string]string `json:"versions"` // by server; Go too
}

func thisMachine(ctx context.Context, t tools) machine {
	m := machine{Cores: runtime.NumCPU(), Kernel: firstLine("/proc/sys/kernel/osrelease"), Versions: map[string]string{"Go": runtime.Version()}}
	cpu, _ := os.ReadFile("/proc/cpuinfo")
	m.Processor = submatch(`(?m)^model name\s*: (.*)$`, string(cpu), runtime.GOARCH)
	memory, _ := os.ReadFile("/proc/meminfo")
	kib, _ := fieldOf(string(memory), "MemTotal:")
	m.MemoryMiB = kib >> 10
	system, _ := os.ReadFile("/etc/os-release")
	m.System = submatch(`(?m)^PRETTY_NAME="(.*)"$`, string(system), runtime.GOOS)
	if t.latchkey != "" {
		m.Versions[latchkeyName] = builtFrom(t.latchkey)
	}
	if t.nginx != "" {
		m.Versions[nginxName] = submatch(`nginx/(\S+)`, answer(ctx, t.nginx, "-v"), "unknown")
	}
	if t.dovecot != "" {
		m.Versions[dovecotName] = submatch(`(\S+)`, answer(ctx, t.dovecot, "--version"), "unknown")
	}
	return m
}

// builtFrom answers the revision that a program of Go was built from.
func builtFrom(file string) string {
	info, err := buildinfo.ReadFile(file)
	if err != nil {
		return "unknown"
	}
	revision, more := "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = s.Value[:min(len(s.Value), 12)]
		case s.Key == "vcs.modified" && s.Value == "true":
			more = " and changes"
		}
	}
	if revision == "" {
		return "of no known revision"
	}
	return revision + more
}

// answer is what a program prints when it is asked for its version.
func answer(ctx context.Context, name string, args ...string) string {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	out, _ := exec.CommandContext(ctx, name, args...).CombinedOutput() // then there is no version in it
	return string(out)
}

func submatch(pattern, text, otherwise string) string {
	if m := regexp.MustCompile(pattern).FindStringSubmatch(text); m != nil {
		return strings.TrimSpace(m[1])
	}
	return otherwise
}

func firstLine(file string) string {
	text, _ := os.ReadFile(file)
	line, _, _ := strings.Cut(string(text), "\n")
	return line
}

// names says who is among the versions, in the order of tables.
func (m machine) names() []string {
	var l []string
	for _, name := range []string{latchkeyName, nginxName, dovecotName, "Go"} {
		if _, ok := m.Versions[name]; ok {
			l = append(l, name)
		}
	}
	return l
}
