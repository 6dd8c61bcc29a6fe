package peers

import (
	"path/filepath"
	"testing"
)

// RadicaleServer is a running Radicale over one storage, twice.
type RadicaleServer struct {
	Addr   string // 127.0.0.1:port; believes the header X-Remote-User, as the example does
	Direct string // 127.0.0.1:port; takes any user and password by Basic, for clients that cannot set a header
	Dir    string
}

// Radicale starts Radicale 3.1 with configs/examples/radicale.conf until the test ends.
func Radicale(t testing.TB) *RadicaleServer {
	t.Helper()
	Need(t, "radicale")
	s := newServer(t, "radicale")
	r := &RadicaleServer{Addr: s.ports.addr(0), Direct: s.ports.addr(1), Dir: s.dir}
	startRadicale(t, s, r.Addr)
	second := newServer(t, "radicale")
	startRadicale(t, second, r.Direct,
		"type = http_x_remote_user", "type = none",
		"/var/lib/radicale/collections", filepath.Join(s.dir, "collections"))
	return r
}

func startRadicale(t testing.TB, s *server, addr string, pairs ...string) {
	t.Helper()
	pairs = append(pairs,
		"127.0.0.1:15232", addr,
		"/var/lib/radicale/collections", filepath.Join(s.dir, "collections"))
	file := s.write(t, "radicale.conf", example(t, "radicale.conf", pairs...), 0o644)
	s.start(t, programs["radicale"], "--config", file)
	s.ready(t, addr, false)
}
