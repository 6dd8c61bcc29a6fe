package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// A wrong password for somebody and one for nobody take the same time: measured over sockets, with no hold that would hide
// it, in pairs that lie beside each other, each attempt from an address of its own so that no throttle comes in between.

// drillsAreLong says that drills run as long as they must to prove what they say; else as long as `make test` has.
func drillsAreLong() bool { return os.Getenv("LATCHKEY_DRILLS") == "long" }

// pairsAndBound are how many pairs a surface is measured with, and what their median may differ by.
func pairsAndBound() (int, time.Duration) {
	if drillsAreLong() {
		return 2500, time.Millisecond
	}
	return 40, 4 * time.Millisecond
}

// timed is the stage of a timing drill: a hash that is cheap, and yet longer than what is measured.
func timed(t *testing.T) *stage {
	s := bareStage(t)
	s.configure(func(text string) string {
		return strings.Replace(text, "hash_memory_kib: 1024", "hash_memory_kib: 8192", 1)
	})
	s.seed()
	return s
}

// surface is a place where somebody can guess.
type surface struct {
	name string
	// try sends one wrong attempt over a connection of its own and answers how long the answer took.
	try func(from net.Addr, login string) (time.Duration, error)
}

func (s *stage) surfaces() []surface {
	l := []surface{{"sign-in", s.timeSignIn}}
	for _, p := range stageDoors {
		l = append(l, surface{p, func(from net.Addr, login string) (time.Duration, error) { return s.timeDoor(p, from, login) }})
	}
	return l
}

// addresses are of 127.0.0.0/8, one after the other.
type addresses struct{ n uint32 }

func (a *addresses) next() net.Addr {
	a.n++
	return &net.TCPAddr{IP: net.IPv4(127, byte(1+a.n>>16), byte(a.n>>8), byte(a.n))}
}

func (s *stage) dialFrom(listener string, from net.Addr) (*talk, error) {
	c, err := (&net.Dialer{Timeout: patience, LocalAddr: from}).Dial("tcp", s.addr[listener])
	if err != nil {
		return nil, err
	}
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	k := tls.Client(c, s.tls)
	return newTalk(k), k.Handshake()
}

const neverRight = "never-the-right-1"

func (s *stage) timeSignIn(from net.Addr, login string) (time.Duration, error) {
	body, err := json.Marshal(map[string]string{"login": login, "password": neverRight})
	if err != nil {
		return 0, err
	}
	req, err := http.NewRequest("POST", "https://localhost/api/v1/sign-in", bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/json")
	return s.timeHTTP("api", from, req)
}

func (s *stage) timeHTTP(listener string, from net.Addr, req *http.Request) (time.Duration, error) {
	k, err := s.dialFrom(listener, from)
	if err != nil {
		return 0, err
	}
	defer k.Close()
	began := time.Now()
	if err := req.Write(k); err != nil {
		return 0, err
	}
	res, err := http.ReadResponse(bufio.NewReader(k), req)
	if err != nil {
		return 0, err
	}
	took := time.Since(began)
	_, _ = io.Copy(io.Discard, res.Body)
	if res.Body.Close(); res.StatusCode != http.StatusUnauthorized {
		return 0, fmt.Errorf("%s answers %d", listener, res.StatusCode)
	}
	return took, nil
}

func (s *stage) timeDoor(protocol string, from net.Addr, login string) (time.Duration, error) {
	if protocol == "dav" {
		req, err := http.NewRequest("PROPFIND", "https://localhost/"+login+"/", nil)
		if err != nil {
			return 0, err
		}
		req.SetBasicAuth(login, neverRight)
		return s.timeHTTP("dav", from, req)
	}
	k, err := s.dialFrom(protocol, from)
	if err != nil {
		return 0, err
	}
	defer k.Close()
	began, answer, err := k.guess(protocol, login)
	if err == nil && !strings.HasPrefix(answer, wrong[protocol]) {
		err = fmt.Errorf("%s answers %q", protocol, answer)
	}
	return time.Since(began), err
}

// guess sends a wrong password and answers when it was sent.
func (k *talk) guess(protocol, login string) (began time.Time, answer string, err error) {
	first := map[string]string{"imap": "* OK", "pop3": "+OK", "smtp": "220 "}[protocol]
	if _, err = k.hearTo(first); err != nil {
		return began, "", err
	}
	return k.guessAgain(protocol, login)
}

func (k *talk) guessAgain(protocol, login string) (began time.Time, answer string, err error) {
	switch protocol {
	case "pop3":
		if _, err = k.ask("USER "+login, "+OK", "-ERR"); err == nil {
			began = time.Now()
			answer, err = k.ask("PASS "+neverRight, "+OK", "-ERR")
		}
	case "smtp":
		if _, err = k.ask("EHLO client.example", "250 "); err == nil {
			began = time.Now()
			answer, err = k.ask("AUTH PLAIN "+base64.StdEncoding.EncodeToString([]byte("\x00"+login+"\x00"+neverRight)), "2", "4", "5")
		}
	default:
		began = time.Now()
		answer, err = k.ask("a LOGIN "+quoted(login)+" "+quoted(neverRight), "a ", "* BYE")
	}
	return began, answer, err
}

// difference is the median of what somebody takes longer than nobody.
func (s *stage) difference(t *testing.T, at surface, pairs int, from *addresses) time.Duration {
	t.Helper()
	logins := [2]string{s.people["account"].Address, "nobody-at-all@old.example"}
	var d []time.Duration
	for i := range pairs {
		var took [2]time.Duration
		for j := range took { // who comes first changes
			who := (i + j) % 2
			var err error
			if took[who], err = at.try(from.next(), logins[who]); err != nil {
				t.Fatalf("%s: %v", at.name, err)
			}
		}
		d = append(d, took[0]-took[1])
	}
	slices.Sort(d)
	return d[len(d)/2]
}

func TestDrillTiming(t *testing.T) {
	s, from := timed(t), &addresses{}
	s.serve()
	pairs, bound := pairsAndBound()
	for _, at := range s.surfaces() {
		d := s.difference(t, at, pairs, from)
		t.Logf("%-8s somebody takes %v longer than nobody, by the median of %d pairs", at.name, d, pairs)
		if d.Abs() >= bound {
			t.Errorf("%s: %v, want less than %v", at.name, d, bound)
		}
	}
}

// TestDrillTimingFindsALeak builds a server that does not hash for nobody, and asks that the drill sees it at every surface.
func TestDrillTimingFindsALeak(t *testing.T) {
	s, from := timed(t), &addresses{}
	leaky := start{args: []string{"serve", "-config", s.file}, sockets: s.sockets, binary: leakyBuild(t)}.begin(t)
	leaky.says("latchkey serves")
	_, bound := pairsAndBound()
	for _, at := range s.surfaces() {
		d := s.difference(t, at, 20, from)
		t.Logf("%-8s leaks %v", at.name, d)
		if d.Abs() < bound {
			t.Errorf("%s: a server that leaks differs by %v: the drill would not see it", at.name, d)
		}
	}
}

// leakyBuild is the program without the hash that nobody costs, out of a copy of the module.
func leakyBuild(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	run := func(in, command string) {
		t.Helper()
		c := exec.Command("sh", "-c", command)
		c.Dir = in
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", command, err, out)
		}
	}
	run(root, "git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents -t '"+dir+"' 2>/dev/null || true")
	run(dir, "git apply '"+filepath.Join(root, "testdata/mutations/dummy-hash.patch")+"'")
	run(dir, "go build -o leaky ./cmd/latchkey")
	return filepath.Join(dir, "leaky")
}
