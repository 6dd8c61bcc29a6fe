package peers

import (
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"
)

// TestPeersReaderWaits presses on a page that looks the same before and after, whose answers take their time: each is waited
// for, and none is broken off by the next or by an address that is opened.
func TestPeersReaderWaits(t *testing.T) {
	t.Parallel()
	Need(t, "chromium")
	const words = `<!doctype html><html lang="en"><title>x</title><link rel="stylesheet" href="/slow"><h1>Again</h1><form method="post"><button>Go</button></form>`
	slowly := func(r *http.Request) (whole bool) {
		select {
		case <-r.Context().Done():
			return false
		case <-time.After(150 * time.Millisecond):
			return true
		}
	}
	var whole, broken atomic.Int32
	count := func(n bool) {
		if n {
			whole.Add(1)
		} else {
			broken.Add(1)
		}
	}
	mux := http.NewServeMux()
	page := func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte(words))
	}
	mux.HandleFunc("GET /", func(w http.ResponseWriter, _ *http.Request) { page(w) })
	mux.HandleFunc("POST /", func(w http.ResponseWriter, r *http.Request) { count(slowly(r)); page(w) })
	mux.HandleFunc("GET /slow", func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Content-Type", "text/css"); slowly(r) })
	s := httptest.NewTLSServer(mux)
	t.Cleanup(s.Close)
	b := Chromium(t, s.Certificate())
	b.Script(t, false)
	const times = 3
	for range times {
		b.Open(t, s.URL)
		for range times {
			b.Press(t, "Go")
			b.On(t, "Again")
		}
		b.Press(t, "Go")
	}
	b.On(t, "Again")
	if w, n := whole.Load(), broken.Load(); w != times*(times+1) || n > 0 {
		t.Errorf("%d answers came and %d were broken off: want %d and none", w, n, times*(times+1))
	}
}
