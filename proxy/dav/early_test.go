package dav

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"latchkey/proxy/proxytest"
)

// An answer that comes before the request has ended ends the connection, and says so: a program that keeps it for the
// next request would find it closed.
func TestEarlyAnswerEndsTheConnection(t *testing.T) {
	s := start(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }))
	c := s.dial()
	c.send("PUT /"+member+"/a HTTP/1.1", basic, "Content-Length: 4000000")
	if _, err := io.WriteString(c, strings.Repeat("a", 1000)); err != nil {
		t.Fatal(err)
	}
	res := c.response()
	defer res.Body.Close()
	if res.StatusCode != http.StatusForbidden || !res.Close {
		t.Errorf("got %s, close %v; want 403 and the end of the connection", res.Status, res.Close)
	}
}

// What is left of a request whose answer came early is never the next request, however it looks: not when the upstream is
// down, nor when it wants to see credentials, nor when it answers at once.
func TestWhatIsLeftIsNoRequest(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*scene)
		status int
	}{
		"down":                 {func(s *scene) { s.upstream.base.Host = proxytest.Refusing(s.t) }, 503},
		"asks for credentials": {func(s *scene) { s.upstream.base.Host = speaks(s.t, "HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n") }, 503},
		"answers":              {func(s *scene) { s.upstream.base.Host = speaks(s.t, "HTTP/1.1 409 No\r\nContent-Length: 0\r\n\r\n") }, 409},
	} {
		for _, size := range []string{"Content-Length: 90000", "Transfer-Encoding: chunked"} {
			t.Run(name+" "+size, func(t *testing.T) {
				t.Parallel()
				s := start(t, &recorder{}, tt.change, func(s *scene) { s.stall = 4 * time.Second }) // the upstream has its time, too
				c := s.dial()
				c.send("PUT /"+member+"/a HTTP/1.1", basic, size)
				res := c.response()
				if res.StatusCode != tt.status || !res.Close {
					t.Errorf("got %s, close %v; want %d and the end of the connection", res.Status, res.Close, tt.status)
				}
				_, _ = io.Copy(io.Discard, res.Body)
				_ = c.SetReadDeadline(time.Now().Add(s.stall))
				_, _ = c.r.Peek(1) // until nobody waits for the rest
				_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
				_, _ = io.WriteString(c, "GET /.well-known/caldav HTTP/1.1\r\nHost: "+host+"\r\n\r\n")
				if rest, _ := io.ReadAll(c.r); len(rest) > 0 {
					t.Errorf("it was taken for a request: %.100q", rest)
				}
			})
		}
	}
}

// An answer to another member is nobody's: what an upstream says unasked on a connection that is kept ends it.
func TestUpstreamThatSpeaksUnasked(t *testing.T) {
	s := start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_, _ = rw.WriteString("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n" + r.URL.Path[1:5] + "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nvictim")
		_ = rw.Flush()
		_, _ = conn.Read(make([]byte, 1))
	}))
	c := s.client(false)
	for _, path := range []string{"/one.", "/two."} {
		if _, text := s.do(c, s.request("GET", path, nil)); text != path[1:] {
			t.Errorf("%s: got %q", path, text)
		}
	}
}

// One member cannot hold every connection to the upstream: past his bound he hears 429, and others go on.
func TestRequestsInFlightOfOneMember(t *testing.T) {
	s := newSessions(Options{})
	for range maxFlying {
		if !s.board("one") {
			t.Fatal("refused below the bound")
		}
	}
	if s.board("one") {
		t.Error("one more than the bound")
	}
	if !s.board("other") {
		t.Error("another member is refused")
	}
	s.alight("one")
	if !s.board("one") {
		t.Error("refused after a request has ended")
	}
	for _, id := range []string{"one", "other"} {
		for s.flying[id] > 0 {
			s.alight(id)
		}
	}
	if len(s.flying) != 0 {
		t.Errorf("%v is kept", s.flying)
	}
}
