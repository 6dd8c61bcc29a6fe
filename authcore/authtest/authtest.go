// Package authtest makes a ready Core over records in memory, with the people of package sample, for other packages'
// tests. Hashes are cheap and refusals are not held back, unless a test asks for it.
package authtest

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"path"
	"regexp"
	"slices"
	"testing"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/member"
	"latchkey/authcore/notify"
	"latchkey/authcore/password"
	"latchkey/authcore/quick"
	"latchkey/authcore/sample"
	"latchkey/authcore/secret"
	"latchkey/authcore/store"
	"latchkey/authcore/store/memory"
)

// Upstream is the name of the upstream behind every door.
const Upstream = "test"

// Core is an authcore.Core with what a test wants to reach around it.
type Core struct {
	*authcore.Core
	Records store.Records // as the Core sees them: under Ends
	Keys    *secret.Keys
	People  map[string]sample.Person // by state: "app-only", "account", …
}

// Origin is where the service is, for quick login and passkeys.
const Origin = "https://localhost"

// nowhere is a Sender that never gets to send: what leaves stays in the outbox, for Sent.
type nowhere struct{}

func (nowhere) Send(context.Context, notify.Outgoing) error { return errors.New("kept for the test") }

// Sent answers what waits in a domain's outbox for an address, the oldest first.
func (c *Core) Sent(t testing.TB, domain, to string) []notify.Outgoing {
	t.Helper()
	d, err := c.Domain(t.Context(), Operator(), domain)
	if err != nil {
		t.Fatal(err)
	}
	all, err := notify.Waiting(t.Context(), c.Records, c.Keys, d.Domain.ID, 0)
	if err != nil {
		t.Fatal(err)
	}
	// A clock that a test holds gives two messages one time: they came in the order of their revisions.
	recs, err := c.Records.List(t.Context(), member.Partition(d.Domain.ID), store.Query{Prefix: notify.OutboxPrefix})
	if err != nil {
		t.Fatal(err)
	}
	came := map[string]int64{}
	for _, r := range recs {
		came[path.Base(r.Name)] = r.Revision
	}
	slices.SortFunc(all, func(a, b notify.Outgoing) int { return cmp.Compare(came[a.ID], came[b.ID]) })
	return slices.DeleteFunc(all, func(o notify.Outgoing) bool { return o.To != to })
}

var digits = regexp.MustCompile(`\b[0-9]{6}\b`)

// Code answers the last one-time code that was sent to an address.
func (c *Core) Code(t testing.TB, domain, to string) string {
	t.Helper()
	l := slices.DeleteFunc(c.Sent(t, domain, to), func(o notify.Outgoing) bool { return o.Kind != notify.CodeSent })
	if len(l) == 0 {
		t.Fatalf("no code was sent to %s", to)
	}
	return digits.FindString(l[len(l)-1].Text)
}

// Cheap is the cost of hashes in tests.
func Cheap() password.Params { return password.Params{MemoryKiB: 64, Time: 1, Threads: 1} }

// New makes a Core whose Run ends with the test. change may alter the options, of which Records, Ephemeral and Bus are
// set to memory, Hold to none.
func New(t testing.TB, change func(*authcore.Options)) *Core {
	t.Helper()
	keys, err := secret.NewKeys(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	o := authcore.Options{
		Records: memory.NewRecords(memory.Options{}), Ephemeral: memory.NewEphemeral(memory.Options{}), Bus: memory.NewBus(), Keys: keys,
		Hold: -1, Hash: Cheap(), HashSlots: 4, KeepOutbox: true,
		Senders: map[notify.Channel]notify.Sender{notify.ByEmail: nowhere{}, notify.BySMS: nowhere{}},
	}
	if o.Party, err = quick.NewParty(quick.Settings{ID: "localhost", Origins: []string{Origin}}); err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(&o)
	}
	o.Records = Ends{Records: o.Records, T: t}
	c := &Core{Core: authcore.New(o), Records: o.Records, Keys: o.Keys, People: map[string]sample.Person{}}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := c.Run(ctx); err != nil {
			t.Errorf("run core: %v", err)
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	people, err := sample.Make(context.Background(), c.Core, map[string]string{"imap": Upstream, "smtp": Upstream, "pop3": Upstream, "caldav": Upstream, "carddav": Upstream})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range people {
		c.People[p.State] = p
	}
	return c
}

// Client is where the requests of tests come from.
func Client() authcore.Client {
	return authcore.Client{Addr: netip.MustParseAddr("192.0.2.10"), Agent: "test"}
}

// Attempt is a password at a door, from the address of Client.
func Attempt(door, name, password string) authcore.Attempt {
	return AttemptFrom("192.0.2.10", door, name, password)
}

// AttemptFrom is Attempt from another address.
func AttemptFrom(from, door, name, password string) authcore.Attempt {
	return authcore.Attempt{
		Door: door, Mechanism: "PLAIN", Conn: authcore.ConnInfo{Client: netip.AddrPortFrom(netip.MustParseAddr(from), 40000), TLSVersion: "TLSv1.3"},
		Credential: authcore.Password{UnverifiedName: name, Secret: secret.New(password)},
	}
}

// Actor signs a person of the sample in on the web.
func (c *Core) Actor(t testing.TB, state string) authcore.Actor {
	t.Helper()
	p := c.People[state]
	r, err := c.SignIn(t.Context(), Client(), p.Address, p.Account)
	if err != nil || r.State != authcore.SignedIn {
		t.Fatalf("sign in %s: state %q, %v", p.Address, r.State, err)
	}
	return r.Actor
}

// Operator is the operator at the server itself.
func Operator() authcore.Actor { return authcore.CommandActor("test") }

// MemberID answers the id of an address.
func (c *Core) MemberID(t testing.TB, address string) member.ID {
	t.Helper()
	p, err := c.MemberOf(t.Context(), Operator(), address)
	if err != nil {
		t.Fatal(err)
	}
	return p.Member.ID
}
