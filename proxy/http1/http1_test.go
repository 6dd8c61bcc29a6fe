package http1

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/proxy/proxytest"
)

// counting counts writes.
type counting struct {
	net.Conn
	writes *atomic.Int32
}

func (c counting) Write(p []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(p)
}

// Every request arrives as it was asked, and a short one in one write.
func TestRequestsAsWritten(t *testing.T) {
	long := strings.Repeat("x", 100_000)
	for _, tt := range []struct {
		name   string
		make   func() *http.Request
		lines  []string // sorted
		body   string
		once   bool // it leaves in one write
		chunks bool
	}{
		{"no body", func() *http.Request { return request(t, "PROPFIND", "/a%2Fb?c", nil) }, []string{"Host: host.example", "PROPFIND /a%2Fb?c HTTP/1.1"}, "", true, false},
		{"raw target", func() *http.Request {
			r := request(t, "GET", "/", nil)
			r.URL.Opaque, r.URL.RawQuery = "/a|b\xe4;'c", "d=\"e"
			return r
		}, []string{"GET /a|b\xe4;'c?d=\"e HTTP/1.1", "Host: host.example"}, "", true, false},
		{"fields", func() *http.Request {
			r := request(t, "GET", "/", nil)
			r.Header = http.Header{"X-A": {"1", "2"}, "User-Agent": {""}, "Depth": {"0"}, "X-Latin": {"\xe4 \t"}}
			return r
		}, []string{"Depth: 0", "GET / HTTP/1.1", "Host: host.example", "X-A: 1", "X-A: 2", "X-Latin: \xe4 \t"}, "", true, false},
		{"short body", func() *http.Request { return request(t, "REPORT", "/", strings.NewReader("body")) }, []string{"Content-Length: 4", "Host: host.example", "REPORT / HTTP/1.1"}, "body", true, false},
		{"long body", func() *http.Request { return request(t, "PUT", "/", strings.NewReader(long)) }, []string{"Content-Length: 100000", "Host: host.example", "PUT / HTTP/1.1"}, long, false, false},
		{"empty PUT", func() *http.Request { return request(t, "PUT", "/", nil) }, []string{"Content-Length: 0", "Host: host.example", "PUT / HTTP/1.1"}, "", true, false},
		{"unknown length", func() *http.Request { return request(t, "PUT", "/", io.MultiReader(strings.NewReader(long))) }, []string{"Host: host.example", "PUT / HTTP/1.1", "Transfer-Encoding: chunked"}, long, false, true},
		{"unknown and none", func() *http.Request { return request(t, "PROPFIND", "/", io.MultiReader()) }, []string{"Host: host.example", "PROPFIND / HTTP/1.1"}, "", true, false},
		{"unknown and empty", func() *http.Request { return request(t, "POST", "/", io.MultiReader()) }, []string{"Host: host.example", "POST / HTTP/1.1", "Transfer-Encoding: chunked"}, "", false, true},
		{"unknown in a PROPFIND", func() *http.Request { return request(t, "PROPFIND", "/", io.MultiReader(strings.NewReader(long))) }, []string{"Host: host.example", "PROPFIND / HTTP/1.1", "Transfer-Encoding: chunked"}, long, false, true},
		{"closing", func() *http.Request {
			r := request(t, "GET", "/", nil)
			r.Close = true
			return r
		}, []string{"Connection: close", "GET / HTTP/1.1", "Host: host.example"}, "", true, false},
		{"framing is ours", func() *http.Request {
			r := request(t, "PUT", "/", strings.NewReader("body"))
			r.Header = http.Header{
				"Content-Length": {"9"}, "content-length": {"9"}, "Transfer-Encoding": {"chunked"}, "transfer-encoding": {"chunked"},
				"Connection": {"close"}, "Trailer": {"X"}, "Upgrade": {"h2c"}, "Host": {"other"}, "host": {"other"}, "Keep-Alive": {"1"},
			}
			return r
		}, []string{"Content-Length: 4", "Host: host.example", "PUT / HTTP/1.1"}, "body", true, false},
		{"trailers", func() *http.Request {
			r := request(t, "PUT", "/", strings.NewReader("body"))
			r.Trailer = http.Header{"X-Sum": {"1"}, "Content-Length": {"9"}}
			return r
		}, []string{"Host: host.example", "PUT / HTTP/1.1", "Trailer: X-Sum", "Transfer-Encoding: chunked"}, "body", false, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			head, got := make(chan string, 1), make(chan *http.Request, 1)
			var body string
			s := serve(t, func(_ int, p *peer) {
				var text strings.Builder
				p.r = bufio.NewReader(io.TeeReader(p.Conn, &text))
				r, all := p.request()
				body = all
				top, _, _ := strings.Cut(text.String(), "\r\n\r\n")
				head <- top
				got <- r
				p.say(ok)
				p.gone()
			})
			var writes atomic.Int32
			w := s.way(func(o *Options) {
				dial := o.Dial
				o.Dial = func(ctx context.Context) (net.Conn, error) {
					c, err := dial(ctx)
					return counting{c, &writes}, err
				}
			})
			r := tt.make()
			res, err := w.RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, res.Body)
			lines := strings.Split(<-head, "\r\n")
			slices.Sort(lines)
			if !reflect.DeepEqual(lines, tt.lines) {
				t.Errorf("the head is %q, want %q", lines, tt.lines)
			}
			arrived := <-got
			if arrived == nil || body != tt.body || (len(arrived.TransferEncoding) > 0) != tt.chunks {
				t.Errorf("the body has %d octets, want %d; %v", len(body), len(tt.body), arrived)
			}
			if tt.name == "trailers" && !reflect.DeepEqual(arrived.Trailer, http.Header{"X-Sum": {"1"}}) {
				t.Errorf("trailers %v", arrived.Trailer)
			}
			if n := writes.Load(); tt.once && n != 1 {
				t.Errorf("it left in %d writes", n)
			}
		})
	}
}

// What would be two requests, or another, is not sent at all.
func TestRefusedBeforeItIsSent(t *testing.T) {
	s := serve(t, func(_ int, p *peer) { p.gone() })
	w := s.way()
	for name, change := range map[string]func(*http.Request){
		"blank in the method":    func(r *http.Request) { r.Method = "GET /victim" },
		"line in the method":     func(r *http.Request) { r.Method = "GET / HTTP/1.1\r\n\r\nGET" },
		"no method":              func(r *http.Request) { r.Method = "" },
		"blank in the target":    func(r *http.Request) { r.URL.Opaque = "/ HTTP/1.1" },
		"line in the target":     func(r *http.Request) { r.URL.Opaque = "/ HTTP/1.1\r\nX: y" },
		"LF in the query":        func(r *http.Request) { r.URL.RawQuery = "a\nb" },
		"NUL in the target":      func(r *http.Request) { r.URL.Opaque = "/\x00" },
		"absolute target":        func(r *http.Request) { r.URL.Opaque = "http://victim/" },
		"target of a proxy":      func(r *http.Request) { r.URL.Opaque = "//victim/" },
		"asterisk":               func(r *http.Request) { r.URL.Opaque = "*" },
		"no host":                func(r *http.Request) { r.Host = "" },
		"line in the host":       func(r *http.Request) { r.Host = "a\r\nX: y" },
		"blank in the host":      func(r *http.Request) { r.Host = "a b" },
		"CR in a value":          func(r *http.Request) { r.Header["X"] = []string{"a\rb"} },
		"LF in a value":          func(r *http.Request) { r.Header["X"] = []string{"a\nb"} },
		"line in a value":        func(r *http.Request) { r.Header["X"] = []string{"ok", "a\r\nX-Member: victim"} },
		"NUL in a value":         func(r *http.Request) { r.Header["X"] = []string{"a\x00b"} },
		"line in a name":         func(r *http.Request) { r.Header["X: y\r\nX-Member"] = []string{"victim"} },
		"colon in a name":        func(r *http.Request) { r.Header["X:"] = []string{"y"} },
		"blank in a name":        func(r *http.Request) { r.Header["Content-Length "] = []string{"9"} },
		"empty name":             func(r *http.Request) { r.Header[""] = []string{"y"} },
		"body that is too short": func(r *http.Request) { r.ContentLength = 99 },
	} {
		t.Run(name, func(t *testing.T) {
			b := watch(strings.NewReader("body"))
			r := request(t, "PUT", "/", b)
			r.ContentLength = 4
			change(r)
			if got, err := ask(t, w, r); err == nil {
				t.Errorf("it got %q", got)
			}
			b.wantClosed(t)
		})
	}
	if n := s.conns.Load(); n != 0 {
		t.Errorf("%d connections were made", n)
	}
}

// answers are what servers say to one request, and what becomes of it. again: the connection takes another request.
var answers = []struct {
	name, method, raw string
	want              string // empty: an error
	again             bool
}{
	{"length", "GET", ok, "200 ok", true},
	{"chunks", "GET", "HTTP/1.1 207 M\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n3;x=y\r\ncde\r\n0\r\n\r\n", "207 abcde", true},
	{"chunks and trailers", "GET", "HTTP/1.1 200 K\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nX-Sum: 1\r\n\r\n", "200 ab", true},
	{"chunks beat length", "GET", "HTTP/1.1 200 K\r\nTransfer-Encoding: chunked\r\nContent-Length: 50\r\n\r\n2\r\nab\r\n0\r\n\r\n", "200 ab", false},
	{"nothing", "GET", "HTTP/1.1 200 K\r\nContent-Length: 0\r\n\r\n", "200 ", true},
	{"HEAD", "HEAD", "HTTP/1.1 200 K\r\nContent-Length: 50\r\n\r\n", "200 ", false},
	{"HEAD with chunks", "HEAD", "HTTP/1.1 200 K\r\nTransfer-Encoding: chunked\r\n\r\n", "200 ", false},
	{"204", "PUT", "HTTP/1.1 204 N\r\n\r\n", "204 ", true},
	{"304", "GET", "HTTP/1.1 304 N\r\n\r\n", "304 ", true},
	{"304 with a length", "GET", "HTTP/1.1 304 N\r\nContent-Length: 50\r\n\r\n", "304 ", false},
	{"informational", "GET", "HTTP/1.1 103 E\r\nLink: a\r\n\r\nHTTP/1.1 102 P\r\n\r\n" + ok, "200 ok", true},
	{"100 unasked", "GET", "HTTP/1.1 100 C\r\n\r\nHTTP/1.1 100 C\r\n\r\n" + ok, "200 ok", true},
	{"until the end", "GET", "HTTP/1.1 200 K\r\n\r\nall", "200 all", false},
	{"last one", "GET", "HTTP/1.1 200 K\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", "200 ok", false},
	{"HTTP/1.0", "GET", "HTTP/1.0 200 K\r\nContent-Length: 2\r\n\r\nok", "200 ok", false},
	{"one octet more", "GET", ok + "x", "200 ok", false},
	{"a second answer", "GET", ok + ok, "200 ok", false},
	{"a body after HEAD", "HEAD", ok, "200 ", false},
	{"a body after 204", "GET", "HTTP/1.1 204 N\r\nContent-Length: 2\r\n\r\nok", "204 ", false},
	{"a body after 304", "GET", "HTTP/1.1 304 N\r\nContent-Length: 2\r\n\r\nok", "304 ", false},
	{"more than the chunks", "GET", "HTTP/1.1 200 K\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nx", "200 ", false},
	{"cut length", "GET", "HTTP/1.1 200 K\r\nContent-Length: 3\r\n\r\nok", "", false},
	{"cut chunks", "GET", "HTTP/1.1 200 K\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", "", false},
	{"no last chunk", "GET", "HTTP/1.1 200 K\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n", "", false},
	{"bad chunk", "GET", "HTTP/1.1 200 K\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nab\r\n0\r\n\r\n", "", false},
	{"cut head", "GET", "HTTP/1.1 200 K\r\nContent-Le", "", false},
	{"two lengths", "GET", "HTTP/1.1 200 K\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nokk", "", false},
	{"bad length", "GET", "HTTP/1.1 200 K\r\nContent-Length: -1\r\n\r\nok", "", false},
	{"other coding", "GET", "HTTP/1.1 200 K\r\nTransfer-Encoding: gzip\r\n\r\nok", "", false},
	{"a length with a blank", "GET", "HTTP/1.1 200 K\r\nContent-Length : 1\r\n\r\nok", "200 ok", false},
	{"another protocol", "GET", "220 smtp.example\r\n", "", false},
	{"HTTP/2", "GET", "HTTP/2.0 200 K\r\nContent-Length: 2\r\n\r\nok", "", false},
	{"upgrade", "GET", "HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n" + ok, "", false},
	{"nothing at all", "PUT", "", "", false},
	{"endless head", "GET", "HTTP/1.1 200 K\r\nX: " + strings.Repeat("x", 70<<10) + "\r\n\r\n", "", false},
	{"endless information", "GET", strings.Repeat("HTTP/1.1 103 E\r\nLink: "+strings.Repeat("a", 1000)+"\r\n\r\n", 80) + ok, "", false},
}

func TestAnswers(t *testing.T) {
	for _, tt := range answers {
		t.Run(tt.name, func(t *testing.T) {
			s := serve(t, func(n int, p *peer) {
				if r, _ := p.request(); r == nil {
					return
				}
				if n > 1 {
					p.say(ok)
					p.gone()
					return
				}
				p.say(tt.raw)
				if tt.want == "" || tt.name == "until the end" || tt.name == "a length with a blank" {
					_ = p.Conn.(*net.TCPConn).CloseWrite()
				}
				if r, _ := p.request(); r != nil {
					p.say("HTTP/1.1 201 C\r\nContent-Length: 0\r\n\r\n")
				}
				p.gone()
			})
			w := s.way()
			if tt.want == "" {
				if got, err := ask(t, w, request(t, tt.method, "/", nil)); err == nil {
					t.Errorf("it got %q", got)
				}
			} else {
				want(t, w, request(t, tt.method, "/", nil), tt.want)
			}
			next := "200 ok"
			if tt.again {
				next = "201 "
			}
			want(t, w, request(t, "PUT", "/", nil), next)
			settled(t, w)
		})
	}
}

// Trailers and informational answers come as the server sent them.
func TestTrailersAndInformation(t *testing.T) {
	s := serve(t, func(_ int, p *peer) {
		p.request()
		p.say("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-Sum: 1\r\nX-More: 2\r\n\r\n")
		p.gone()
	})
	var told []string
	r := request(t, "GET", "/", nil)
	r = r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{
		Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
			told = append(told, fmt.Sprint(code, h))
			return nil
		},
	}))
	res, err := s.way().RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(res.Trailer, http.Header{"X-Sum": nil}) {
		t.Errorf("announced %v", res.Trailer)
	}
	_, _ = io.Copy(io.Discard, res.Body)
	if !reflect.DeepEqual(res.Trailer, http.Header{"X-Sum": {"1"}, "X-More": {"2"}}) || !reflect.DeepEqual(told, []string{"103 map[Link:[</a>]]"}) {
		t.Errorf("trailers %v, told %q", res.Trailer, told)
	}
}

// Trailers do not frame, authenticate or redirect, announced or not: RFC 9110 section 6.5.1.
func TestTrailersThatMustNotBe(t *testing.T) {
	s := serve(t, func(_ int, p *peer) {
		p.request()
		p.say("HTTP/1.1 200 OK\r\nTrailer: X-Sum, Authorization\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-Sum: 1\r\nAuthorization: x\r\n" +
			"Content-Length: 5\r\nTransfer-Encoding: chunked\r\nHost: x\r\nConnection: close\r\nSet-Cookie: a=b\r\nLocation: /\r\n\r\n")
		p.gone()
	})
	res, err := s.way().RoundTrip(request(t, "GET", "/", nil))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(res.Trailer, http.Header{"X-Sum": nil}) {
		t.Errorf("announced %v", res.Trailer)
	}
	_, _ = io.Copy(io.Discard, res.Body)
	if !reflect.DeepEqual(res.Trailer, http.Header{"X-Sum": {"1"}}) {
		t.Errorf("trailers %v", res.Trailer)
	}
}

// An answer that tells its end twice is read by its chunks, without the length, and is the last of its connection. One whose
// head comes in pieces may have done so.
func TestToldTwice(t *testing.T) {
	for _, heads := range [][]string{
		{"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n"},
		{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\ncontent-LENGTH: 2\r\n\r\n"},
		{"HTTP/1.1 103 Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n"},
		{"HTTP/1.1 200 OK\r\nContent-Len", "gth: 2\r\nTransfer-Encoding: chunked\r\n\r\n"},
	} {
		s := serve(t, func(_ int, p *peer) {
			if r, _ := p.request(); r == nil {
				return
			}
			for i, h := range heads {
				if i > 0 {
					time.Sleep(20 * time.Millisecond) // lets them come in pieces
				}
				p.say(h)
			}
			p.say("2\r\nok\r\n0\r\n\r\n")
			if r, _ := p.request(); r != nil {
				t.Errorf("%q: another request comes over the connection", heads)
			}
		})
		w := s.way()
		for range 2 {
			res, err := w.RoundTrip(request(t, "GET", "/", nil))
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(res.Body)
			if told := res.Header["Content-Length"]; string(body) != "ok" || err != nil || told != nil {
				t.Errorf("%q, %v; the length is told as %q", body, err, told)
			}
		}
	}
}

// A connection on which something came while nobody had asked anything is not used: it would answer the next request, of
// another member.
func TestUnaskedWordsAnswerNobody(t *testing.T) {
	kept := make(chan struct{})
	s := serve(t, func(n int, p *peer) {
		p.request()
		p.say(ok)
		if n == 1 {
			<-kept
			p.say("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nvictim")
		}
		p.gone()
	})
	w := s.way()
	want(t, w, request(t, "GET", "/", nil), "200 ok")
	close(kept)
	arrived(t, w)
	want(t, w, request(t, "GET", "/", nil), "200 ok")
}

// TLS may hold what was said unasked: it came in one record with the answer, or together with it, and is in no socket.
func TestUnaskedWordsWithinTLS(t *testing.T) {
	ca := proxytest.NewCA(t)
	for name, oneRecord := range map[string]bool{"one record": true, "many": false} {
		t.Run(name, func(t *testing.T) {
			config := ca.Server(t, "localhost")
			config.DynamicRecordSizingDisabled = oneRecord
			long := strings.Repeat("x", 12_000)
			s := serveOn(t, "tcp", "127.0.0.1:0", func(c net.Conn) net.Conn { return tls.Server(c, config) }, func(_ int, p *peer) {
				p.request()
				p.say("HTTP/1.1 200 OK\r\nContent-Length: 12000\r\n\r\n" + long + "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nvictim")
				p.gone()
			})
			w := s.way(func(o *Options) {
				dial := o.Dial
				o.Dial = func(ctx context.Context) (net.Conn, error) {
					c, err := dial(ctx)
					if err != nil {
						return nil, err
					}
					t := tls.Client(c, ca.Client("localhost"))
					return t, t.HandshakeContext(ctx)
				}
			})
			for range 2 {
				res, err := w.RoundTrip(request(t, "GET", "/", nil))
				if err != nil {
					t.Fatal(err)
				}
				body := make([]byte, 32<<10)
				n, err := io.ReadFull(res.Body, body) // not by the reader's buffer
				if string(body[:n]) != long || !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Errorf("the answer is %.20q, %v", body[:n], err)
				}
				_ = res.Body.Close()
			}
		})
	}
}

// A body where none may be, and late, is no answer to the next request.
func TestBodyThatMustNotBe(t *testing.T) {
	for _, tt := range []struct{ method, head, answer string }{
		{"HEAD", "200 OK\r\nContent-Length: 44", "200 "},
		{"HEAD", "200 OK\r\nTransfer-Encoding: chunked", "200 "},
		{"HEAD", "200 OK", "200 "},
		{"PUT", "204 No\r\nContent-Length: 44", "204 "},
		{"PUT", "204 No\r\nTransfer-Encoding: chunked", "204 "},
		{"GET", "304 No\r\nContent-Length: 44", "304 "},
	} {
		s := serve(t, func(_ int, p *peer) {
			r, _ := p.request()
			if r == nil {
				return
			}
			if r.URL.Path == "/first" {
				p.say("HTTP/1.1 " + tt.head + "\r\n\r\n")
				if r, _ = p.request(); r == nil { // the next one is on its way before the body
					return
				}
				p.say("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nvictim")
			}
			p.say(ok)
			p.gone()
		})
		w := s.way()
		want(t, w, request(t, tt.method, "/first", nil), tt.answer)
		want(t, w, request(t, "GET", "/", nil), "200 ok")
	}
}

// A kept connection that the server has closed costs no request, not even one that must not be repeated.
func TestClosedWhileKept(t *testing.T) {
	s := serve(t, func(_ int, p *peer) {
		p.request()
		p.say(ok)
	})
	w := s.way()
	for range 3 {
		want(t, w, request(t, "PUT", "/", nil), "200 ok")
		arrived(t, w) // the end
	}
}

// A server that closes at the very moment sees a safe request once more, and no other.
func TestRepeated(t *testing.T) {
	for _, tt := range []struct {
		method string
		body   io.Reader
		asked  int // how often the second request arrives
	}{
		{"GET", nil, 2},
		{"PROPFIND", strings.NewReader("<propfind/>"), 2},
		{"REPORT", strings.NewReader("<report/>"), 2},
		{"REPORT", strings.NewReader(strings.Repeat("x", 100_000)), 1}, // which was read
		{"PUT", strings.NewReader("body"), 1},
		{"DELETE", nil, 1},
		{"POST", nil, 1},
		{"MOVE", nil, 1},
		{"LOCK", nil, 1},
		{"PROPPATCH", strings.NewReader("x"), 1},
	} {
		t.Run(tt.method, func(t *testing.T) {
			var asked atomic.Int32
			s := serve(t, func(n int, p *peer) {
				for i := 0; ; i++ {
					r, _ := p.request()
					if r == nil {
						return
					}
					if r.URL.Path == "/second" {
						asked.Add(1)
						if n == 1 {
							return
						}
					}
					p.say(ok)
				}
			})
			w := s.way()
			want(t, w, request(t, "GET", "/first", nil), "200 ok")
			got, err := ask(t, w, request(t, tt.method, "/second", tt.body))
			if n := int(asked.Load()); n != tt.asked || (err == nil) != (tt.asked == 2) {
				t.Errorf("asked %d times, want %d; answer %q, %v", n, tt.asked, got, err)
			}
			settled(t, w)
		})
	}
}

// A new connection that fails is not tried twice: the server may have seen the request.
func TestNewConnectionIsNotRepeated(t *testing.T) {
	s := serve(t, func(_ int, p *peer) { p.request() })
	if got, err := ask(t, s.way(), request(t, "GET", "/", nil)); err == nil || s.conns.Load() != 1 {
		t.Errorf("answer %q, %v after %d connections", got, err, s.conns.Load())
	}
}

// An answer may come while the body is on its way. The connection is not used again, and the body is let go.
func TestEarlyAnswer(t *testing.T) {
	s := serve(t, func(_ int, p *peer) {
		p.head()
		p.say("HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno")
		p.gone()
	})
	w := s.way()
	for range 2 {
		pr, pw := io.Pipe()
		b := watch(pr)
		r := request(t, "PUT", "/", b)
		r.ContentLength = 1 << 30
		go func() {
			for {
				if _, err := pw.Write(make([]byte, 1<<16)); err != nil {
					return
				}
			}
		}()
		want(t, w, r, "403 no")
		b.wantClosed(t)
		_ = pr.Close()
	}
	if n := s.conns.Load(); n != 2 {
		t.Errorf("%d connections, want a new one each", n)
	}
}

// Both directions flow at once.
func TestBothWaysAtOnce(t *testing.T) {
	s := serve(t, func(_ int, p *peer) {
		for p.echo() {
		}
	})
	w := s.way()
	for range 2 {
		pr, pw := io.Pipe()
		res, err := w.RoundTrip(request(t, "POST", "/", pr))
		if err != nil {
			t.Fatal(err)
		}
		for i := range 5 {
			piece := fmt.Sprint("piece ", i)
			_, _ = io.WriteString(pw, piece)
			got := make([]byte, len(piece))
			if _, err := io.ReadFull(res.Body, got); err != nil || string(got) != piece {
				t.Fatalf("got %q, %v", got, err)
			}
		}
		_ = pw.Close()
		if rest, err := io.ReadAll(res.Body); err != nil || len(rest) > 0 {
			t.Errorf("rest %q, %v", rest, err)
		}
	}
	settled(t, w)
	if n := s.conns.Load(); n != 1 {
		t.Errorf("%d connections, want one that is kept", n)
	}
}

// echo answers each piece as it comes; false: there is no request.
func (p *peer) echo() bool {
	r, err := http.ReadRequest(p.r)
	if err != nil {
		return false
	}
	p.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
	buf := make([]byte, 100)
	for {
		n, err := r.Body.Read(buf)
		if n > 0 {
			p.say(fmt.Sprintf("%x\r\n%s\r\n", n, buf[:n]))
		}
		if err != nil {
			p.say("0\r\n\r\n")
			return true
		}
	}
}

// The end of a body is never made up: a server must not store half of an event.
func TestBrokenBody(t *testing.T) {
	for name, length := range map[string]int64{"counted": 100_000, "short": 100, "chunked": -1} {
		t.Run(name, func(t *testing.T) {
			whole := make(chan bool, 1)
			s := serve(t, func(_ int, p *peer) {
				r, _ := p.request()
				whole <- r != nil
				p.say(ok)
			})
			b := watch(&breaks{"the beginning"})
			r := request(t, "PUT", "/", b)
			r.ContentLength = length
			if got, err := ask(t, s.way(), r); !errors.Is(err, errBroken) {
				t.Errorf("answer %q, %v; want the body's error", got, err)
			}
			b.wantClosed(t)
			if s.conns.Load() > 0 && <-whole {
				t.Error("the server took it for whole")
			}
		})
	}
}

func TestContinue(t *testing.T) {
	for _, tt := range []struct {
		name, answer, want string
		body               bool // it arrives
		again              bool
	}{
		{"asked for", "HTTP/1.1 100 C\r\n\r\n", "200 ok", true, true},
		{"asked for twice", "HTTP/1.1 100 C\r\n\r\nHTTP/1.1 100 C\r\n\r\n", "200 ok", true, true},
		{"not asked for", "", "200 ok", true, true},
		{"not wanted", "HTTP/1.1 417 N\r\nContent-Length: 0\r\n\r\n", "417 ", false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			arrived := make(chan string, 1)
			s := serve(t, func(n int, p *peer) {
				if n > 1 {
					return
				}
				p.head()
				p.say(tt.answer)
				if tt.body {
					body := make([]byte, 4)
					_, _ = io.ReadFull(p.r, body)
					arrived <- string(body)
					p.say(ok)
				} else {
					rest, _ := io.ReadAll(p.r)
					arrived <- string(rest)
				}
				if r, _ := p.request(); r != nil {
					p.say("HTTP/1.1 201 C\r\nContent-Length: 0\r\n\r\n")
				}
				p.gone()
			})
			w := s.way(func(o *Options) {
				if tt.body && tt.answer == "" {
					o.Continue = 50 * time.Millisecond
				} else {
					o.Continue = time.Hour
				}
			})
			b := watch(strings.NewReader("body"))
			r := request(t, "PUT", "/", b)
			r.ContentLength = 4
			r.Header.Set("Expect", "100-continue")
			want(t, w, r, tt.want)
			b.wantClosed(t)
			if got := <-arrived; (got == "body") != tt.body {
				t.Errorf("the body arrived as %q", got)
			}
			if tt.again {
				want(t, w, request(t, "PUT", "/", nil), "201 ")
			}
		})
	}
}

// Whoever gives up is answered at once, and the server sees the end.
func TestCancelled(t *testing.T) {
	why := errors.New("cut")
	for _, at := range []string{"connecting", "waiting", "sending", "receiving", "queueing"} {
		t.Run(at, func(t *testing.T) {
			reached, sending := make(chan struct{}, 1), make(chan struct{})
			s := serve(t, func(_ int, p *peer) {
				p.head()
				switch at {
				case "receiving":
					p.say("HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n")
				case "sending":
					<-sending
				}
				reached <- struct{}{}
				p.gone()
			})
			w := s.way(func(o *Options) {
				dial := o.Dial
				o.Conns = 1
				o.Dial = func(ctx context.Context) (net.Conn, error) {
					if at == "connecting" {
						reached <- struct{}{}
						<-ctx.Done()
						return nil, ctx.Err()
					}
					return dial(ctx)
				}
			})
			if at == "queueing" {
				w.slots <- struct{}{}
				time.AfterFunc(50*time.Millisecond, func() { reached <- struct{}{} })
			}
			ctx, cancel := context.WithCancelCause(t.Context())
			go func() { <-reached; cancel(why) }()
			var body io.Reader
			if at == "sending" {
				pr, pw := io.Pipe()
				defer pw.Close()
				body = pr
				go func() { _, _ = pw.Write([]byte("x")); close(sending) }() // ends when it was read
			}
			began := time.Now()
			res, err := w.RoundTrip(request(t, "POST", "/", body).WithContext(ctx))
			if err == nil {
				_, err = io.ReadAll(res.Body)
				if at == "receiving" && err != nil {
					err = context.Cause(ctx)
				}
			}
			if !errors.Is(err, why) || time.Since(began) > 10*time.Second {
				t.Errorf("%v after %v", err, time.Since(began))
			}
			if at == "queueing" {
				<-w.slots
			}
			settled(t, w)
		})
	}
}

// Nobody waits for ever: for a server that says nothing, begins and stops, or takes nothing.
func TestStandstill(t *testing.T) {
	dead := errors.New("dead")
	short := 100 * time.Millisecond
	for _, tt := range []struct {
		name   string
		change func(*Options)
		say    func(p *peer)
		body   func() io.Reader
		want   error // nil: a timeout
	}{
		{"dead", func(o *Options) {
			o.Doubt = func(context.Context, time.Time) error { return dead }
		}, func(p *peer) { p.gone() }, nil, dead},
		{"thinks too long", func(o *Options) { o.Answer = short }, func(p *peer) { p.gone() }, nil, nil},
		{"stops in its head", func(*Options) {}, func(p *peer) { p.say("HTTP/1.1 200 OK\r\n"); p.gone() }, nil, nil},
		{"stops in its body", func(o *Options) { o.Stall = short }, func(p *peer) { p.say("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n1"); p.gone() }, nil, nil},
		{"takes nothing", func(o *Options) { o.Stall = short }, func(p *peer) { <-p.t.Context().Done() }, func() io.Reader {
			return strings.NewReader(strings.Repeat("x", 32<<20))
		}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := serve(t, func(_ int, p *peer) {
				p.head()
				tt.say(p)
			})
			w := s.way(func(o *Options) { o.Patience = short; tt.change(o) })
			var body io.Reader
			if tt.body != nil {
				body = tt.body()
			}
			began := time.Now()
			got, err := ask(t, w, request(t, "PUT", "/", body))
			if took := time.Since(began); err == nil || took > 10*time.Second || tt.want != nil && !errors.Is(err, tt.want) || tt.want == nil && !timeout(err) {
				t.Errorf("answer %q, %v after %v", got, err, took)
			}
			settled(t, w)
		})
	}
}

// A server that was doubted and lives is waited for.
func TestDoubtedOnce(t *testing.T) {
	var asked atomic.Int32
	doubted := make(chan struct{}, 2)
	s := serve(t, func(_ int, p *peer) {
		p.request()
		select {
		case <-doubted:
		case <-time.After(10 * time.Second):
		}
		time.Sleep(200 * time.Millisecond) // in which nobody asks again
		p.say(ok)
		p.gone()
	})
	w := s.way(func(o *Options) {
		o.Patience = 50 * time.Millisecond
		o.Doubt = func(context.Context, time.Time) error { asked.Add(1); doubted <- struct{}{}; return nil }
	})
	want(t, w, request(t, "GET", "/", nil), "200 ok")
	if n := asked.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
}

// No more connections than there may be, and who waits for one gets it.
func TestBoundedConnections(t *testing.T) {
	s := serve(t, func(_ int, p *peer) {
		for {
			if r, _ := p.request(); r == nil {
				return
			}
			time.Sleep(time.Millisecond)
			p.say(ok)
		}
	})
	w := s.way(func(o *Options) { o.Conns = 3 })
	var all sync.WaitGroup
	for range 30 {
		all.Go(func() { want(t, w, request(t, "GET", "/", nil), "200 ok") })
	}
	all.Wait()
	if n := s.conns.Load(); n > 3 {
		t.Errorf("%d connections", n)
	}
}

// After too long a wait for a connection there is an answer, too.
func TestAllConnectionsInUse(t *testing.T) {
	s := serve(t, func(_ int, p *peer) { p.gone() })
	w := s.way(func(o *Options) { o.Conns, o.Patience, o.Answer = 1, 20*time.Millisecond, 20*time.Millisecond })
	w.slots <- struct{}{}
	b := watch(strings.NewReader("body"))
	r := request(t, "PUT", "/", b)
	if _, err := ask(t, w, r); !errors.Is(err, errBusy) {
		t.Errorf("error %v", err)
	}
	b.wantClosed(t)
}

// A request that had to wait for a connection does not wait for its answer for ever.
func TestNoAnswerAfterAWait(t *testing.T) {
	s := serve(t, func(_ int, p *peer) { p.gone() })
	asked := make(chan struct{})
	w := s.way(func(o *Options) {
		o.Conns, o.Patience, o.Answer = 1, 20*time.Millisecond, 200*time.Millisecond
		o.Doubt = func(context.Context, time.Time) error { close(asked); return nil }
	})
	w.slots <- struct{}{}
	go func() {
		<-asked
		<-w.slots
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if got, err := ask(t, w, request(t, "GET", "/", nil).WithContext(ctx)); err == nil || ctx.Err() != nil {
		t.Errorf("answer %q, %v; want that it ends by itself", got, err)
	}
	settled(t, w)
}

// However long a request had to wait for a connection, it has its time to be sent.
func TestSentAfterAWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		w := New(Options{Dial: func(context.Context) (net.Conn, error) { return ours, nil },
			Conns: 1, Patience: 20 * time.Millisecond, Stall: 200 * time.Millisecond})
		defer w.Close()
		w.slots <- struct{}{}
		time.AfterFunc(400*time.Millisecond, func() { <-w.slots })
		go func() {
			p := &peer{t, theirs, bufio.NewReader(theirs)}
			p.request()
			p.say(ok)
		}()
		want(t, w, request(t, "PUT", "/", strings.NewReader("body")), "200 ok")
	})
}

// What is no status is no answer: whoever hands it on could not.
func TestNoStatus(t *testing.T) {
	for _, code := range []string{"000", "099", "+99"} {
		s := serve(t, func(_ int, p *peer) {
			p.request()
			p.say("HTTP/1.1 " + code + " No\r\nContent-Length: 0\r\n\r\n" + ok)
			p.gone()
		})
		w := s.way()
		told := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(code int, _ textproto.MIMEHeader) error {
			t.Errorf("%d was told", code)
			return nil
		}})
		if got, err := ask(t, w, request(t, "GET", "/", nil).WithContext(told)); !errors.Is(err, errStatus) {
			t.Errorf("%s: answer %q, %v", code, got, err)
		}
		settled(t, w)
	}
}

// An answer of HTTP/1.0 that tells a transfer coding is told wrongly: RFC 9112 section 6.1.
func TestOldServersAreNotKept(t *testing.T) {
	s := serve(t, func(_ int, p *peer) {
		p.request()
		p.say("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\nok")
		p.request()
		p.say("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nvictim")
		p.gone()
	})
	w := s.way()
	for range 2 {
		want(t, w, request(t, "GET", "/", nil), "200 ok")
	}
}

// What is kept is bounded in number, and nothing is kept after Close.
func TestKept(t *testing.T) {
	hold := make(chan struct{})
	s := serve(t, func(_ int, p *peer) {
		for {
			r, _ := p.request()
			if r == nil {
				return
			}
			if r.URL.Path == "/hold" {
				<-hold
			}
			p.say(ok)
		}
	})
	w := s.way(func(o *Options) { o.Idle = 2 })
	var all sync.WaitGroup
	for range 5 {
		all.Go(func() { want(t, w, request(t, "GET", "/hold", nil), "200 ok") })
	}
	for len(w.slots) < 5 {
		time.Sleep(time.Millisecond)
	}
	close(hold)
	all.Wait()
	if n := w.pool.kept(); n != 2 {
		t.Errorf("%d are kept, want 2", n)
	}
	w.Close()
	want(t, w, request(t, "GET", "/", nil), "200 ok")
	if n := w.pool.kept(); n != 0 {
		t.Errorf("after Close %d are kept", n)
	}
}

// It is bounded in time, too.
func TestKeptForAWhile(t *testing.T) {
	s := serve(t, func(_ int, p *peer) {
		p.request()
		p.say(ok)
		p.gone()
	})
	w := s.way(func(o *Options) { o.Keep = 100 * time.Millisecond })
	for range 2 {
		want(t, w, request(t, "GET", "/", nil), "200 ok")
		for i := 0; w.pool.kept() > 0; i++ {
			if i > 2000 {
				t.Fatal("it is kept for ever")
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	if n := s.conns.Load(); n != 2 {
		t.Errorf("%d connections, want a new one after a while", n)
	}
}

func (p *pool) kept() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.idle)
}

// Nothing of it depends on what lies beneath.
func TestOverTLSAndSockets(t *testing.T) {
	ca := proxytest.NewCA(t)
	say := func(_ int, p *peer) {
		for {
			r, body := p.request()
			if r == nil {
				return
			}
			p.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(body), body))
		}
	}
	plain := func(c net.Conn) net.Conn { return c }
	config := ca.Server(t, "localhost")
	for name, s := range map[string]*server{
		"TLS":    serveOn(t, "tcp", "127.0.0.1:0", func(c net.Conn) net.Conn { return tls.Server(c, config) }, say),
		"socket": serveOn(t, "unix", filepath.Join(t.TempDir(), "s"), plain, say),
	} {
		t.Run(name, func(t *testing.T) {
			w := s.way(func(o *Options) {
				dial := o.Dial
				o.Dial = func(ctx context.Context) (net.Conn, error) {
					c, err := dial(ctx)
					if err == nil && name == "TLS" {
						t := tls.Client(c, ca.Client("localhost"))
						return t, t.HandshakeContext(ctx)
					}
					return c, err
				}
			})
			for _, body := range []string{"one", "two", strings.Repeat("x", 1<<20), "four"} {
				want(t, w, request(t, "PUT", "/", strings.NewReader(body)), "200 "+body)
			}
			if n := s.conns.Load(); n != 1 {
				t.Errorf("%d connections, want one that is kept", n)
			}
			settled(t, w)
		})
	}
}

// However servers misbehave and callers give up, nobody hears what was said to another.
func TestNobodyHearsAnother(t *testing.T) {
	s := serve(t, func(_ int, p *peer) {
		for i := 0; ; i++ {
			r, body := p.request()
			if r == nil {
				return
			}
			said := "for " + r.Header.Get("X-Member") + " " + body
			answer := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(said), said)
			switch r.URL.Path[1:] {
			case "twice":
				p.say(answer + answer)
			case "half":
				p.say(answer[:len(answer)-3])
				return
			case "slow":
				p.say(answer[:len(answer)-3])
				time.Sleep(2 * time.Millisecond)
				p.say(answer[len(answer)-3:])
			case "none":
				return
			default:
				p.say(answer)
			}
		}
	})
	w := s.way(func(o *Options) { o.Conns = 8 })
	var all sync.WaitGroup
	for member := range 16 {
		all.Go(func() {
			for i := range 60 {
				name := fmt.Sprint(member, ".", i)
				kind := []string{"good", "twice", "good", "half", "slow", "none", "good", "twice"}[(i*7+member)%8]
				ctx, cancel := context.WithCancel(t.Context())
				if kind == "slow" && i%3 == 0 {
					time.AfterFunc(time.Millisecond, cancel)
				}
				body := name
				if kind == "good" {
					body = strings.Repeat(name, 1+i%2*5000)
				}
				r := request(t, "PUT", "/"+kind, strings.NewReader(body)).WithContext(ctx)
				r.Header.Set("X-Member", name)
				got, err := ask(t, w, r)
				if err == nil && !strings.HasPrefix(got, "200 for "+name+" ") {
					t.Errorf("%s heard %.50q", name, got)
				}
				cancel()
			}
		})
	}
	all.Wait()
	settled(t, w)
}

// FuzzAnswer: whatever a server says, there is an answer or an error, and what is kept is clean.
func FuzzAnswer(f *testing.F) {
	for _, a := range answers {
		if len(a.raw) < 1000 {
			f.Add(a.method, []byte(a.raw), 3)
		}
	}
	f.Fuzz(func(t *testing.T, method string, raw []byte, piece int) {
		if !slices.Contains([]string{"GET", "HEAD", "PUT"}, method) || piece <= 0 || len(raw) > 1<<16 {
			return // nothing that is sent or read like this
		}
		ours, theirs := net.Pipe()
		done := make(chan struct{})
		go func() {
			defer close(done)
			defer theirs.Close()
			if _, err := http.ReadRequest(bufio.NewReader(theirs)); err != nil {
				return
			}
			for left := raw; len(left) > 0; left = left[min(piece, len(left)):] {
				if _, err := theirs.Write(left[:min(piece, len(left))]); err != nil {
					return
				}
			}
		}()
		w := New(Options{Dial: func(context.Context) (net.Conn, error) { return ours, nil }, Patience: 5 * time.Second})
		defer w.Close()
		r := &http.Request{Method: method, URL: &url.URL{Path: "/"}, Host: "h"}
		res, err := w.RoundTrip(r.WithContext(t.Context()))
		if err == nil {
			_, err = io.Copy(io.Discard, res.Body)
			_ = res.Body.Close()
			if res.StatusCode < 200 || res.ProtoMajor != 1 {
				t.Errorf("status %d of HTTP/%d", res.StatusCode, res.ProtoMajor)
			}
		}
		kept := len(w.pool.idle)
		if err != nil && kept > 0 || len(w.slots) > 0 {
			t.Errorf("after %v %d connections are kept, %d in use", err, kept, len(w.slots))
		}
		_ = ours.Close()
		<-done
	})
}

type panics struct{}

func (panics) Read([]byte) (int, error) { panic("of the body") }

// A body that panics fails its request, and nothing else.
func TestBodyThatPanics(t *testing.T) {
	s := serve(t, func(_ int, p *peer) {
		if r, _ := p.request(); r != nil {
			p.say(ok)
		}
		p.gone()
	})
	w := s.way()
	long := io.MultiReader(strings.NewReader(strings.Repeat("x", 100_000)), panics{})
	if got, err := ask(t, w, request(t, "PUT", "/", long)); err == nil || !strings.Contains(err.Error(), "panic: of the body") {
		t.Errorf("answer %q, %v", got, err)
	}
	want(t, w, request(t, "GET", "/", nil), "200 ok")
	settled(t, w)
}
