package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
)

// listen serves connections of loopback until the test ends.
func listen(t *testing.T, serve func(net.Listener) error) string {
	t.Helper()
	ln, err := net.Listen("tcp", loopback+":0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	go func() { _ = serve(ln) }()
	return ln.Addr().String()
}

// refusing says the same to every command, after the greeting.
func refusing(greeting, answer string) func(net.Listener) error {
	return each(func(r *bufio.Reader, w io.Writer) error {
		_, err := io.WriteString(w, greeting)
		for err == nil {
			if _, err = nextLine(r); err == nil {
				_, err = io.WriteString(w, answer)
			}
		}
		return err
	})
}

func blink(kind, address string) job {
	return job{
		Kind: kind, Door: door{Address: address}, Logins: []login{{"somebody@bench.example", "secret"}}, Concurrency: 2, Seconds: 0.05,
		Sessions: 20, Times: 2, Megabytes: 1, Settle: 0.01, Path: "/", Trees: map[string][]int{"itself": {os.Getpid()}},
	}
}

func doJob(t *testing.T, j job) (measurement, error) {
	t.Helper()
	if err := j.check(); err != nil {
		t.Fatal(err)
	}
	return loads[j.Kind](t.Context(), j)
}

// Each load goes through its motions against the servers that are behind the doors in a run.
func TestLoads(t *testing.T) {
	imap, pop3, smtp := each(backendIMAP), each(backendPOP3), each(backendSMTP)
	for kind, tt := range map[string]struct {
		serve func(net.Listener) error
		want  []string // figures
	}{
		"signin":   {imap, []string{"per_second", "p50_ms", "p99_ms", "cpu_1000", "cpu_1000_itself"}},
		"pop3":     {pop3, []string{"per_second", "cpu_1000"}},
		"noop":     {imap, []string{"per_second", "cpu_1000"}},
		"message":  {smtp, []string{"cpu_1000", "p50_ms"}},
		"propfind": {serveHTTP(backendDAV), []string{"per_second", "cpu_1000"}},
		"bulk":     {imap, []string{"cpu_gb", "mb_per_second"}},
		"idle":     {imap, []string{"kib", "kib_after"}},
		"keep":     {serveHTTP(backendDAV), []string{"kib"}},
	} {
		t.Run(kind, func(t *testing.T) {
			m, err := doJob(t, blink(kind, listen(t, tt.serve)))
			if err != nil || m.Errors > 0 || m.Operations == 0 {
				t.Fatalf("got %+v, %v", m, err)
			}
			for _, figure := range tt.want {
				if _, ok := m.Figures[figure]; !ok {
					t.Errorf("no figure %s in %v", figure, m.Figures)
				}
			}
		})
	}
}

// However little time there is, or is left when a worker begins, each does something.
func TestLoadOfNoTime(t *testing.T) {
	j := blink("signin", listen(t, each(backendIMAP)))
	j.Seconds = 0
	if m, err := doJob(t, j); err != nil || m.Errors > 0 || m.Operations < int64(j.Concurrency) {
		t.Errorf("got %+v, %v", m, err)
	}
}

// A server that lets nobody in, or not everybody, must not look fast.
func TestRefusalsAreErrors(t *testing.T) {
	no := refusing("* OK ready\r\n", "a NO [AUTHENTICATIONFAILED] no\r\n")
	unauthorized := serveHTTP(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) })
	for kind, serve := range map[string]func(net.Listener) error{
		"signin": no, "noop": no, "bulk": no, "idle": no,
		"pop3":     refusing("+OK ready\r\n", "-ERR no\r\n"),
		"message":  refusing("220 ready\r\n", "535 5.7.8 no\r\n"),
		"propfind": unauthorized,
		"keep":     unauthorized,
	} {
		t.Run(kind, func(t *testing.T) {
			m, err := doJob(t, blink(kind, listen(t, serve)))
			if err == nil && (m.Errors == 0 || m.Problem == "") {
				t.Errorf("a refusal is no error: %+v", m)
			}
			if _, fast := m.Figures["per_second"]; fast {
				t.Errorf("it has a speed: %v", m.Figures)
			}
		})
	}
	t.Run("one of many", func(t *testing.T) {
		var mu sync.Mutex
		n := 0
		once := each(func(r *bufio.Reader, w io.Writer) error {
			mu.Lock()
			n++
			refused := n == 1
			mu.Unlock()
			if refused {
				_, err := io.WriteString(w, "* BYE too many\r\n")
				return err
			}
			return backendIMAP(r, w)
		})
		m, err := doJob(t, blink("signin", listen(t, once)))
		if err != nil || m.Errors != 1 || !strings.Contains(m.Problem, "too many") {
			t.Errorf("got %+v, %v; want one error", m, err)
		}
	})
}

// A message that came short, or a listing, is an error as well.
func TestShortAnswers(t *testing.T) {
	short := each(func(r *bufio.Reader, w io.Writer) error {
		for _, say := range []string{"* OK\r\n", "a OK\r\n", "* 1 FETCH (BODY[] {1048576}\r\nonly this"} {
			if _, err := io.WriteString(w, say); err != nil {
				return err
			}
			if _, err := nextLine(r); err != nil {
				return err
			}
			if strings.HasPrefix(say, "a OK") {
				if _, err := io.WriteString(w, "* 1 FETCH (BODY[] {1048576}\r\nonly this"); err != nil {
					return err
				}
				return nil
			}
		}
		return nil
	})
	if m, err := doJob(t, blink("bulk", listen(t, short))); err == nil {
		t.Errorf("a message cut short is no error: %+v", m)
	}
	half := serveHTTP(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusMultiStatus)
		_, _ = w.Write(listing[:100])
	})
	if m, err := doJob(t, blink("propfind", listen(t, half))); err == nil && m.Errors == 0 {
		t.Errorf("half a listing is no error: %+v", m)
	}
}

// The revocation is over when the last client's connection is.
func TestRevokeLoad(t *testing.T) {
	var mu sync.Mutex
	var open []net.Conn
	imap := func(ln net.Listener) error {
		for {
			c, err := ln.Accept()
			if err != nil {
				return err
			}
			mu.Lock()
			open = append(open, c)
			mu.Unlock()
			go func() { _ = backendIMAP(bufio.NewReader(c), c) }()
		}
	}
	cert, err := newCertificate(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(cert.file, cert.key)
	if err != nil {
		t.Fatal(err)
	}
	asked := ""
	api := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		asked = r.Method + " " + r.URL.Path + " " + r.Header.Get("Authorization") + " " + string(text)
		mu.Lock()
		defer mu.Unlock()
		for _, c := range open {
			_ = c.Close()
		}
	}))
	api.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	api.StartTLS()
	defer api.Close()
	j := blink("revoke", listen(t, imap))
	j.Door.Certificate = cert.raw
	j.Close = &apiCall{Address: api.Listener.Addr().String(), Token: "t", Method: "PATCH", Path: "/x", Body: "{}"}
	m, err := doJob(t, j)
	if err != nil || m.Errors > 0 || m.Figures["last_s"] <= 0 || asked != "PATCH /x Bearer t {}" {
		t.Errorf("got %+v, %v; asked %q", m, err, asked)
	}
}

// Another certificate than the run's is none: something else listens there.
func TestCertificateIsCompared(t *testing.T) {
	other := httptest.NewTLSServer(http.NotFoundHandler())
	defer other.Close()
	j := blink("propfind", other.Listener.Addr().String())
	j.Door.TLS, j.Door.Certificate = true, []byte("ours")
	if _, err := doJob(t, j); err == nil || !strings.Contains(err.Error(), errCertificate.Error()) {
		t.Errorf("got %v, want %v", err, errCertificate)
	}
}

// Nothing but loopback is loaded, and nothing without a bound.
func TestJobsThatAreRefused(t *testing.T) {
	for name, change := range map[string]func(*job){
		"elsewhere":        func(j *job) { j.Door.Address = "192.0.2.1:993" },
		"a name":           func(j *job) { j.Door.Address = "localhost:993" },
		"everywhere":       func(j *job) { j.Door.Address = "0.0.0.0:993" },
		"API elsewhere":    func(j *job) { j.Close = &apiCall{Address: "192.0.2.1:443"} },
		"no address":       func(j *job) { j.Door.Address = "" },
		"unknown":          func(j *job) { j.Kind = "fork" },
		"nobody":           func(j *job) { j.Logins = nil },
		"too many":         func(j *job) { j.Sessions = maxSessions + 1 },
		"fewer than none":  func(j *job) { j.Concurrency = -1 },
		"too many at once": func(j *job) { j.Concurrency = maxConcurrency + 1 },
		"too long":         func(j *job) { j.Seconds = maxSeconds + 1 },
		"for ever":         func(j *job) { j.Seconds = nan() },
		"too much":         func(j *job) { j.Megabytes = maxMegabytes + 1 },
		"too often":        func(j *job) { j.Times = maxInAll + 1 },
		"too fast":         func(j *job) { j.Rate = maxGuessers + 1 },
	} {
		t.Run(name, func(t *testing.T) {
			j := blink("signin", "127.0.0.1:1")
			change(&j)
			text, err := json.Marshal(j)
			if err != nil { // a number that is none cannot even be said
				return
			}
			var out bytes.Buffer
			err = loadRole(context.Background(), streams{in: bytes.NewReader(text), out: &out, err: io.Discard}, nil)
			if err == nil || out.Len() > 0 {
				t.Errorf("it was done: %v, %s", err, out.String())
			}
		})
	}
}

func nan() float64 { zero := 0.0; return zero / zero }

// nginx asks who may come in, and is told where to.
func TestAuthService(t *testing.T) {
	for name, tt := range map[string]struct {
		user, protocol, status string
	}{
		"somebody":            {"a@bench.example", "imap", "OK"},
		"nobody":              {"", "imap", "Invalid login"},
		"a protocol of none":  {"a@bench.example", "ftp", "Invalid login"},
		"what is behind POP3": {"a@bench.example", "pop3", "OK"},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, "/mail", nil)
			r.Header.Set("Auth-User", tt.user)
			r.Header.Set("Auth-Pass", "secret")
			r.Header.Set("Auth-Protocol", tt.protocol)
			r.Header.Set("X-Behind-imap", "127.0.0.1:143")
			r.Header.Set("X-Behind-pop3", "127.0.0.1:110")
			w := httptest.NewRecorder()
			authHTTP(w, r)
			if got := fmt.Sprint(w.Header()["Auth-Status"]); got != "["+tt.status+"]" {
				t.Errorf("got %s, want %s", got, tt.status)
			}
		})
	}
}
