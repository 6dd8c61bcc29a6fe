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
	"time"

	"latchkey/proxy"
	"latchkey/proxy/proxytest"
)

// ebbing serves HTTP in the clear until stop is called; ended says how.
func ebbing(t *testing.T, e *proxy.Ebb, h http.Handler) (addr string, stop func(), ended <-chan error) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Serve(ctx, &http.Server{Handler: h}, ln, 10*time.Second) }()
	t.Cleanup(stop)
	return ln.Addr().String(), stop, done
}

// A client that has connected and not yet asked is answered, and told that it is the last time.
func TestEbbServesWhoHasCome(t *testing.T) {
	var e proxy.Ebb
	addr, stop, ended := ebbing(t, &e, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }))
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	first := request(t, addr) // so that the one before is accepted
	if first.Close {
		t.Error("an answer before the ebb closes its connection")
	}
	stop()
	for { // the listener closes first
		again, err := net.Dial("tcp", addr)
		if err != nil {
			break
		}
		_ = again.Close()
	}
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
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if e.Settled(ctx); ctx.Err() != nil {
		t.Error("it is not settled when all have ended")
	}
}

// Settled waits for a request in flight.
func TestEbbSettled(t *testing.T) {
	var e proxy.Ebb
	entered, release := make(chan struct{}), make(chan struct{})
	addr, stop, ended := ebbing(t, &e, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { close(entered); <-release }))
	answered := make(chan error, 1)
	go func() {
		r, err := http.Get("http://" + addr)
		if err == nil {
			err = r.Body.Close()
		}
		answered <- err
	}()
	<-entered
	stop()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
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

func request(t *testing.T, addr string) *http.Response {
	t.Helper()
	tr := &http.Transport{}
	defer tr.CloseIdleConnections()
	r, err := (&http.Client{Transport: tr}).Get("http://" + addr)
	if err != nil {
		t.Fatal(err)
	}
	_ = r.Body.Close()
	return r
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
