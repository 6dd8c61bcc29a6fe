package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"latchkey/authcore/sample"
)

// Kill -9 at any moment: what was acknowledged is there, and a message that was not acknowledged is nobody's surprise.

// drillTime is how long a drill goes on; LATCHKEY_DRILL makes it longer.
func drillTime(t *testing.T) time.Duration {
	t.Helper()
	d := 10 * time.Second
	if v := os.Getenv("LATCHKEY_DRILL"); v != "" {
		var err error
		if d, err = time.ParseDuration(v); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

// apiClient speaks to the API as one person.
type apiClient struct {
	http  *http.Client
	base  string
	token string
}

func (s *stage) api() *apiClient {
	tr := &http.Transport{TLSClientConfig: s.tls.Clone(), MaxIdleConnsPerHost: 1}
	s.t.Cleanup(tr.CloseIdleConnections)
	_, port, _ := net.SplitHostPort(s.addr["api"])
	return &apiClient{http: &http.Client{Transport: tr, Timeout: patience}, base: "https://localhost:" + port + "/api/v1"}
}

// do answers the status, and takes a JSON answer into out.
func (c *apiClient) do(method, path string, in, out any) (int, error) {
	p, err := json.Marshal(in)
	if err != nil {
		return 0, err
	}
	req, err := http.NewRequest(method, c.base+path, bytes.NewReader(p))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/json")
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if p, err = io.ReadAll(resp.Body); err != nil {
		return 0, err
	}
	if out != nil && resp.StatusCode < 300 {
		return resp.StatusCode, json.Unmarshal(p, out)
	}
	return resp.StatusCode, nil
}

func (c *apiClient) signIn(person sample.Person) error {
	var got struct{ State, Token string }
	status, err := c.do("POST", "/sign-in", map[string]string{"login": person.Address, "password": person.Account.Reveal()}, &got)
	if err == nil && (status != http.StatusOK || got.State != "signed_in") {
		err = fmt.Errorf("sign-in of %s: %d %s", person.Address, status, got.State)
	}
	c.token = got.Token
	return err
}

// worker changes things until told to end, and remembers what was acknowledged. holds looks whether all of that is there.
type worker interface {
	change() error
	holds(t *testing.T, s *stage)
	count() int
}

// appPasswords is one who makes and deletes his app passwords.
type appPasswords struct {
	api          *apiClient
	person       sample.Person
	first        string            // one that he had before and that nobody deletes
	have         map[string]string // made, acknowledged, and not asked to be deleted; by id
	gone         []string          // acknowledged as deleted
	acknowledged int
}

func (w *appPasswords) count() int { return w.acknowledged }

// change makes an app password, or deletes one when there are three.
func (w *appPasswords) change() error {
	if len(w.have) >= 3 {
		return w.remove()
	}
	var made struct{ ID, Password string }
	status, err := w.api.do("POST", "/me/app-passwords", map[string]any{"name": "drill"}, &made)
	switch {
	case err != nil:
		return err
	case status == http.StatusConflict: // those whose making was never answered fill the list
		return w.tidy()
	case status != http.StatusCreated:
		return fmt.Errorf("make an app password: %d", status)
	}
	w.have[made.ID] = made.Password
	w.acknowledged++
	return nil
}

func (w *appPasswords) remove() error {
	for id := range w.have {
		delete(w.have, id) // whatever comes: it may be gone
		status, err := w.api.do("DELETE", "/me/app-passwords/"+id, nil, nil)
		if err != nil {
			return err
		}
		if status != http.StatusNoContent && status != http.StatusNotFound { // asked again by the client's library
			return fmt.Errorf("delete an app password: %d", status)
		}
		w.gone = append(w.gone, id)
		w.acknowledged++
		return nil
	}
	return nil
}

func (w *appPasswords) list() ([]string, error) {
	var got struct{ Items []struct{ ID string } }
	status, err := w.api.do("GET", "/me/app-passwords", nil, &got)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("list app passwords: %d", status)
	}
	var ids []string
	for _, it := range got.Items {
		ids = append(ids, it.ID)
	}
	return ids, err
}

// tidy deletes what is there without having been acknowledged.
func (w *appPasswords) tidy() error {
	ids, err := w.list()
	if err != nil {
		return err
	}
	for _, id := range ids {
		if _, ok := w.have[id]; ok || id == w.first {
			continue
		}
		if _, err := w.api.do("DELETE", "/me/app-passwords/"+id, nil, nil); err != nil {
			return err
		}
	}
	return nil
}

func (w *appPasswords) holds(t *testing.T, s *stage) {
	t.Helper()
	ids, err := w.list()
	if err != nil {
		t.Fatal(err)
	}
	for id := range w.have {
		if !slices.Contains(ids, id) {
			t.Errorf("%s: the app password %s was acknowledged and is lost", w.person.Address, id)
		}
	}
	for _, id := range w.gone {
		if slices.Contains(ids, id) {
			t.Errorf("%s: the app password %s was acknowledged as deleted and is back", w.person.Address, id)
		}
	}
	for id, pass := range w.have {
		if got, err := s.door("imap").signIn(s.tls, w.person.Address, pass); err != nil || !strings.HasPrefix(got, good["imap"]) {
			t.Errorf("%s: signing in with %s: %q (%v)", w.person.Address, id, got, err)
		}
		break // one is enough: the list has shown the others
	}
}

// members is an administrator who makes members.
type members struct {
	api  *apiClient
	n    int
	made []string
}

func (w *members) count() int { return len(w.made) }

func (w *members) change() error {
	w.n++
	address := fmt.Sprintf("drill-%d@old.example", w.n)
	status, err := w.api.do("POST", "/domains/old.example/members", map[string]string{"address": address}, nil)
	if err != nil {
		return err
	}
	if status != http.StatusCreated {
		return fmt.Errorf("make a member: %d", status)
	}
	w.made = append(w.made, address)
	return nil
}

func (w *members) holds(t *testing.T, _ *stage) {
	t.Helper()
	for _, address := range w.made[max(0, len(w.made)-20):] {
		if status, err := w.api.do("GET", "/members/"+address, nil, nil); err != nil || status != http.StatusOK {
			t.Errorf("the member %s was acknowledged and is lost: %d (%v)", address, status, err)
		}
	}
}

// letters is one who writes to himself. What he heard 250 for must have arrived.
type letters struct {
	t    testing.TB
	s    *stage
	name string
	pass string
	n    int
	sent []string // acknowledged, and not yet looked for
	seen int      // found
}

func (w *letters) count() int { return w.seen }

// piece of a letter: several are on their way at any moment.
var piece = strings.Repeat("a line of a letter that is long enough to be on its way for a while\r\n", 100)

func (w *letters) change() error {
	k, answer, err := w.s.door("smtp").enter(w.s.tls, w.name, w.pass)
	if err != nil {
		return err
	}
	defer k.Close()
	if !strings.HasPrefix(answer, good["smtp"]) {
		return fmt.Errorf("sign-in: %s", answer)
	}
	w.n++
	subject := fmt.Sprintf("letter-%d.", w.n)
	for _, line := range []string{"MAIL FROM:<" + w.name + ">", "RCPT TO:<" + w.name + ">", "DATA", "Subject: " + subject + "\r\n\r\n" + strings.Repeat(piece, 4) + "."} {
		got, err := k.ask(line, "2", "3", "4", "5")
		if err != nil {
			return err
		}
		if got[0] > '3' {
			return fmt.Errorf("%.20s: %s", line, got)
		}
	}
	w.sent = append(w.sent, subject)
	return nil
}

func (w *letters) holds(t *testing.T, s *stage) {
	t.Helper()
	k, answer, err := s.door("imap").enter(s.tls, w.name, w.pass)
	if err != nil || !strings.HasPrefix(answer, good["imap"]) {
		t.Fatalf("%q (%v)", answer, err)
	}
	defer k.Close()
	if _, err := k.ask("b SELECT INBOX", "b OK"); err != nil {
		t.Fatal(err)
	}
	if err := k.say("c FETCH 1:* BODY.PEEK[HEADER.FIELDS (SUBJECT)]"); err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for line := ""; !strings.HasPrefix(line, "c "); {
		if line, err = k.hear(); err != nil {
			t.Fatal(err)
		}
		all.WriteString(line + "\n")
	}
	for _, subject := range w.sent {
		if !strings.Contains(all.String(), "Subject: "+subject) {
			t.Errorf("%s was answered 250 and did not arrive", subject)
		}
	}
	w.seen, w.sent = w.seen+len(w.sent), nil
	for _, line := range []string{`d STORE 1:* +FLAGS.SILENT (\Deleted)`, "e EXPUNGE"} { // a long drill would fill the mailbox
		if got, err := k.ask(line, line[:2]); err != nil || !strings.HasPrefix(got[2:], "OK") {
			t.Fatalf("%s: %q (%v)", line, got, err)
		}
	}
}

func TestDrillKillKeepsWhatWasAcknowledged(t *testing.T) {
	s := newStage(t)
	p := s.serve()
	one := s.people["app-only"]
	workers := []worker{&letters{t: t, s: s, name: one.Address, pass: one.AppPasswords[0].Secret.Reveal()}}
	for _, state := range []string{"app-only", "opted-in", "admin"} {
		c := s.api()
		if err := c.signIn(s.people[state]); err != nil {
			t.Fatal(err)
		}
		if state == "admin" {
			workers = append(workers, &members{api: c})
			continue
		}
		workers = append(workers, &appPasswords{api: c, person: s.people[state], first: s.people[state].AppPasswords[0].ID, have: map[string]string{}})
	}
	deadline := time.Now().Add(drillTime(t))
	rounds := 0
	for ; time.Now().Before(deadline) && !t.Failed(); rounds++ {
		p = s.killDuring(t, p, workers)
		for _, w := range workers {
			w.holds(t, s)
		}
	}
	p.stop()
	for _, w := range workers {
		t.Logf("%T: %d acknowledged before %d kills", w, w.count(), rounds)
		if w.count() == 0 {
			t.Errorf("%T: nothing was ever acknowledged", w)
		}
	}
}

// killDuring kills the server at some moment of the work, and starts it again.
func (s *stage) killDuring(t *testing.T, p *process, workers []worker) *process {
	t.Helper()
	stop := make(chan struct{})
	var all sync.WaitGroup
	for _, w := range workers {
		all.Go(func() { work(t, w, stop) })
	}
	<-time.After(time.Duration(50+rand.IntN(400)) * time.Millisecond) // the moment is what is random here
	close(stop)
	p.kill()
	p = s.serve() // a client that came in between waits for this one
	all.Wait()
	return p
}

// work goes on until the server is killed; any error before that is a failure.
func work(t *testing.T, w worker, stop <-chan struct{}) {
	for {
		err := w.change()
		select {
		case <-stop:
			return
		default:
		}
		if err != nil {
			t.Errorf("before the kill: %v", err)
			return
		}
	}
}
