package main

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/apppass"
	"latchkey/authcore/store/redistest"
	"latchkey/configs"
	"latchkey/policy"
	"latchkey/proxy/peers"
)

// twoDovecots are alike, behind one upstream: each tells its name to who asks by ID (RFC 2971), which the door passes on.
type twoDovecots struct {
	*realHouse
	servers map[string]*peers.DovecotServer // by name
	members map[string][]string             // by the server that they met first
	stood   func() time.Duration            // standstill
}

func startTwoDovecots(t *testing.T) *twoDovecots {
	t.Helper()
	d := &twoDovecots{servers: map[string]*peers.DovecotServer{}, members: map[string][]string{}, stood: redistest.Standstill(t)}
	for _, name := range []string{"one", "two"} {
		d.servers[name] = peers.Dovecot(t, peers.DovecotOptions{Extra: "imap_id_send = name " + name + "\n"})
	}
	up := master(t, policy.IMAP, d.servers["one"].IMAP, "none")
	up.Addresses = append(up.Addresses, d.servers["two"].IMAP)
	d.realHouse = startHouse(t, map[string]configs.Upstream{"imap": up})
	// The ports, and so the choice, differ from run to run: each further member belongs to either by half.
	for i := 0; len(d.members["one"]) < 2 || len(d.members["two"]) < 2; i++ {
		if i == 64 {
			t.Fatalf("64 members lie like this: %v", d.members)
		}
		m := d.join(t, fmt.Sprintf("m%d@new.example", i))
		at := d.meets(t, m)
		d.members[at] = append(d.members[at], m)
	}
	return d
}

// join makes a member with an app password.
func (d *twoDovecots) join(t *testing.T, address string) string {
	t.Helper()
	a := authcore.CommandActor("test")
	if _, _, err := d.h.core.CreateMember(t.Context(), a, "new.example", authcore.NewMember{Address: address}); err != nil {
		t.Fatal(err)
	}
	_, plain, err := d.h.core.CreateAppPasswordFor(t.Context(), a, address, apppass.Wish{Name: "test"})
	if err != nil {
		t.Fatal(err)
	}
	d.secrets[address] = plain.Reveal()
	return address
}

// meets signs a member in, at the first attempt, and answers whom he has met.
func (d *twoDovecots) meets(t *testing.T, member string) string {
	t.Helper()
	c := d.signedIn(t, member)
	defer c.Close()
	return askName(t, c)
}

func (d *twoDovecots) signedIn(t *testing.T, member string) net.Conn {
	t.Helper()
	began, before := time.Now(), d.stood()
	c, said := tryLoginAs(t, d.realHouse, member)
	if took, still := time.Since(began), d.stood()-before; !strings.HasPrefix(said, "a OK") || took-still > within {
		t.Fatalf("%s: %q after %v and %v of standstill, want OK within %v", member, said, took, still, within)
	}
	return c
}

func askName(t *testing.T, c net.Conn) string {
	t.Helper()
	if _, err := fmt.Fprint(c, "b ID NIL\r\n"); err != nil {
		t.Fatal(err)
	}
	name := ""
	for lines := bufio.NewScanner(c); lines.Scan(); {
		if _, said, is := strings.Cut(lines.Text(), `* ID ("name" "`); is {
			name = strings.TrimSuffix(said, `")`)
		}
		if strings.HasPrefix(lines.Text(), "b OK") && name != "" {
			return name
		}
	}
	t.Fatalf("no answer to ID, name %q", name)
	return ""
}

// Each member has a server of his own, the other one when it dies, without hearing of it, and his own when it is back; the
// members of the other are not disturbed.
func TestPeersTwoDovecots(t *testing.T) {
	t.Parallel()
	d := startTwoDovecots(t)
	for range 3 {
		d.wantAll(t, "one", "one")
		d.wantAll(t, "two", "two")
	}
	var kept []net.Conn
	for _, m := range d.members["two"] {
		kept = append(kept, d.signedIn(t, m))
	}
	d.servers["one"].Kill(t)
	d.wantAll(t, "one", "two")
	d.wantAll(t, "two", "two")
	wantTrouble(t, d.h.addressesWell(t.Context()), d.servers["one"].IMAP+" of upstream imap since ")
	d.servers["one"].Restart(t)
	back := untilWell(t, d.h)
	d.wantAll(t, "two", "two")
	for _, m := range d.members["one"] {
		d.meets(t, m) // either: they go back one by one
	}
	for _, c := range kept {
		if name := askName(t, c); name != "two" {
			t.Errorf("a session that was there all the time is at %s", name)
		}
	}
	if longDrills() {
		d.goBack(t, back)
	}
}

// goBack waits until all members of the first are led to it again: it takes them one by one, within half a minute.
func (d *twoDovecots) goBack(t *testing.T, back time.Time) {
	t.Helper()
	for _, m := range d.members["one"] {
		for d.meets(t, m) != "one" {
			if time.Since(back) > 40*time.Second {
				t.Fatalf("%s is not led back", m)
			}
			time.Sleep(500 * time.Millisecond)
		}
	}
	d.wantAll(t, "two", "two")
}

// wantAll wants the members of a server to meet this one.
func (d *twoDovecots) wantAll(t *testing.T, of, want string) {
	t.Helper()
	for _, m := range d.members[of] {
		if at := d.meets(t, m); at != want {
			t.Errorf("%s, who belongs to %s, met %s, want %s", m, of, at, want)
		}
	}
}

// untilWell waits until every address is well: a dead one is asked each second.
func untilWell(t *testing.T, h *house) time.Time {
	t.Helper()
	for deadline := time.Now().Add(patience); h.addressesWell(t.Context()) != nil; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it runs again: %v", h.addressesWell(t.Context()))
		}
	}
	return time.Now()
}
