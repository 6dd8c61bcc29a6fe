package peers

import (
	"crypto/sha256"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A Security says how an Endpoint protects the connection.
type Security int

const (
	Plain Security = iota
	StartTLS
	TLS
)

// An Endpoint is where a client connects and as whom: a real server, or a door before it.
type Endpoint struct {
	Addr           string // host:port; over TLS the certificate must name the host
	Security       Security
	CA             string // PEM file of the authority that the client trusts
	User, Password string
	Header         string // DAV: one more header line, for a server that trusts one
}

// A Scenario is something a client does at an endpoint. Run returns what it saw, with what differs from run to run
// (times, random identifiers) made equal. It leaves the server as it found it, so that it may run again as the same user.
type Scenario struct {
	Name string
	Run  func(t testing.TB, e Endpoint) []string
}

// Same runs each scenario directly and through the door, and fails where the client saw a difference.
func Same(t *testing.T, scenarios []Scenario, direct, door Endpoint) {
	t.Helper()
	for _, s := range scenarios {
		t.Run(s.Name, func(t *testing.T) {
			want, got := s.run(t, direct), s.run(t, door)
			if len(want) == 0 {
				t.Fatal("the client saw nothing")
			}
			if !slices.Equal(got, want) {
				t.Errorf("the client sees a difference (- directly, + through the door):\n%s", Diff(want, got))
			}
		})
	}
}

// run ends what the scenario opened when it is over, not with the test: a door limits how many connections a member has.
func (s Scenario) run(t testing.TB, e Endpoint) []string {
	t.Helper()
	scope := &scope{TB: t}
	defer scope.end()
	return s.Run(scope, e)
}

// A scope is a test within which something is cleaned up earlier.
type scope struct {
	testing.TB
	cleanups []func()
}

func (s *scope) Cleanup(f func()) { s.cleanups = append(s.cleanups, f) }

func (s *scope) end() {
	for _, f := range slices.Backward(s.cleanups) {
		f()
	}
}

// transcript runs the scenarios and puts each under its name.
func transcript(t testing.TB, e Endpoint, scenarios []Scenario) []string {
	t.Helper()
	var lines []string
	for _, s := range scenarios {
		lines = append(append(lines, "== "+s.Name), s.run(t, e)...)
	}
	return lines
}

// Diff shows where two transcripts part: what they have in common before and after is left out but for a little.
func Diff(want, got []string) string {
	head := 0
	for head < min(len(want), len(got)) && want[head] == got[head] {
		head++
	}
	tail := 0
	for tail < min(len(want), len(got))-head && want[len(want)-1-tail] == got[len(got)-1-tail] {
		tail++
	}
	var b strings.Builder
	for _, line := range want[max(0, head-3):head] {
		fmt.Fprintf(&b, "  %s\n", line)
	}
	for _, line := range want[head : len(want)-tail] {
		fmt.Fprintf(&b, "- %s\n", line)
	}
	for _, line := range got[head : len(got)-tail] {
		fmt.Fprintf(&b, "+ %s\n", line)
	}
	return b.String()
}

// A substitution makes equal what differs from run to run.
type substitution struct {
	pattern *regexp.Regexp
	with    string
}

func substitute(line string, subs []substitution) string {
	for _, s := range subs {
		line = s.pattern.ReplaceAllString(line, s.with)
	}
	return line
}

// digest stands for bytes that are too many to print.
func digest(b []byte) string {
	return fmt.Sprintf("%d bytes %x", len(b), sha256.Sum256(b))
}

// blob is n bytes that look random and are the same each time; every octet but CR, LF and NUL occurs.
func blob(n int) []byte {
	b := make([]byte, n)
	x := uint32(2463534242)
	for i := range b {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		b[i] = byte(x)
		if i%72 == 71 {
			b[i-1], b[i] = '\r', '\n'
		} else if b[i] == '\r' || b[i] == '\n' || b[i] == 0 {
			b[i] = '.'
		}
	}
	return b
}
