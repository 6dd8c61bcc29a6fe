package session

import (
	"testing"
	"time"
)

// What the registry keeps in another form it answers as it was told.
func TestDoorComesBackAsItWas(t *testing.T) {
	for _, from := range []string{"192.0.2.1", "2001:db8::1", "fe80::1%eth0", ""} {
		d := Door{ID: NewID(), Domain: "domain", Member: "m", Credential: "c", CredentialName: "phone", Door: "imap", From: from, Agent: "a",
			Since: time.Now().UTC().Truncate(time.Microsecond), Share: "s", Seat: "seat"}
		if got := liveOf(d, 1).door(); got != d {
			t.Errorf("%+v, want %+v", got, d)
		}
	}
}

// IDs are made several at once: none is a part of another, or another again.
func TestIDsAreNobodyElses(t *testing.T) {
	seen := map[ID]bool{}
	for range 10 * idsAtOnce {
		id := NewID()
		if len(id) != idSize || seen[id] {
			t.Fatalf("%q", id)
		}
		seen[id] = true
	}
}
