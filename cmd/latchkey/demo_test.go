package main

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"latchkey/proxy/peers"
)

// described is the form that programs rely on; a key more or less is a mistake.
type described struct {
	CA    string `json:"ca"`
	API   string `json:"api"`
	Ops   string `json:"ops"`
	Doors struct {
		IMAP        string `json:"imap"`
		IMAPS       string `json:"imaps"`
		Submission  string `json:"submission"`
		Submissions string `json:"submissions"`
		POP3        string `json:"pop3"`
		POP3S       string `json:"pop3s"`
		DAV         string `json:"dav"`
	} `json:"doors"`
	People []struct {
		Address         string `json:"address"`
		Domain          string `json:"domain"`
		Role            string `json:"role"`
		State           string `json:"state"`
		AccountPassword string `json:"account_password"`
		AppPasswords    []struct {
			ID       string `json:"id"`
			Name     string `json:"name"`
			Password string `json:"password"`
		} `json:"app_passwords"`
	} `json:"people"`
	Operator struct {
		Address  string `json:"address"`
		Password string `json:"password"`
		Token    string `json:"token"`
	} `json:"operator"`
}

// runningDemo is a demo of a test.
type runningDemo struct {
	*process
	described
	file string
	tls  *tls.Config
}

func startDemo(t *testing.T, args ...string) *runningDemo {
	t.Helper()
	d := &runningDemo{file: filepath.Join(t.TempDir(), "demo.json")}
	d.process = start{
		args: append([]string{"demo", "-ports", "auto", "-describe", d.file, "-hold", "0s"}, args...),
		env:  []string{"TMPDIR=" + t.TempDir()}, // a demo that a test kills leaves its folder behind
	}.begin(t)
	d.read(t)
	d.tls = trust(t, d.CA)
	return d
}

// read waits for the description; it comes by rename, so what is there is whole.
func (d *runningDemo) read(t *testing.T) {
	t.Helper()
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	timeout := time.After(patience)
	for {
		p, err := os.ReadFile(d.file)
		if err == nil {
			dec := json.NewDecoder(strings.NewReader(string(p)))
			dec.DisallowUnknownFields()
			if err := dec.Decode(&d.described); err != nil {
				t.Fatalf("the description: %v\n%s", err, p)
			}
			return
		}
		if !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		select {
		case <-look.C:
		case <-d.exited:
			t.Fatalf("the demo ended with %v:\n%s", d.cmd.ProcessState, d.err)
		case <-timeout:
			t.Fatalf("no description:\n%s", d.err)
		}
	}
}

// doors are those with TLS from the first byte.
func (d *runningDemo) doors() []door {
	return []door{
		{"imap", d.Doors.IMAPS, d.CA}, {"smtp", d.Doors.Submissions, d.CA}, {"pop3", d.Doors.POP3S, d.CA},
		{"dav", strings.TrimPrefix(d.Doors.DAV, "https://"), d.CA},
	}
}

// app is the app password of the person in the state.
func (d *runningDemo) app(t *testing.T, state string) (address, password string) {
	t.Helper()
	for _, p := range d.People {
		if p.State == state && len(p.AppPasswords) > 0 {
			return p.Address, p.AppPasswords[0].Password
		}
	}
	t.Fatalf("nobody is %s with an app password", state)
	return "", ""
}

func TestDemoDescribes(t *testing.T) {
	t.Parallel()
	d := startDemo(t)
	info, err := os.Stat(d.file)
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("the description has mode %v (%v), want 0600", info.Mode(), err)
	}
	for name, at := range map[string]string{
		"ca": d.CA, "api": d.API, "ops": d.Ops, "imap": d.Doors.IMAP, "imaps": d.Doors.IMAPS, "submission": d.Doors.Submission,
		"submissions": d.Doors.Submissions, "pop3": d.Doors.POP3, "pop3s": d.Doors.POP3S, "dav": d.Doors.DAV,
		"operator.address": d.Operator.Address, "operator.password": d.Operator.Password, "operator.token": d.Operator.Token,
	} {
		if at == "" {
			t.Errorf("%s is empty", name)
		}
	}
	if !filepath.IsAbs(d.CA) || !strings.HasPrefix(d.API, "https://localhost:") || !strings.HasPrefix(d.Ops, "http://127.0.0.1:") ||
		!strings.HasPrefix(d.Doors.DAV, "https://localhost:") || !strings.HasPrefix(d.Doors.IMAP, "127.0.0.1:") {
		t.Errorf("addresses are not of the promised form: %+v", d.described)
	}
	want := []string{
		"app-only@new.example app-only member 1", "account@old.example account member 0", "opted-in@old.example opted-in member 1",
		"two-step@old.example two-step member 1", "suspended@old.example suspended member 0", "expired@old.example expired member 0",
		"admin@old.example admin administrator 0", "operator@new.example operator operator 0",
	}
	var got []string
	for _, p := range d.People {
		got = append(got, strings.Join([]string{p.Address, p.State, p.Role, itoa(len(p.AppPasswords))}, " "))
		if p.AccountPassword == "" || !strings.HasSuffix(p.Address, "@"+p.Domain) || p.AppPasswords == nil {
			t.Errorf("%s has no account password, another domain than %q, or null for app passwords", p.Address, p.Domain)
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("people\n%q, want\n%q", got, want)
	}
	for _, at := range append([]string{d.Doors.IMAP, d.Doors.Submission, d.Doors.POP3}, strings.TrimPrefix(d.API, "https://")) {
		if _, err := (door{addr: at}).dial(d.tls); err != nil {
			t.Errorf("%s does not accept although the description is there: %v", at, err)
		}
	}
}

// What each person may do at every door, with each of the two passwords.
func TestDemoPeopleDoAsTheirStateSays(t *testing.T) {
	t.Parallel()
	d := startDemo(t)
	const in, no, expired = "in", "no", "expired"
	want := map[string][2]string{ // account password, app password
		"app-only": {no, in}, "account": {in, ""}, "opted-in": {no, in}, "two-step": {no, in}, "suspended": {no, ""},
		"expired": {expired, ""}, "admin": {in, ""}, "operator": {no, ""},
	}
	begins := map[string]map[string]string{in: good, no: wrong, expired: {"imap": "a NO [EXPIRED]", "smtp": "535 5.7.8", "pop3": "-ERR [AUTH]", "dav": "401"}}
	for _, p := range d.People {
		for _, at := range d.doors() {
			t.Run(p.State+" at "+at.protocol, func(t *testing.T) {
				check := func(what, password, word string) {
					got, err := at.signIn(d.tls, p.Address, password)
					if err != nil || !strings.HasPrefix(got, begins[word][at.protocol]) {
						t.Errorf("%s: %q (%v), want %q", what, got, err, begins[word][at.protocol])
					}
				}
				check("account password", p.AccountPassword, want[p.State][0])
				for _, a := range p.AppPasswords {
					check("app password", a.Password, want[p.State][1])
					check("app password as people type it", strings.ToUpper(strings.ReplaceAll(a.Password, "-", " ")), want[p.State][1])
				}
			})
		}
	}
}

func TestDemoTwoSideBySideAndNothingLeft(t *testing.T) {
	t.Parallel()
	one, two := startDemo(t), startDemo(t)
	name, pass := one.app(t, "app-only")
	if got, err := two.doors()[0].signIn(two.tls, name, pass); err != nil || !strings.HasPrefix(got, wrong["imap"]) {
		t.Errorf("one demo's app password at the other: %q (%v)", got, err)
	}
	folder := filepath.Dir(one.CA)
	one.stop()
	if _, err := os.Stat(folder); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the temporary folder %s is left behind (%v)", folder, err)
	}
	name, pass = two.app(t, "app-only")
	if got, err := two.doors()[0].signIn(two.tls, name, pass); err != nil || !strings.HasPrefix(got, good["imap"]) {
		t.Errorf("at the second demo after the end of the first: %q (%v)", got, err)
	}
}

// A demo in a terminal that is closed cleans up too: its folder holds keys and passwords.
func TestDemoHangUp(t *testing.T) {
	t.Parallel()
	d := startDemo(t)
	d.signal(syscall.SIGHUP)
	if code := d.ends(); code != 0 {
		t.Errorf("exit %d at SIGHUP", code)
	}
	if _, err := os.Stat(filepath.Dir(d.CA)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the temporary folder is left behind (%v)", err)
	}
}

func TestDemoKeepsItsData(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d := startDemo(t, "-data", dir)
	name, pass := d.app(t, "opted-in")
	d.stop()
	if err := os.Remove(d.file); err != nil {
		t.Fatal(err)
	}
	again := startDemo(t, "-data", dir)
	if n, p := again.app(t, "opted-in"); n != name || p != pass {
		t.Errorf("after a restart %s has another app password", n)
	}
	for _, at := range again.doors() {
		if got, err := at.signIn(again.tls, name, pass); err != nil || !strings.HasPrefix(got, good[at.protocol]) {
			t.Errorf("%s: an app password made before the restart: %q (%v)", at.protocol, got, err)
		}
	}
	second := start{args: []string{"demo", "-ports", "auto", "-data", dir}}.begin(t)
	if code := second.ends(); code != exitFailed || !strings.Contains(second.err.String(), itoa(again.cmd.Process.Pid)) {
		t.Errorf("a second demo on the same folder: exit %d, and does not name the pid %d:\n%s", code, again.cmd.Process.Pid, second.err)
	}
}

// A description of an earlier run must not be taken for this one's.
func TestDemoTakesAnOldDescriptionAway(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "demo.json")
	if err := os.WriteFile(file, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	taken := filepath.Join(t.TempDir(), "taken")
	if err := os.WriteFile(taken, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	// The data folder cannot be made, so nothing was ever ready.
	refused(t, []string{"not a directory"}, "demo", "-ports", "auto", "-describe", file, "-data", filepath.Join(taken, "below"))
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the old description is still there (%v)", err)
	}
}

// Whoever waits for the description must not wait for ever.
func TestDemoCannotDescribe(t *testing.T) {
	t.Parallel()
	refused(t, []string{"describe", "no such file"}, "demo", "-ports", "auto", "-describe", filepath.Join(t.TempDir(), "missing", "demo.json"))
}

func TestDemoDrains(t *testing.T) {
	t.Parallel()
	d := startDemo(t)
	name, pass := d.app(t, "app-only")
	k, answer, err := d.doors()[0].enter(d.tls, name, pass)
	if err != nil || !strings.HasPrefix(answer, "a OK") {
		t.Fatalf("%q %v", answer, err)
	}
	defer k.Close()
	if _, err := k.ask("b SELECT INBOX", "b OK"); err != nil {
		t.Fatal(err)
	}
	if _, err := k.ask("c IDLE", "+"); err != nil {
		t.Fatal(err)
	}
	d.signal(syscall.SIGTERM)
	if line, err := k.hearTo("* BYE"); err != nil {
		t.Errorf("an idle session at SIGTERM hears %q (%v), want * BYE", line, err)
	}
	if code := d.ends(); code != 0 {
		t.Errorf("exit %d", code)
	}
}

// Mail that is submitted arrives, and nothing of all that was said to the demo stands in its log.
func TestDemoMailAndSecrets(t *testing.T) {
	t.Parallel()
	d := startDemo(t, "-log", "debug")
	name, pass := d.app(t, "app-only")
	submit(t, d, name, pass, "a letter in the log would be one too many")
	var account string
	for _, p := range d.People {
		if p.State == "account" {
			account = p.AccountPassword
		}
		for _, at := range d.doors() {
			for _, password := range []string{p.AccountPassword, "Wr0ng-" + p.AccountPassword} {
				if _, err := at.signIn(d.tls, p.Address, password); err != nil {
					t.Error(err)
				}
			}
		}
	}
	k, answer, err := d.doors()[0].enter(d.tls, "account@old.example", account)
	if err != nil || !strings.HasPrefix(answer, "a OK") {
		t.Fatalf("%q %v", answer, err)
	}
	if _, err := k.ask("b SELECT INBOX", "b OK"); err != nil {
		t.Fatal(err)
	}
	if _, err := k.ask("c FETCH 2 BODY[TEXT]", "a letter in the log"); err != nil {
		t.Errorf("the mail did not arrive: %v", err)
	}
	_ = k.Close()
	d.stop()
	log := d.err.String()
	if !strings.Contains(log, "level=DEBUG") && !strings.Contains(log, "level=INFO") {
		t.Errorf("nothing was logged:\n%s", log)
	}
	secrets := []string{d.Operator.Token, d.Operator.Password, "a letter in the log"}
	for _, p := range d.People {
		secrets = append(secrets, p.AccountPassword)
		for _, a := range p.AppPasswords {
			secrets = append(secrets, a.Password, strings.ReplaceAll(a.Password, "-", ""))
		}
	}
	for _, s := range secrets {
		if strings.Contains(log, s) {
			t.Errorf("the log holds the secret %q", s)
		}
	}
}

// submit sends a message to account@old.example.
func submit(t *testing.T, d *runningDemo, name, pass, text string) {
	t.Helper()
	k, answer, err := d.doors()[1].enter(d.tls, name, pass)
	if err != nil || !strings.HasPrefix(answer, "235") {
		t.Fatalf("%q %v", answer, err)
	}
	defer k.Close()
	for _, x := range [][2]string{
		{"MAIL FROM:<" + name + ">", "250"}, {"RCPT TO:<account@old.example>", "250"}, {"DATA", "354"},
		{"Subject: hello\r\n\r\n" + text + "\r\n.", "250"},
	} {
		if got, err := k.ask(x[0], "2", "3", "4", "5"); err != nil || !strings.HasPrefix(got, x[1]) {
			t.Fatalf("%s: %q (%v)", x[0], got, err)
		}
	}
}

// The modules of Python's library, as people script with them, over STARTTLS too.
func TestPeersDemoPython(t *testing.T) {
	t.Parallel()
	peers.Need(t, "python3")
	d := startDemo(t)
	runScript(t, "python3", filepath.Join("testdata", "demo.py"), d.file)
}

// The lines that the demo prints work as they stand.
func TestPeersDemoCurl(t *testing.T) {
	t.Parallel()
	peers.Need(t, "curl")
	d := startDemo(t)
	d.shows("/api/v1/sign-in\n\n") // the last of the lines
	_, lines, ok := strings.Cut(d.out.String(), "To try it in a shell:")
	if !ok {
		t.Fatalf("the demo shows no lines for a shell:\n%s", d.out)
	}
	lines = strings.ReplaceAll(lines, "curl ", "curl --fail-with-body --silent --show-error ")
	out := runScript(t, "sh", "-ec", lines)
	for _, want := range []string{"Subject: ", "<multistatus", `"state":"signed_in"`} {
		if !strings.Contains(strings.ToLower(out), strings.ToLower(want)) {
			t.Errorf("the lines printed\n%s\nwant %q in it", out, want)
		}
	}
}

// A sign-in with 2-step verification walked by hand: the code is asked for, read in the demo's outbox, and let in by.
func TestDemoOutbox(t *testing.T) {
	t.Parallel()
	d := startDemo(t)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: d.tls}, Timeout: patience}
	defer client.CloseIdleConnections()
	c := &apiClient{http: client, base: d.API + "/api/v1"}
	read := func(query string) string {
		res, err := client.Get(d.Ops + "/demo/outbox" + query)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		p, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode != http.StatusOK || res.Header.Get("Cache-Control") != "no-store" {
			t.Fatalf("%d %v %v", res.StatusCode, res.Header, err)
		}
		return string(p)
	}
	for _, p := range d.People {
		if p.State != "two-step" {
			continue
		}
		var step struct{ State, Ticket string }
		if status, err := c.do("POST", "/sign-in", map[string]string{"login": p.Address, "password": p.AccountPassword}, &step); err != nil || status != 200 || step.State != "two_step_required" {
			t.Fatalf("%d %+v %v", status, step, err)
		}
		if status, err := c.do("POST", "/sign-in/two-step/send", map[string]string{"ticket": step.Ticket, "method": "email"}, nil); err != nil || status >= 300 {
			t.Fatalf("send: %d %v", status, err)
		}
		var l struct {
			Items []struct{ Kind, Channel, To, Text string }
		}
		waitFor(t, "the code is in the outbox", patience, func() bool {
			if err := json.Unmarshal([]byte(read("?format=json")), &l); err != nil {
				t.Fatal(err)
			}
			return slices.ContainsFunc(l.Items, func(i struct{ Kind, Channel, To, Text string }) bool { return i.Kind == "code" })
		})
		i := slices.IndexFunc(l.Items, func(i struct{ Kind, Channel, To, Text string }) bool { return i.Kind == "code" })
		code := regexp.MustCompile(`\d{6}`).FindString(l.Items[i].Text)
		if text := read("?to=" + url.QueryEscape(l.Items[i].To)); !strings.Contains(text, code) {
			t.Errorf("as text: %q", text)
		}
		if text := read("?to=nobody"); !strings.HasPrefix(text, "Nothing was sent yet.") {
			t.Errorf("to nobody: %q", text)
		}
		var in struct{ State, Token string }
		if status, err := c.do("POST", "/sign-in/two-step", map[string]string{"ticket": step.Ticket, "method": "email", "code": code}, &in); err != nil || status != 200 || in.State != "signed_in" || in.Token == "" {
			t.Errorf("%d %s %v", status, in.State, err)
		}
		d.stop()
		if strings.Contains(d.err.String(), code) {
			t.Error("the code stands in the log")
		}
		return
	}
	t.Fatal("nobody has 2-step verification on")
}
