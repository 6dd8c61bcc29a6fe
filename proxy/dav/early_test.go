package dav

import (
	"io"
	"net/http"
	"strings"
	"testing"
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
