package peers

import (
	"slices"
	"strings"
	"testing"
)

func TestPeersIMAP(t *testing.T) {
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
