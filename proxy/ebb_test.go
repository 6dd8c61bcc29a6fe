package proxy_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/proxy"
	"latchkey/proxy/proxytest"
)

// ebbing serves HTTP over pipes until stop is called; ended says how.
func ebbing(t *testing.T, e *proxy.Ebb, h http.Handler) (ln *proxytest.Listener, stop func(), ended <-chan error) {
	t.Helper()
	ln = proxytest.NewListener("192.0.2.1:80")
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Serve(ctx, &http.Server{Handler: h}, ln, 10*time.Second) }()
	t.Cleanup(stop)
	return ln, stop, done
}

// request asks over a connection of its own.
func request(ln *proxytest.Listener) (*http.Response, error) {
	tr := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return ln.Dial("192.0.2.7:1") }}
	defer tr.CloseIdleConnections()
	r, err := (&http.Client{Transport: tr}).Get("http://door.example")
	if err == nil {
		_, _ = io.Copy(io.Discard, r.Body)
		err = r.Body.Close()
	}
	return r, err
}

// A client that has connected and not yet asked is answered, and told that it is the last time.
func TestEbbServesWhoHasCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var e proxy.Ebb
		ln, stop, ended := ebbing(t, &e, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }))
		c, err := ln.Dial("192.0.2.8:1")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if first, err := request(ln); err != nil || first.Close {
			t.Errorf("an answer before the ebb: %v, or its connection closes", err)
		}
		stop()
		synctest.Wait()
		if _, err := ln.Dial("192.0.2.9:1"); err == nil {
			t.Error("the listener is open")
		}
		time.Sleep(1900 * time.Millisecond) // who has come has two seconds
		if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		r, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatalf("a request on a connection that was there: %v", err)
		}
		defer r.Body.Close()
		if p, err := io.ReadAll(r.Body); err != nil || string(p) != "hello" || !r.Close {
			t.Errorf("answer %q, %v, close %v; want hello and close", p, err, r.Close)
		}
		if err := <-ended; err != nil {
			t.Errorf("Serve ended with %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if e.Settled(ctx); ctx.Err() != nil {
			t.Error("it is not settled when all have ended")
		}
	})
}

// Settled waits for a request in flight.
func TestEbbSettled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var e proxy.Ebb
		entered, release := make(chan struct{}), make(chan struct{})
		ln, stop, ended := ebbing(t, &e, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { close(entered); <-release }))
		answered := make(chan error, 1)
		go func() {
			_, err := request(ln)
			answered <- err
		}()
		<-entered
		stop()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		if e.Settled(ctx); ctx.Err() == nil {
			t.Error("settled with a request in flight")
		}
		cancel()
		close(release)
		if err := <-answered; err != nil {
			t.Errorf("the request in flight: %v", err)
		}
		if err := <-ended; err != nil {
			t.Errorf("Serve ended with %v", err)
		}
	})
}

func TestEbbTellsOfAFailedListener(t *testing.T) {
	var e proxy.Ebb
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = ln.Close()
	if err := e.Serve(t.Context(), &http.Server{}, ln, time.Second); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Serve ended with %v, want that its listener is closed", err)
	}
}

// roll is a listener that notes whom it has accepted.
type roll struct {
	net.Listener
	come sync.Map // addresses
}

func (r *roll) Accept() (net.Conn, error) {
	c, err := r.Listener.Accept()
	if err == nil {
		r.come.Store(c.RemoteAddr().String(), true)
	}
	return c, err
}

// has says whether a client with this address was accepted; one that has none got nowhere.
func (r *roll) has(client net.Addr) bool {
	if client == nil {
		return false
	}
	_, ok := r.come.Load(client.String())
	return ok
}

// HTTP/2 requests that are sent while the server ebbs away are answered or sent anew by the client: none is lost.
func TestEbbHTTP2(t *testing.T) {
	ca := proxytest.NewCA(t)
	for range 5 {
		var e proxy.Ebb
		ln := &roll{Listener: listen(t)}
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		srv := &http.Server{TLSConfig: ca.Server(t, "localhost"), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, r.Proto)
		})}
		ended := make(chan error, 1)
		go func() { ended <- e.Serve(ctx, srv, ln, 5*time.Second) }()
		tr := &http.Transport{TLSClientConfig: ca.Client("localhost"), ForceAttemptHTTP2: true}
		client := &http.Client{Transport: tr, Timeout: 10 * time.Second}
		answered := 0
		for i := 0; ; i++ {
			if i == 50 {
				stop()
			}
			r, err := client.Get("https://" + ln.Addr().String())
			var failed *net.OpError
			if errors.As(err, &failed) && !ln.has(failed.Source) {
				break // nobody listens any more, or takes who had come by then: a new process would
			}
			if err != nil {
				t.Fatalf("request %d: %v", i, err)
			}
			p, _ := io.ReadAll(r.Body)
			_ = r.Body.Close()
			if string(p) != "HTTP/2.0" {
				t.Fatalf("request %d was %q", i, p)
			}
			answered++
		}
		tr.CloseIdleConnections()
		if err := <-ended; err != nil || answered < 50 {
			t.Errorf("%d answered, Serve ended with %v", answered, err)
		}
	}
}
