package dav

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/store/redistest"
	"latchkey/proxy"
	"latchkey/proxy/proxytest"
)

func TestSessionIsJudgedOnceBeforeItsFirstRequest(t *testing.T) {
	rec := &recorder{}
	s := start(t, rec)
	c := s.client(true)
	for range 3 {
		s.do(c, s.request("PROPFIND", "/", nil))
	}
	if judged := s.auth.Judged(); len(judged) != 1 || judged[0].Session != sitting || len(judged[0].Doors) != 2 {
		t.Errorf("judged %+v, want the session once", judged)
	}
	open := s.live.Open(func(proxy.Open) bool { return true })
	if len(open) != 1 || open[0].Session != sitting || open[0].Upstream != "mail" {
		t.Errorf("open sessions %+v", open)
	}
}

func TestRevokedBetweenDecisionAndFirstRequest(t *testing.T) {
	for _, tt := range []struct {
		name   string
		stands bool
		err    error
		status int
		end    string // empty: the session goes on
	}{
		{"revoked", false, nil, 401, "revoked"},
		{"records cannot be read", true, errors.New("down"), 503, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rec := &recorder{}
			s := start(t, rec, func(s *scene) {
				s.auth.OnStands = func(context.Context, authcore.Standing) (bool, error) { return tt.stands, tt.err }
			})
			res, _ := s.do(s.client(false), s.request("PROPFIND", "/", nil))
			if res.StatusCode != tt.status || len(rec.all()) != 0 {
				t.Errorf("status %d, %d requests upstream", res.StatusCode, len(rec.all()))
			}
			s.door.sessions.telling.Wait()
			ended := s.auth.EndedCalls()
			if tt.end == "" && len(ended) != 0 || tt.end != "" && (len(ended) != 1 || ended[0].Cause != tt.end || ended[0].Established) {
				t.Errorf("ended %+v", ended)
			}
		})
	}
}

// A cut aborts what is in flight in either direction, and the connection or stream under it.
func TestCutInFlight(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		for _, direction := range []string{"waiting", "up", "down"} {
			t.Run(direction+map[bool]string{true: " HTTP/2", false: " HTTP/1.1"}[http2], func(t *testing.T) {
				inFlight, released := make(chan struct{}), make(chan struct{})
				s := start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					defer close(released)
					switch direction {
					case "up":
						_, _ = r.Body.Read(make([]byte, 1))
						close(inFlight)
						_, _ = io.Copy(io.Discard, r.Body)
					case "down":
						close(inFlight)
						for r.Context().Err() == nil { // until every buffer on the way is full, and beyond
							_, _ = w.Write(make([]byte, 1<<16))
						}
					default:
						close(inFlight)
					}
					<-r.Context().Done()
				}))
				var body io.Reader
				pr, pw := io.Pipe()
				if direction == "up" {
					go func() { _, _ = io.WriteString(pw, "x") }()
					body = pr
				}
				failed := make(chan error, 1)
				held := make(chan *http.Response, 1)
				go func() {
					res, err := s.client(http2).Do(s.request("REPORT", "/x", body))
					if err == nil {
						held <- res
						return
					}
					failed <- err
				}()
				<-inFlight
				var res *http.Response
				if direction == "down" {
					res = <-held // and read nothing, so that the door's write stands still
				}
				stood := redistest.Standstill(t)
				began, before := time.Now(), stood()
				if n := s.live.Cut(func(proxy.Open) bool { return true }, proxy.ErrRevoked); n != 1 {
					t.Fatalf("%d sessions were cut, want 1", n)
				}
				<-released
				_ = pw.Close() // the client library waits for its body
				var err error
				if res != nil {
					_, err = io.Copy(io.Discard, res.Body)
					_ = res.Body.Close()
				} else {
					err = <-failed
				}
				if took := time.Since(began) - (stood() - before); err == nil || took > time.Second {
					t.Errorf("the client got %v after %v, want an error within a second", err, took)
				}
				s.door.sessions.telling.Wait()
				if ended := s.auth.EndedCalls(); len(ended) != 1 || ended[0].Cause != "revoked" {
					t.Errorf("ended %+v", ended)
				}
			})
		}
	}
}

func TestCutClosesIdleConnections(t *testing.T) {
	s := start(t, &recorder{})
	mine, others := s.dial(), s.dial()
	mine.send("PROPFIND / HTTP/1.1", basic)
	_, _ = io.Copy(io.Discard, mine.response().Body)
	others.send("GET /.well-known/caldav HTTP/1.1")
	_, _ = io.Copy(io.Discard, others.response().Body)
	s.live.Cut(func(proxy.Open) bool { return true }, proxy.ErrRevoked)
	if _, err := mine.r.ReadByte(); err == nil {
		t.Error("the session's connection is open")
	}
	others.send("GET /.well-known/caldav HTTP/1.1")
	if res := others.response(); res.StatusCode != 301 {
		t.Errorf("another connection: status %d", res.StatusCode)
	}
}

func TestClosedConnectionsAreForgotten(t *testing.T) {
	s := start(t, &recorder{})
	c := s.dial()
	c.send("PROPFIND / HTTP/1.1", basic, "Connection: close")
	_, _ = io.Copy(io.Discard, c.response().Body)
	_, _ = io.Copy(io.Discard, c) // until the door has closed it
	_ = c.Close()
	l := s.door.sessions.all()[0]
	deadline := time.Now().Add(20 * time.Second)
	for held := 1; held > 0; time.Sleep(time.Millisecond) {
		l.mu.Lock()
		held = len(l.conns)
		l.mu.Unlock()
		if time.Now().After(deadline) {
			t.Fatal("the session still holds a connection that is closed")
		}
	}
}

// After a cut nothing is remembered: the next request is judged anew.
func TestAfterACut(t *testing.T) {
	s := start(t, &recorder{})
	c := s.client(true)
	s.do(c, s.request("PROPFIND", "/", nil))
	s.live.Cut(func(proxy.Open) bool { return true }, proxy.ErrRevoked)
	s.do(c, s.request("PROPFIND", "/", nil))
	if n := len(s.auth.Judged()); n != 2 {
		t.Errorf("judged %d times, want 2", n)
	}
}

func TestIdleSessionsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		auth, registry := proxytest.NewAuthenticator(), proxy.NewLive()
		defer registry.Close()
		d := New(Options{Auth: auth, Live: registry})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); d.Run(ctx) }()
		u := &use{conn: &conn{}, http1: true, cancel: func(error) {}}
		if r := d.sessions.enter(ctx, authcore.Attempt{}, authcore.Decision{Session: sitting}, u); r != authcore.Allowed {
			t.Fatalf("enter: %s", r)
		}
		time.Sleep(time.Hour) // in flight: never idle
		d.sessions.leave(u)
		time.Sleep(14 * time.Minute)
		if n := registry.Len(); n != 1 {
			t.Errorf("after 14 minutes %d sessions", n)
		}
		time.Sleep(2 * time.Minute)
		if ended := auth.EndedCalls(); registry.Len() != 0 || len(ended) != 1 || ended[0].Cause != "idle" {
			t.Errorf("after 16 minutes %d sessions, ended %+v", registry.Len(), ended)
		}
		cancel()
		<-done
	})
}

func TestEndCountsOctets(t *testing.T) {
	s := start(t, &recorder{})
	s.do(s.client(false), s.request("PUT", "/x", strings.NewReader("twelve bytes")))
	counts(t, s, "latchkey_proxy_sessions_open caldav", 1)
	s.door.sessions.endAll(proxy.ErrDrain)
	s.door.sessions.telling.Wait()
	counts(t, s, "latchkey_proxy_sessions_open caldav", 0)
	counts(t, s, "latchkey_proxy_sessions_total drain caldav", 1)
	counts(t, s, "latchkey_proxy_relayed_bytes_total from_client caldav", 12)
	counts(t, s, "latchkey_proxy_relayed_bytes_total from_upstream caldav", 6)
	ended := s.auth.EndedCalls()
	if len(ended) != 1 || ended[0].End != (authcore.End{Cause: "drain", Established: true, FromClient: 12, FromUpstream: 6}) {
		t.Errorf("ended %+v", ended)
	}
}

// counts compares a metric: its name, then the values of its labels in the order of their names.
func counts(t *testing.T, s *scene, metric string, want float64) {
	t.Helper()
	families, err := s.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			if name == metric {
				if got := m.GetCounter().GetValue() + m.GetGauge().GetValue(); got != want {
					t.Errorf("%s: got %v, want %v", metric, got, want)
				}
				return
			}
		}
	}
	t.Errorf("there is no %s", metric)
}
