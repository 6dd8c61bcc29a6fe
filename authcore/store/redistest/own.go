package redistest

import (
	"crypto/tls"
	"testing"
)

// Account is how a server that asks who it is, or speaks TLS, is spoken to.
type Account struct {
	User, Password string
	TLS            *tls.Config
}

// Own starts program with a whole file of the test's own: conf writes it for the address, the folder and the bus's port
// of the server. Nothing is added but where the log goes.
func Own(t testing.TB, program string, as Account, conf func(s *Server) string) *Server {
	t.Helper()
	s := newServer(t, program, false, nil)
	s.as = as
	s.write(t, []string{conf(s), "logfile " + s.log})
	s.start(t)
	return s
}

// Port is that of its address.
func (s *Server) Port() string { return port(s.Addr) }

// BusPort is for the bus of a Cluster, or another port that the server listens at.
func (s *Server) BusPort() int { return s.busPort }

// As answers the same server, spoken to as somebody else.
func (s *Server) As(a Account) *Server {
	other := *s
	other.as = a
	return &other
}

// WaitWell waits until the replicas are in step and the sentinels know all of them and each other.
func (f *Fleet) WaitWell(t testing.TB) {
	t.Helper()
	WaitInSync(t, f.Masters[0], len(f.Replicas))
	for _, s := range f.Sentinels {
		wait(t, "sentinel that knows the others at "+s.Addr, func() error { return s.sentinelWell(len(f.Replicas), len(f.Sentinels)-1) })
	}
}
