package peers

import (
	"net/http"
	"testing"
)

func TestPeersDAV(t *testing.T) {
	t.Parallel()
	r := Radicale(t)
	direct := Endpoint{Addr: r.Addr, User: "jane@new.example", Header: "X-Remote-User: jane@new.example"}
	Same(t, DAVScenarios(), direct, direct)
	t.Run("two ways in, one storage", func(t *testing.T) {
		Same(t, DAVScenarios()[:3], direct, Endpoint{Addr: r.Direct, User: "jane@new.example", Password: "any"})
	})
	t.Run("nobody without the header", func(t *testing.T) {
		s := newDAVSession(t, Endpoint{Addr: r.Addr, User: "jane@new.example", Password: "any"})
		if got := s.do("PROPFIND", "/", "", "Depth: 0"); got != http.StatusForbidden {
			t.Errorf("status %d, want 403", got)
		}
	})
}
