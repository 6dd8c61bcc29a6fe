package dav

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"latchkey/authcore"
	"latchkey/proxy/peers"
)

// radicale is told of the member by the header that its example trusts.
type radicale struct{ *fakeUpstream }

func (radicale) UserHeader() string { return "X-Remote-User" }
func (radicale) SignIn(_ context.Context, u authcore.Upstream, h http.Header) error {
	h.Set("X-Remote-User", u.User)
	return nil
}

// A program sees through the door what it sees at Radicale itself.
func TestPeersRadicale(t *testing.T) {
	server := peers.Radicale(t)
	s := start(t, http.NotFoundHandler(), func(s *scene) {
		s.upstream.base.Host = server.Addr
		s.way = radicale{s.upstream}
		s.names = []string{"127.0.0.1", "localhost"}
		s.auth.Person("jane@new.example", "any", authcore.Decision{Reason: authcore.Allowed})
	})
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, s.ca.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	door := peers.Endpoint{Addr: s.addr, Security: peers.TLS, CA: ca, User: "jane@new.example", Password: "any"}
	t.Run("raw", func(t *testing.T) {
		direct := peers.Endpoint{Addr: server.Addr, User: "jane@new.example", Header: "X-Remote-User: jane@new.example"}
		peers.Same(t, peers.DAVScenarios(), direct, door)
	})
	t.Run("programs", func(t *testing.T) {
		direct := peers.Endpoint{Addr: server.Direct, User: "jane@new.example", Password: "any"}
		peers.Same(t, peers.DAVClients(), direct, door)
	})
}
