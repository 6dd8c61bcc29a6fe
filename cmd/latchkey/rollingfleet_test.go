package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"latchkey/authcore/store/redistest"
)

// newPortedFleet is nodes of one store whose sockets are their own, and which drain for so long at most.
func newPortedFleet(t *testing.T, n int, redis string, drain time.Duration) []*stage {
	t.Helper()
	nodes := newFleet(t, n, redis)
	for i, s := range nodes {
		for _, k := range s.sockets {
			_ = k.ln.Close()
			s.addr[k.name] = unusedAddress(t, "127.0.0.1")
		}
		s.configure(func(text string) string {
			text = strings.Replace(s.ported(text), "drain_timeout: 15s", "drain_timeout: "+drain.String(), 1)
			return text + fmt.Sprintf("node: mx%d\nstore: {engine: redis, redis: {%s}}\n", i+1, redis)
		})
	}
	return nodes
}

// keptDAV asks over connections that are kept, with HTTP/2.
func (s *stage) keptDAV() func() (string, error) {
	tr := &http.Transport{TLSClientConfig: s.tls.Clone(), ForceAttemptHTTP2: true}
	s.t.Cleanup(tr.CloseIdleConnections)
	client := &http.Client{Transport: tr, Timeout: patience}
	_, port, _ := net.SplitHostPort(s.addr["dav"])
	p := s.people["app-only"]
	return func() (string, error) {
		req, err := http.NewRequest("PROPFIND", "https://localhost:"+port+"/"+p.Address+"/", nil)
		if err != nil {
			return "", err
		}
		req.SetBasicAuth(p.Address, p.AppPasswords[0].Secret.Reveal())
		req.Header.Set("Depth", "0")
		resp, err := client.Do(req)
		if err != nil {
			return "", err
		}
		if resp.ProtoMajor != 2 {
			return "", fmt.Errorf("speaks %s", resp.Proto)
		}
		return itoa(resp.StatusCode), resp.Body.Close()
	}
}

// asksAPI asks as a member that is signed in.
func (s *stage) asksAPI(t *testing.T) func() (string, error) {
	t.Helper()
	c := s.api()
	c.http.Transport.(*http.Transport).ForceAttemptHTTP2 = true
	if err := c.signIn(s.people["app-only"]); err != nil {
		t.Fatal(err)
	}
	return func() (string, error) {
		status, err := c.do("GET", "/me", nil, nil)
		return itoa(status), err
	}
}

// Three nodes on one Redis are restarted by take-over one after the other under 100 sign-ins a second, API requests and
// HTTP/2 clients among them: none is refused, reset, left waiting or told "later".
func TestDrillRollingRestartOnRedis(t *testing.T) {
	redistest.Need(t, "redis-server")
	rounds := 1
	if longDrills() {
		rounds = 10
	}
	nodes := newPortedFleet(t, 3, standalone(redistest.Standalone(t)), 15*time.Second)
	running := make([]*process, 3)
	for i, s := range nodes {
		running[i] = s.takeover()
		running[i].says("latchkey serves")
	}
	ways := map[string]map[*stage]func() (string, error){"h2": {}, "api": {}}
	for _, s := range nodes {
		ways["h2"][s], ways["api"][s] = s.keptDAV(), s.asksAPI(t)
	}
	m := startStormOf(t, 100, nodes, ways, "imap", "smtp", "dav", "h2", "imap", "smtp", "dav", "h2", "imap", "api")
	began := time.Now()
	var old []*process
	for range rounds {
		for i, s := range nodes {
			<-time.After(500 * time.Millisecond)
			old = append(old, running[i])
			running[i] = s.takeover()
			running[i].says("latchkey serves")
		}
	}
	for _, p := range old {
		if code := p.ends(); code != 0 {
			t.Errorf("the old process ended with %d", code)
		}
	}
	n, took, stood := m.stop(), time.Since(began), m.stood()
	t.Logf("%d sign-ins in %v, %d restarts, the slowest took %v", n, took.Round(time.Millisecond), 3*rounds, time.Duration(m.slow.Load()))
	if want := int64((took - stood).Seconds() * 70); n < want {
		t.Errorf("only %d sign-ins, want %d at least", n, want)
	}
	if slowest := time.Duration(m.slow.Load()); slowest > 4*time.Second {
		t.Errorf("somebody waited for %v: a hand-over is to take 2 s at most", slowest)
	}
	for _, p := range running {
		p.stop()
	}
}

// inFlight is a session in the middle of a message: it outlives its process's hand-over.
func (s *stage) inFlight(t *testing.T, address, password string) *talk {
	t.Helper()
	k, answer, err := s.door("smtp").enter(s.tls, address, password)
	if err != nil || !strings.HasPrefix(answer, good["smtp"]) {
		t.Fatalf("%q (%v)", answer, err)
	}
	t.Cleanup(func() { _ = k.Close() })
	for _, line := range []string{"MAIL FROM:<" + address + ">", "RCPT TO:<" + address + ">", "DATA"} {
		if got, err := k.ask(line, "2", "3", "4", "5"); err != nil || got[0] > '3' {
			t.Fatalf("%s: %q (%v)", line, got, err)
		}
	}
	return k
}

// listed are the sessions of a member at a door that an administrator sees.
func (c *apiClient) listed(t *testing.T, address, door string) (l []map[string]any) {
	t.Helper()
	var sessions struct{ Items []map[string]any }
	if status, err := c.do("GET", "/members/"+address+"/sessions", nil, &sessions); status != http.StatusOK || err != nil {
		t.Fatalf("list: %d, %v", status, err)
	}
	for _, x := range sessions.Items {
		if x["door"] == door {
			l = append(l, x)
		}
	}
	return l
}

// A session that its process drains while another one has its node, and then a third, is listed and counted at every node;
// a revocation at another node cuts it within a second, and its end is known.
func TestDrillRevokedWhileDraining(t *testing.T) {
	redistest.Need(t, "redis-server")
	nodes := newPortedFleet(t, 2, standalone(redistest.Standalone(t)), patience)
	first := nodes[0].takeover()
	first.says("latchkey serves")
	other := nodes[1].takeover()
	other.says("latchkey serves")
	person := nodes[0].people["app-only"]
	operator := nodes[1].api()
	if err := operator.signIn(nodes[0].people["operator"]); err != nil {
		t.Fatal(err)
	}
	k := nodes[0].inFlight(t, person.Address, person.AppPasswords[0].Secret.Reveal())
	second := nodes[0].takeover()
	second.says("latchkey serves")
	third := nodes[0].takeover()
	third.says("latchkey serves")
	deadline := time.Now().Add(patience)
	for l := operator.listed(t, person.Address, "smtp"); len(l) != 1 || l[0]["node"] != "mx1"; l = operator.listed(t, person.Address, "smtp") {
		if time.Now().After(deadline) {
			t.Fatalf("an administrator at the other node sees %v", l)
		}
		<-time.After(100 * time.Millisecond)
	}
	if err := k.say("it goes on"); err != nil {
		t.Fatal(err)
	}
	stood := redistest.Standstill(t)
	began := time.Now()
	if status, err := operator.do("DELETE", "/members/"+person.Address+"/app-passwords/"+person.AppPasswords[0].ID, nil, nil); status != http.StatusNoContent || err != nil {
		t.Fatalf("delete it at the other node: %d, %v", status, err)
	}
	_ = k.SetReadDeadline(began.Add(patience))
	if _, err := io.Copy(io.Discard, k); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal("the session lives on")
	}
	if took, stood := time.Since(began), stood(); took-stood > 3*time.Second { // a second, where the machine has time
		t.Errorf("it was cut after %v, though the machine stood still for %v", took, stood)
	}
	for _, p := range []*process{first, second} {
		if code := p.ends(); code != 0 {
			t.Errorf("a process that handed over ended with %d", code)
		}
	}
	if l := operator.listed(t, person.Address, "smtp"); len(l) != 0 {
		t.Errorf("it has ended, and is listed: %v", l)
	}
	third.stop()
	other.stop()
}
