package dav

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// Who is refused holds the connection no longer for a body that does not come, and hears why.
func TestStalledAtTheDoor(t *testing.T) {
	for name, tt := range map[string]struct {
		lines  []string
		status int
	}{
		"no credentials":    {[]string{"PUT /x HTTP/1.1", "Content-Length: 1000"}, 401},
		"wrong credentials": {[]string{"PUT /x HTTP/1.1", "Authorization: Basic bTpi", "Content-Length: 1000"}, 401},
		"chunked":           {[]string{"PUT /x HTTP/1.1", "Transfer-Encoding: chunked"}, 401},
		"well known":        {[]string{"PUT /.well-known/caldav HTTP/1.1", "Content-Length: 1000"}, 301},
		"bad path":          {[]string{"PUT /../x HTTP/1.1", basic, "Content-Length: 1000"}, 400},
		"TRACE":             {[]string{"TRACE /x HTTP/1.1", basic, "Content-Length: 1000"}, 405},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, &recorder{}, func(s *scene) { s.stall = 400 * time.Millisecond })
			c := s.dial()
			_ = c.SetDeadline(time.Now().Add(10 * time.Second))
			c.send(tt.lines...)
			_, _ = io.WriteString(c, "1") // the beginning; a closed connection shows below
			if res := c.response(); res.StatusCode != tt.status {
				t.Errorf("status %d, want %d", res.StatusCode, tt.status)
			}
			if _, err := io.ReadAll(c.r); err != nil {
				t.Errorf("the connection is not ended: %v", err)
			}
		})
	}
}

// counted is a way that counts what goes it.
type counted struct {
	*fakeUpstream
	trips atomic.Int32
}

func (c *counted) RoundTrip(r *http.Request) (*http.Response, error) {
	c.trips.Add(1)
	return c.fakeUpstream.RoundTrip(r)
}

// What HTTP/2 lets into its fields makes no other request upstream.
func TestNothingIsSmuggledFromHTTP2(t *testing.T) {
	for name, tt := range map[string]struct {
		fields [][2]string
		passes bool
	}{
		"a path":              {[][2]string{{":path", "/good"}}, true},
		"blank in the path":   {[][2]string{{":path", "/a HTTP/1.0"}}, false},
		"blank in the query":  {[][2]string{{":path", "/a?b HTTP/1.0"}}, false},
		"tab in the path":     {[][2]string{{":path", "/a\tb"}}, false},
		"line in the path":    {[][2]string{{":path", "/a\r\nX-Member: v"}}, false},
		"line in the query":   {[][2]string{{":path", "/a?b\r\nX-Member: v"}}, false},
		"other form":          {[][2]string{{":path", "https://v/a b"}}, false},
		"no slash":            {[][2]string{{":path", "a"}}, false},
		"line in a value":     {[][2]string{{":path", "/"}, {"x", "y\r\nX-Member: v"}}, false},
		"LF in a value":       {[][2]string{{":path", "/"}, {"x", "y\nX-Member: v"}}, false},
		"line in a name":      {[][2]string{{":path", "/"}, {"x: y\r\nx-member", "v"}}, false},
		"colon in a name":     {[][2]string{{":path", "/"}, {"x-member:", "v"}}, false},
		"blank in a name":     {[][2]string{{":path", "/"}, {"x-member ", "v"}}, false},
		"transfer-encoding":   {[][2]string{{":path", "/"}, {"transfer-encoding", "chunked"}}, false},
		"blank in the method": {[][2]string{{":method", "GET /v"}, {":path", "/"}}, false},
		"line in the method":  {[][2]string{{":method", "GET / HTTP/1.1\r\nX-Member: v\r\n\r\nGET"}, {":path", "/"}}, false},
		"line in the host":    {[][2]string{{":authority", "h\r\nX-Member: v"}, {":path", "/"}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			way := &counted{}
			s := start(t, &recorder{}, func(s *scene) { way.fakeUpstream, s.way = s.upstream, way })
			got := s.http2(tt.fields...)
			if went := way.trips.Load() > 0; went != tt.passes {
				t.Errorf("it went upstream: %v, want %v; the answer is %s", went, tt.passes, got)
			}
		})
	}
}

// http2 sends one request of member's with these fields, as no client library would, and answers what came of it.
func (s *scene) http2(fields ...[2]string) string {
	s.t.Helper()
	cfg := s.ca.Client(host)
	cfg.NextProtos = []string{"h2"}
	c, err := tls.Dial("tcp", s.addr, cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(c, http2.ClientPreface); err != nil {
		s.t.Fatal(err)
	}
	f := http2.NewFramer(c, c)
	_ = f.WriteSettings() // errors show in the answer
	_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block(fields), EndStream: true, EndHeaders: true})
	return answer(f)
}

// block encodes what the test gives, and what it leaves out of a request of member's.
func block(fields [][2]string) []byte {
	given := map[string]bool{}
	for _, h := range fields {
		given[h[0]] = true
	}
	var all [][2]string
	for _, h := range [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", host}} {
		if !given[h[0]] {
			all = append(all, h)
		}
	}
	all = append(append(all, fields...), [2]string{"authorization", strings.TrimPrefix(basic, "Authorization: ")})
	var b bytes.Buffer
	e := hpack.NewEncoder(&b)
	for _, h := range all {
		_ = e.WriteField(hpack.HeaderField{Name: h[0], Value: h[1]}) // into memory
	}
	return b.Bytes()
}

func answer(f *http2.Framer) string {
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			return err.Error()
		}
		switch frame := frame.(type) {
		case *http2.RSTStreamFrame, *http2.GoAwayFrame:
			return fmt.Sprint(frame)
		case *http2.HeadersFrame:
			fields, err := hpack.NewDecoder(4096, nil).DecodeFull(frame.HeaderBlockFragment())
			return fmt.Sprint(fields, err)
		}
	}
}
