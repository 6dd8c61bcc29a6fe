package authcore_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/authtest"
	"latchkey/authcore/notify"
	"latchkey/authcore/sample"
)

func TestNewClientIsTold(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *stage) {
		name, app := s.address("opted-in"), s.app("opted-in")
		told := func() int { time.Sleep(10 * time.Second); return s.inbox(t, name, notify.NewClient) }
		if d := s.from(t, here, "imap", name, app); !d.Allowed() {
			t.Fatal(d.Reason)
		}
		if n := told(); n != 1 {
			t.Fatalf("first time: %d messages", n)
		}
		for _, c := range []struct {
			name, from, door string
			want             int
		}{
			{"again", here, "imap", 1},
			{"another address of the network", "192.0.2.200", "imap", 1},
			{"another door", here, "smtp", 2},
			{"another network", there, "imap", 3},
			{"IPv6", "2001:db8:1:2::1", "imap", 4},
			{"the same /64", "2001:db8:1:2:ffff::1", "imap", 4},
			{"another /64", "2001:db8:1:3::1", "imap", 5},
			{"the sixth of a day", "203.0.113.1", "imap", 5},
		} {
			if d := s.from(t, c.from, c.door, name, app); !d.Allowed() {
				t.Fatalf("%s: %s", c.name, d.Reason)
			}
			if n := told(); n != c.want {
				t.Errorf("%s: %d messages, want %d", c.name, n, c.want)
			}
		}
		if s.from(t, there, "imap", name, "wrong-wrong-wrong"); told() != 5 {
			t.Error("a refused attempt was told")
		}
		time.Sleep(24 * time.Hour)
		if s.from(t, "203.0.113.9", "imap", name, app); told() != 5 {
			t.Error("what was not told yesterday is no news today")
		}
		if s.from(t, "198.18.0.1", "imap", name, app); told() != 6 {
			t.Error("a new day, a new network: no message")
		}
		l := s.Sent(t, sample.Old, name)
		if last := l[len(l)-1]; last.Kind != notify.NewClient || !strings.Contains(last.Text, "198.18.0.1") || !strings.Contains(last.Text, "IMAP") {
			t.Errorf("%+v", last)
		}
	})
}

// Those that come at the same time are written in one batch, with every way to tell of them, and no more are told than of
// others.
func TestNewClientsAtOnce(t *testing.T) {
	inBubble(t, everyWayOut, func(t *testing.T, s *stage) {
		name, app := s.address("opted-in"), s.app("opted-in")
		most := s.largest()
		for i := range 7 {
			if d := s.from(t, fmt.Sprintf("10.0.%d.1", i), "imap", name, app); !d.Allowed() {
				t.Fatal(d.Reason)
			}
		}
		time.Sleep(10 * time.Second)
		if n := s.inbox(t, name, notify.NewClient); n != 5 {
			t.Errorf("%d messages", n)
		}
		recs := s.all(t, sample.Old, "clients/")
		if len(recs) != 1 || strings.Count(string(recs[0].Value), `"print"`) != 7 {
			t.Errorf("records: %v", recs)
		}
		if steps := most(); steps < 5*6 { // each is told in the inbox, by e-mail and to the webhooks
			t.Errorf("the largest batch has %d steps: they were not written together", steps)
		}
	})
}

// A process that starts anew asks the records, and tells nothing twice; the list of clients is bounded.
func TestKnownClientsAreDurableAndBounded(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *stage) {
		name, app := s.address("opted-in"), s.app("opted-in")
		s.from(t, here, "imap", name, app)
		time.Sleep(10 * time.Second)
		next := s.restart()
		ctx := t.Context()
		go func() { _ = next.Run(ctx) }()
		if d, err := next.Authenticate(ctx, authtest.AttemptFrom(here, "imap", name, app)); err != nil || !d.Allowed() {
			t.Fatal(d.Reason, err)
		}
		time.Sleep(10 * time.Second)
		if n := s.inbox(t, name, notify.NewClient); n != 1 {
			t.Errorf("%d messages", n)
		}
		for i := range 300 {
			d := s.from(t, fmt.Sprintf("10.%d.%d.1", i/250, i%250), "imap", name, app)
			s.Ended(ctx, d.Session, authcore.End{})
		}
		time.Sleep(time.Minute)
		recs := s.all(t, sample.Old, "clients/")
		if len(recs) != 1 || strings.Count(string(recs[0].Value), `"print"`) != 200 {
			t.Errorf("%d records, %d clients", len(recs), strings.Count(string(recs[0].Value), `"print"`))
		}
		if strings.Contains(string(recs[0].Value), netip.MustParseAddr(here).String()) {
			t.Error("addresses are kept")
		}
	})
}
