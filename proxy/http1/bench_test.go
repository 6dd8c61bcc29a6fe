package http1

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// What one PROPFIND costs on a kept connection, beside net/http's Transport. Most of it is the server's share and the
// kernel's.
func BenchmarkRoundTrip(b *testing.B) {
	const ask, answer = `<?xml version="1.0"?><D:propfind xmlns:D="DAV:"><D:prop><D:getetag/></D:prop></D:propfind>`, "<multistatus/>"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusMultiStatus)
		_, _ = io.WriteString(w, strings.Repeat(answer, 80))
	}))
	defer server.Close()
	ours := New(Options{Dial: func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", server.Listener.Addr().String())
	}})
	defer ours.Close()
	theirs := &http.Transport{DisableCompression: true}
	defer theirs.CloseIdleConnections()
	for name, way := range map[string]http.RoundTripper{"http1": ours, "net/http": theirs} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				// as a door has it: of known length, and of a type that a library cannot look into
				r, err := http.NewRequestWithContext(b.Context(), "PROPFIND", server.URL+"/", struct{ io.Reader }{strings.NewReader(ask)})
				if err != nil {
					b.Fatal(err)
				}
				r.ContentLength = int64(len(ask))
				res, err := way.RoundTrip(r)
				if err != nil {
					b.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, res.Body)
				_ = res.Body.Close()
			}
		})
	}
}
