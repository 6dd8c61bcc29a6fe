package dav

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"latchkey/authcore"
	"latchkey/proxy/proxytest"
)

func TestPassedOnAsItCame(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		for _, tt := range []struct{ method, path, body string }{
			{"PROPFIND", "/m@new.example/", "<propfind/>"},
			{"PROPFIND", "/m%40new.example/cal%20one/", ""},
			{"REPORT", "/m@new.example/a%2Fb.ics?x=1;y=%zz&z", "<report/>"},
			{"MKCALENDAR", "/m@new.example/%E4%BA%88/", "<mkcalendar/>"},
			{"PUT", "/m@new.example/cal/(a),'b'!$&*+;=:@.ics", strings.Repeat("x", 100_000)},
			{"GET", "/m@new.example/cal/a//b?", ""},
			{"DELETE", "/m@new.example/cal/a.ics", ""},
			{"PATCH", "/x", "y"},
			{"LOCK", "/x", "y"},
			{"OPTIONS", "/", ""},
			{"MADEUP", "/x", ""},
		} {
			t.Run(fmt.Sprintf("%s %s http2=%v", tt.method, tt.path, http2), func(t *testing.T) {
				rec := &recorder{}
				s := start(t, rec)
				r := s.request(tt.method, "/", strings.NewReader(tt.body))
				r.URL.Opaque = tt.path
				if path, query, ok := strings.Cut(tt.path, "?"); ok {
					r.URL.Opaque, r.URL.RawQuery, r.URL.ForceQuery = path, query, true
				}
				res, text := s.do(s.client(http2), r)
				if res.StatusCode != 207 || text != "answer" || res.Header.Get("Etag") != `"1"` || (res.ProtoMajor == 2) != http2 {
					t.Fatalf("answer %s %q", res.Status, text)
				}
				got := rec.last(t)
				if got.Method != tt.method || got.URI != tt.path || got.Body != tt.body || got.Host != host {
					t.Errorf("the upstream got %s %s at %s with %d octets", got.Method, got.URI, got.Host, len(got.Body))
				}
			})
		}
	}
}

func TestRawPathsAreKept(t *testing.T) {
	rec := &recorder{}
	s := start(t, rec)
	for _, tt := range []struct{ line, want string }{
		{"/a|b^c{d}", "/a|b^c{d}"},
		{"/a\xe4\xba\x88", "/a\xe4\xba\x88"},
		{`/a"b<c>`, `/a"b<c>`},
		{"https://" + host + "/a%41?b", "/a%41?b"},
	} {
		c := s.dial()
		c.send("GET "+tt.line+" HTTP/1.1", basic)
		if res := c.response(); res.StatusCode != 207 {
			t.Errorf("%q: status %d", tt.line, res.StatusCode)
			continue
		}
		if got := rec.last(t).URI; got != tt.want {
			t.Errorf("%q arrived as %q, want %q", tt.line, got, tt.want)
		}
	}
}

func TestEvilPathsAreRefused(t *testing.T) {
	rec := &recorder{}
	s := start(t, rec)
	for _, tt := range []struct {
		path, header string
		status       int
	}{
		{"/../victim/", "X: y", 400},
		{"/m@new.example/%2e%2e/victim", "X: y", 400},
		{`/m@new.example/..\victim`, "X: y", 400},
		{"/m@new.example%2F..%2Fvictim", "X: y", 400},
		{"/m@new.example%2Fvictim", "X: y", 400},
		{"/victim%2Fcal/", "X: y", 400},
		{"//victim/", "X: y", 400},
		{"/a%00b", "X: y", 400},
		{"*", "X: y", 400},
		{"/m@new.example/a", "Destination: https://dav.new.example/m@new.example/../victim/a", 400},
		{"/m@new.example/a", "Destination: /victim%2Fa", 400},
		{"/m@new.example/a", `Destination: /m@new.example\a`, 400},
		{"/m@new.example/a", "Destination: /a\r\nDestination: /b", 400},
		{"/m@new.example/a", "Destination: https://other.example/a", 502},
		{"/m@new.example/a", "If: </../victim> (<x>)", 400},
		{"/m@new.example/a", "If: <https://dav.new.example/%2e%2e/victim> (<x>)", 400},
		{"/m@new.example/a", "If: (<x>", 400},
	} {
		c := s.dial()
		c.send("MOVE "+tt.path+" HTTP/1.1", basic, tt.header)
		if res := c.response(); res.StatusCode != tt.status {
			t.Errorf("%s with %s: status %d, want %d", tt.path, tt.header, res.StatusCode, tt.status)
		}
	}
	if n := len(rec.all()); n != 0 {
		t.Errorf("%d of them went to the upstream", n)
	}
}

func TestDestinationIsRewritten(t *testing.T) {
	rec := &recorder{}
	s := start(t, rec)
	r := s.request("MOVE", "/m@new.example/a", nil)
	r.Header.Set("Destination", "https://"+host+"/m@new.example/b%2Fc")
	r.Header.Set("If", "<https://"+host+"/m@new.example/a> (<urn:uuid:1>)")
	r.Header.Set("Overwrite", "F")
	s.do(s.client(false), r)
	got := rec.last(t).Header
	if got.Get("Destination") != "http://"+host+"/m@new.example/b%2Fc" || got.Get("If") != "<http://"+host+"/m@new.example/a> (<urn:uuid:1>)" ||
		got.Get("Overwrite") != "F" {
		t.Errorf("the upstream got %v", got)
	}
}

func TestLocationIsRewritten(t *testing.T) {
	s := start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", "http://"+r.Host+"/m@new.example/new/")
		w.WriteHeader(http.StatusCreated)
	}))
	res, _ := s.do(s.client(false), s.request("MKCOL", "/m@new.example/new", nil))
	if got := res.Header.Get("Location"); got != "https://"+host+"/m@new.example/new/" {
		t.Errorf("Location %q", got)
	}
}

// Whatever a client sends, the upstream is told who he is and how he came by the door alone.
func TestIdentityHeadersAreTheDoors(t *testing.T) {
	rec := &recorder{}
	s := start(t, rec)
	for _, evil := range []string{
		"X-Member: victim", "x-member: victim", "X_Member: victim", "x_MEMBER: victim", "X-Remote-User: victim", "X_Remote_User: victim",
		"X-Remote_User: victim", "X-REMOTE-ANYTHING: victim", "X-Script-Name: /victim", "X_Script-Name: /victim", "Proxy: http://victim/", "X-Forwarded-For: victim",
		"X-Forwarded-User: victim", "X-Forwarded-Prefix: /victim", "X-Real-IP: victim", "X_Real_IP: victim", "Forwarded: for=victim",
		"Some_Thing: victim", "X.Member: victim", "x~member: victim", "X+Remote!User: victim", "X.Forwarded.For: victim", "Proxy-Authorization: Basic victim",
		"Connection: X-Member\r\nX-Member: victim", "Connection: close, Forwarded, Authorization\r\nForwarded: for=victim",
		"Connection: X-Remote-User\r\nX-Remote-User: victim", "Upgrade: victim\r\nConnection: Upgrade", "X-Member : victim",
	} {
		before := len(rec.all())
		c := s.dial()
		c.send("PROPFIND / HTTP/1.1", basic, evil)
		res := c.response()
		if res.StatusCode == 400 { // Go's server refuses it already
			continue
		}
		if res.StatusCode != 207 || len(rec.all()) != before+1 {
			t.Errorf("%q: status %d", evil, res.StatusCode)
			continue
		}
		got := rec.last(t).Header
		for name, values := range got {
			if strings.Contains(strings.Join(values, ","), "victim") {
				t.Errorf("%q arrived as %s: %q", evil, name, values)
			}
		}
		if !reflect.DeepEqual(got["X-Member"], []string{member}) || got.Get("Authorization") != "" ||
			!reflect.DeepEqual(got["Forwarded"], []string{`for=unknown;host="` + host + `";proto=https`}) {
			t.Errorf("%q: the upstream got %v", evil, got)
		}
	}
}

func TestSignInOfTheWayArrives(t *testing.T) {
	rec := &recorder{}
	s := start(t, rec, func(s *scene) {
		s.upstream.quiet = true
		s.upstream.signIn = func(h http.Header) error { h.Set("Authorization", "Bearer ours"); return nil }
	})
	s.do(s.client(true), s.request("PROPFIND", "/", nil))
	got := rec.last(t).Header
	if !reflect.DeepEqual(got["Authorization"], []string{"Bearer ours"}) || got["Forwarded"] != nil {
		t.Errorf("the upstream got %v", got)
	}
}

func TestForwarded(t *testing.T) {
	for _, tt := range []struct {
		client  string
		vouched bool
		want    string
	}{
		{"203.0.113.7:4711", true, `for=203.0.113.7;host="h:8443";proto=https`},
		{"[2001:db8::7]:4711", true, `for="[2001:db8::7]";host="h:8443";proto=https`},
		{"203.0.113.7:4711", false, `for=unknown;host="h:8443";proto=https`},
	} {
		c := authcore.ConnInfo{Client: netip.MustParseAddrPort(tt.client), ClientVouched: tt.vouched}
		if got := forwarded(c, "h:8443"); got != tt.want {
			t.Errorf("forwarded(%s, %v) = %q, want %q", tt.client, tt.vouched, got, tt.want)
		}
	}
}

func TestTrailers(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		rec := &recorder{}
		s := start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Trailer", "X-Sum")
			rec.ServeHTTP(w, r)
			w.Header().Set("X-Sum", "out")
		}))
		r := s.request("PUT", "/x", struct{ io.Reader }{strings.NewReader("body")})
		r.Trailer = http.Header{"X-Sum": {"in"}, "X-Member": {"victim"}, "X-Remote-User": {"victim"}}
		res, _ := s.do(s.client(http2), r)
		if got := rec.last(t).Trailer; !reflect.DeepEqual(got, http.Header{"X-Sum": {"in"}}) {
			t.Errorf("http2=%v: the upstream got trailers %v", http2, got)
		}
		if got := res.Trailer.Get("X-Sum"); got != "out" {
			t.Errorf("http2=%v: the client got trailers %v", http2, res.Trailer)
		}
	}
}

// Both directions flow at once: the answer to each piece comes before the next is sent.
func TestStreamedBothWays(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		s := start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			control := http.NewResponseController(w)
			_ = control.EnableFullDuplex()
			buf := make([]byte, 100)
			for {
				n, err := r.Body.Read(buf)
				_, _ = w.Write(buf[:n])
				_ = control.Flush()
				if err != nil {
					return
				}
			}
		}))
		pr, pw := io.Pipe()
		r := s.request("POST", "/x", pr)
		first := make(chan error, 1)
		go func() {
			_, err := io.WriteString(pw, "piece 0")
			first <- err
		}()
		res, err := s.client(http2).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := <-first; err != nil {
			t.Fatal(err)
		}
		for i := range 5 {
			want := fmt.Sprintf("piece %d", i)
			if i > 0 {
				if _, err := io.WriteString(pw, want); err != nil {
					t.Fatal(err)
				}
			}
			got := make([]byte, len(want))
			if _, err := io.ReadFull(res.Body, got); err != nil || string(got) != want {
				t.Fatalf("http2=%v: got %q, %v, want %q before the request ends", http2, got, err, want)
			}
		}
		_ = pw.Close()
		if rest, err := io.ReadAll(res.Body); err != nil || len(rest) != 0 {
			t.Errorf("http2=%v: rest %q, %v", http2, rest, err)
		}
		_ = res.Body.Close()
	}
}

func TestHeaderBound(t *testing.T) {
	rec := &recorder{}
	s := start(t, rec)
	for _, http2 := range []bool{false, true} {
		for size, fits := range map[int]bool{24 << 10: true, 64 << 10: false} {
			r := s.request("GET", "/x", nil)
			r.Header.Set("X-Long", strings.Repeat("x", size))
			before := len(rec.all())
			res, err := s.client(http2).Do(r)
			if err == nil {
				_ = res.Body.Close()
			}
			if arrived := len(rec.all()) > before; arrived != fits {
				t.Errorf("http2=%v: headers of %d KiB arrived: %v", http2, size>>10, arrived)
			}
		}
	}
}

func TestUpstreamFailures(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*scene)
	}{
		{"down", func(s *scene) { s.upstream.base.Host = proxytest.Refusing(s.t) }},
		{"resets", func(s *scene) { s.upstream.base.Host = speaks(s.t, "") }},
		{"talks garbage", func(s *scene) { s.upstream.base.Host = speaks(s.t, "220 smtp.example\r\n") }},
		{"asks for credentials", func(s *scene) {
			s.upstream.base.Host = speaks(s.t, "HTTP/1.1 401 No\r\nWWW-Authenticate: Basic\r\nContent-Length: 4\r\n\r\nevil")
		}},
		{"sign-in cannot be made", func(s *scene) { s.upstream.signIn = func(http.Header) error { return errors.New("no key") } }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := start(t, &recorder{}, tt.change)
			began := time.Now()
			res, text := s.do(s.client(false), s.request("PUT", "/x", strings.NewReader("body")))
			if res.StatusCode != 503 || res.Header.Get("Retry-After") == "" || res.Header.Get("WWW-Authenticate") != "" ||
				text != authcore.Unavailable.Sentence()+"\n" {
				t.Errorf("answer %s %v %q", res.Status, res.Header, text)
			}
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("it took %v", took)
			}
			if n := len(s.auth.Attempts()); n != 1 {
				t.Errorf("%d attempts, want the one that was allowed", n)
			}
		})
	}
}

// speaks answers the address of a server that says the same to everybody and hangs up.
func speaks(t *testing.T, words string) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			_, _ = c.Read(make([]byte, 4096))
			_, _ = io.WriteString(c, words)
			_ = c.Close()
		}
	}()
	t.Cleanup(func() { _ = ln.Close(); <-done })
	return ln.Addr().String()
}

func TestIncompleteRequestIsNotTheUpstreamsFault(t *testing.T) {
	s := start(t, &recorder{})
	c := s.dial()
	c.send("PUT /x HTTP/1.1", basic, "Transfer-Encoding: chunked")
	if _, err := io.WriteString(c, "zz\r\n"); err != nil {
		t.Fatal(err)
	}
	if res := c.response(); res.StatusCode != 400 {
		t.Errorf("status %d, want 400", res.StatusCode)
	}
}

// Who stops in the middle of a body, or takes no answer, holds nothing for longer than the stall time.
func TestStalledClients(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		for _, sends := range []bool{false, true} {
			t.Run(fmt.Sprintf("http2=%v sends=%v", http2, sends), func(t *testing.T) {
				t.Parallel()
				released := make(chan struct{})
				s := start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					defer close(released)
					for !sends && r.Context().Err() == nil {
						_, _ = w.Write(make([]byte, 1<<16))
					}
					_, _ = io.Copy(io.Discard, r.Body)
					<-r.Context().Done()
				}), func(s *scene) { s.stall = 2 * time.Second }) // until the request has come to the upstream, too
				pr, pw := io.Pipe()
				var body io.Reader
				if sends {
					body = pr
					go func() { _, _ = io.WriteString(pw, "the beginning") }()
				}
				answered := make(chan *http.Response, 1)
				go func() {
					res, err := s.client(http2).Do(s.request("PUT", "/x", body))
					if err != nil {
						res = nil
					}
					answered <- res
				}()
				began := time.Now()
				<-released
				if took := time.Since(began); took > 10*time.Second {
					t.Errorf("the upstream was held for %v", took)
				}
				_ = pw.Close()
				if res := <-answered; res != nil {
					_ = res.Body.Close()
				}
			})
		}
	}
}

// An informational answer is handed on without what is for the next hop, and not to HTTP/1.0, whose clients would take it
// for the answer.
func TestInformedAsTheClientKnowsIt(t *testing.T) {
	s := start(t, &recorder{}, func(s *scene) {
		s.upstream.base.Host = speaks(s.t, "HTTP/1.1 103 Early\r\nLink: <a>\r\nConnection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 9\r\n\r\nHTTP/1.1 207 OK\r\nContent-Length: 0\r\n\r\n")
	})
	for _, version := range []string{"1.1", "1.0"} {
		c := s.dial()
		c.send("PROPFIND / HTTP/"+version, basic)
		res := c.response()
		if version == "1.1" {
			if res.StatusCode != 103 || !reflect.DeepEqual(res.Header, http.Header{"Link": {"<a>"}}) {
				t.Errorf("HTTP/1.1: got %s %v", res.Status, res.Header)
			}
			res = c.response()
		}
		if res.StatusCode != 207 {
			t.Errorf("HTTP/%s: got %s", version, res.Status)
		}
	}
}
