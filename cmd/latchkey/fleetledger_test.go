package main

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// The ledger of a fleet's drill: what was acknowledged, so what every sign-in from then on has to come to. A claim that is
// asked to change, and whose change was not answered yet, is judged by nobody.

type want int

const (
	unsure want = iota
	enters
	shutOut
)

// claim is one secret of one person.
type claim struct {
	address, secret string

	mu      sync.Mutex
	want    want // guarded by mu, as version
	version int  // counts the changes of want
}

func (c *claim) set(w want) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.want, c.version = w, c.version+1
}

func (c *claim) now() (want, int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.want, c.version
}

// ledger is the verdict of one drill.
type ledger struct {
	fleet *fleetDrill
	stood func() time.Duration // standstill

	acknowledged, lost, noticed, resurrected, unlocked, wronglyTold, answers atomic.Int64
	slowest                                                                  atomic.Int64 // nanoseconds
	accepted                                                                 atomic.Bool  // an operator took a loss: what comes back now was told
	source                                                                   atomic.Int64 // clients that were not seen before
}

// answer is what a door said.
type answer int

const (
	later answer = iota // a temporary answer, or none
	letIn
	wrongTold
	refusedOtherwise
)

func read(text string, err error) answer {
	switch {
	case err != nil, strings.Contains(text, "[UNAVAILABLE]"), strings.Contains(text, "[LIMIT]"):
		return later
	case strings.HasPrefix(text, good["imap"]):
		return letIn
	case strings.HasPrefix(text, wrong["imap"]):
		return wrongTold
	}
	return refusedOtherwise
}

// fresh is a client that no throttle knows.
func (l *ledger) fresh() string {
	n := l.source.Add(1)
	return fmt.Sprintf("127.%d.%d.%d", 1+n>>16&127, n>>8&255, n&255)
}

// try signs in at one node, and judges the answer by what the ledger says before and after.
func (l *ledger) try(t *testing.T, c *claim, n *drilled, source string) answer {
	before, version := c.now()
	down := n.downs.Load()
	began, stood := time.Now(), l.stood()
	text, err := n.signInFrom(source, c.address, c.secret)
	took := time.Since(began)
	stood = l.stood() - stood
	got := read(text, err)
	if _, after := c.now(); after != version || before == unsure {
		return got
	}
	what := fmt.Sprintf("%s: %s at %s after %v: %q (%v)", l.fleet.now.Load(), c.address, n.name, took, text, err)
	if down == n.downs.Load() && down%2 == 0 {
		l.measure(t, took, stood, what)
	}
	l.judge(t, c, before, got, what)
	return got
}

// measure: each sign-in has an answer in time, also while the store is away. The machine is given a second, and what
// it stood still.
func (l *ledger) measure(t *testing.T, took, stood time.Duration, what string) {
	l.answers.Add(1)
	for was := l.slowest.Load(); int64(took) > was && !l.slowest.CompareAndSwap(was, int64(took)); was = l.slowest.Load() {
	}
	if took > 2*time.Second {
		t.Logf("slow, the machine stood still for %v: %s", stood, what)
	}
	if took-stood > 3*time.Second {
		t.Errorf("too late, though the machine stood still for %v: %s", stood, what)
	}
}

func (l *ledger) judge(t *testing.T, c *claim, w want, got answer, what string) {
	switch {
	case w == shutOut && got == letIn && l.accepted.Load():
	case w == shutOut && got == letIn && c.secret == l.fleet.appSecret(c.address):
		l.unlocked.Add(1)
		t.Errorf("unlocked: %s", what)
	case w == shutOut && got == letIn:
		l.resurrected.Add(1)
		t.Errorf("resurrected: %s", what)
	case w == enters && got == wrongTold && !l.accepted.Load():
		l.wronglyTold.Add(1)
		t.Errorf("a right one told as wrong: %s", what)
	case w == enters && got == refusedOtherwise && !l.accepted.Load():
		l.lost.Add(1)
		t.Errorf("lost: %s", what)
	}
}

// drilled is a node under a drill.
type drilled struct {
	*stage
	name  string
	tls   *tls.Config
	downs atomic.Int64 // odd while the node itself is away; what overlaps that is not timed
	http  *http.Client
}

func (n *drilled) signInFrom(source, user, password string) (string, error) {
	d := net.Dialer{Timeout: patience, LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}}
	c, err := d.Dial("tcp", n.addr["imap"])
	if err != nil {
		return "", err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(patience / 4)); err != nil {
		return "", err
	}
	k := newTalk(tls.Client(c, n.tls))
	if _, err = k.hearTo("* OK"); err != nil {
		return "", err
	}
	return k.ask("a LOGIN "+quoted(user)+" "+quoted(password), "a ", "* BYE")
}

// call asks the API once. A creation that is repeated has the same key.
func (n *drilled) call(token, method, path, key string, in, out any) (int, error) {
	p, err := json.Marshal(in)
	if err != nil {
		return 0, err
	}
	_, port, _ := net.SplitHostPort(n.addr["api"])
	req, err := http.NewRequest(method, "https://localhost:"+port+"/api/v1"+path, bytes.NewReader(p))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/json")
	if key != "" {
		req.Header.Set("Idempotency-Key", `"`+key+`"`)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := n.http.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if p, err = io.ReadAll(resp.Body); err == nil && out != nil && resp.StatusCode < 300 {
		err = json.Unmarshal(p, out)
	}
	return resp.StatusCode, err
}

// until repeats a request, at one node after the other, until it has an answer other than "later"; zero: the drill ended.
func (l *ledger) until(t *testing.T, over <-chan struct{}, token, method, path string, in, out any) int {
	key := ""
	if method == "POST" {
		key = rand.Text()
	}
	for {
		n := l.fleet.any()
		status, err := n.call(token, method, path, key, in, out)
		switch {
		case err == nil && status < 300 || status == http.StatusNotFound && method == "DELETE" && !l.accepted.Load():
			l.acknowledged.Add(1)
			return status
		case err == nil && status != http.StatusServiceUnavailable && status != http.StatusTooManyRequests && status != http.StatusConflict:
			if status == http.StatusUnauthorized && !l.accepted.Load() {
				l.lost.Add(1)
			}
			if !l.accepted.Load() {
				t.Errorf("%s: %s %s at %s: %d", l.fleet.now.Load(), method, path, n.name, status)
			}
			return 0
		}
		select {
		case <-over:
			return 0
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// subject changes what it has, again and again; claims are judged while it does.
type subject interface {
	change(t *testing.T, l *ledger, over <-chan struct{})
	claims() []*claim
}

// keeper makes and deletes his app passwords.
type keeper struct {
	address, token string
	mu             sync.Mutex
	have           []*claim // guarded by mu, as ids
	ids            map[*claim]string
}

func (k *keeper) claims() []*claim {
	k.mu.Lock()
	defer k.mu.Unlock()
	return append([]*claim{}, k.have...)
}

func (k *keeper) change(t *testing.T, l *ledger, over <-chan struct{}) {
	if len(k.ids) >= 2 {
		for c, id := range k.ids {
			c.set(unsure)
			if l.until(t, over, k.token, "DELETE", "/me/app-passwords/"+id, nil, nil) != 0 {
				c.set(shutOut)
				delete(k.ids, c)
			}
			return
		}
	}
	var made struct{ ID, Password string }
	if l.until(t, over, k.token, "POST", "/me/app-passwords", map[string]any{"name": "drill"}, &made) == http.StatusCreated {
		c := &claim{address: k.address, secret: made.Password, want: enters}
		k.mu.Lock()
		defer k.mu.Unlock()
		k.ids[c] = made.ID
		k.have = append(k.have, c)
		if len(k.have) > 12 { // the oldest are deleted for long
			k.have = k.have[1:]
		}
	}
}

// switched is one whom an operator shuts out and lets in again: suspended, or his door closed.
type switched struct {
	*claim
	token   string
	in, out func(l *ledger, t *testing.T, s *switched, over <-chan struct{}) int
}

func (s *switched) claims() []*claim { return []*claim{s.claim} }

func (s *switched) change(t *testing.T, l *ledger, over <-chan struct{}) {
	w, _ := s.now()
	s.set(unsure)
	if w == enters {
		if s.out(l, t, s, over) != 0 {
			s.set(shutOut)
		}
	} else if s.in(l, t, s, over) != 0 {
		s.set(enters)
	}
	meanwhile(over, 150*time.Millisecond) // for sign-ins under each
}

func suspended(l *ledger, t *testing.T, s *switched, over <-chan struct{}) int {
	return l.until(t, over, s.token, "POST", "/members/"+s.address+"/suspend", nil, nil)
}

func lifted(l *ledger, t *testing.T, s *switched, over <-chan struct{}) int {
	return l.until(t, over, s.token, "POST", "/members/"+s.address+"/lift", nil, nil)
}

func doorClosed(l *ledger, t *testing.T, s *switched, over <-chan struct{}) int {
	return l.until(t, over, s.token, "PATCH", "/members/"+s.address, map[string]any{"closed_doors": []string{"imap"}}, nil)
}

func doorOpen(l *ledger, t *testing.T, s *switched, over <-chan struct{}) int {
	return l.until(t, over, s.token, "PATCH", "/members/"+s.address, map[string]any{"closed_doors": []string{}}, nil)
}

// guessed is one with an account password, at whom others guess over all nodes: from the third wrong one that was told as
// wrong he is suspended, until an operator lifts it.
type guessed struct {
	people []*claim
	token  string
	turn   int
}

func (g *guessed) claims() []*claim { return g.people }

const guesses = 3 // policy of the drill

func (g *guessed) change(t *testing.T, l *ledger, over <-chan struct{}) {
	c := g.people[g.turn%len(g.people)]
	g.turn++
	if w, _ := c.now(); w == enters {
		c.set(unsure)
		if g.guess(t, l, c) {
			c.set(shutOut)
		}
		meanwhile(over, 100*time.Millisecond)
		return
	}
	c.set(unsure)
	if l.until(t, over, g.token, "POST", "/members/"+c.address+"/lift", nil, nil) != 0 {
		c.set(enters)
	}
}

// guess answers whether so many distinct ones were told as wrong that he is suspended.
func (g *guessed) guess(t *testing.T, l *ledger, c *claim) bool {
	var told atomic.Int64
	var all sync.WaitGroup
	for range 2 * guesses {
		all.Go(func() {
			text, err := l.fleet.any().signInFrom(l.fresh(), c.address, "wrong-"+rand.Text())
			switch read(text, err) {
			case letIn:
				t.Errorf("a wrong password was let in: %s", c.address)
			case wrongTold:
				told.Add(1)
			}
		})
	}
	all.Wait()
	if told.Load() >= guesses {
		l.acknowledged.Add(1)
		return true
	}
	return false
}

// members of a domain are made; what was acknowledged is looked for after each fault.
type newcomers struct {
	token string
	n     int
	made  []string
}

func (m *newcomers) claims() []*claim { return nil }

func (m *newcomers) change(t *testing.T, l *ledger, over <-chan struct{}) {
	m.n++
	address := fmt.Sprintf("newcomer-%d@new.example", m.n)
	if l.until(t, over, m.token, "POST", "/domains/new.example/members", map[string]string{"address": address}, nil) == http.StatusCreated {
		m.made = append(m.made, address)
	}
	meanwhile(over, 30*time.Millisecond)
}

func meanwhile(over <-chan struct{}, most time.Duration) {
	select {
	case <-over:
	case <-time.After(time.Duration(mathrand.Int64N(int64(most)))):
	}
}
