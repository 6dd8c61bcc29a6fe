package peers

import (
	"slices"
	"strings"
	"testing"
)

func TestPeersIMAP(t *testing.T) {
	t.Parallel()
	d := Dovecot(t, DovecotOptions{})
	direct := Endpoint{Addr: d.IMAP, User: "jane@new.example", Password: UserPassword}
	Same(t, IMAPScenarios(), direct, direct)
	t.Run("offers what must pass a door", func(t *testing.T) {
		seen := strings.Fields(imapCapability(t, direct)[1])
		for _, name := range []string{"IDLE", "CONDSTORE", "QRESYNC", "NOTIFY", "METADATA", "COMPRESS=DEFLATE", "LITERAL+", "BINARY", "CATENATE", "MULTIAPPEND"} {
			if !slices.Contains(seen, name) {
				t.Errorf("Dovecot does not offer %s, but %q", name, seen)
			}
		}
	})
}

func TestPeersPOP3(t *testing.T) {
	t.Parallel()
	d := Dovecot(t, DovecotOptions{})
	direct := Endpoint{Addr: d.POP3, User: "jane@new.example", Password: UserPassword}
	Same(t, POP3Scenarios(d), direct, direct)
}

// TLS in both ways, on every port.
func TestPeersDovecotTLS(t *testing.T) {
	t.Parallel()
	d := Dovecot(t, DovecotOptions{TLS: true})
	jane := Endpoint{CA: d.CA, User: "jane@new.example", Password: UserPassword}
	at := func(addr string, s Security) Endpoint {
		e := jane
		e.Addr, e.Security = addr, s
		return e
	}
	Same(t, IMAPScenarios()[:1], at(d.IMAP, StartTLS), at(d.IMAPS, TLS))
	Same(t, POP3Scenarios(d)[:1], at(d.POP3, StartTLS), at(d.POP3S, TLS))
	Same(t, SMTPScenarios(d.Relayed)[:1], at(d.Submission, StartTLS), at(d.Submissions, TLS))
}
