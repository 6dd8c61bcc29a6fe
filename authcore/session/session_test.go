package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"latchkey/authcore/member"
	"latchkey/authcore/secret"
)

type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

func dav(share string) Door {
	return Door{ID: NewID(), Domain: "d", Member: "m", Door: "caldav", Share: share}
}

func imap() Door { return Door{ID: NewID(), Domain: "d", Member: "m", Door: "imap"} }

func open(t *testing.T, r *Doors, d Door) Door {
	t.Helper()
	got, err := r.Open(d)
	if err != nil {
		t.Fatal(err)
	}
	r.Confirm(got.ID)
	return got
}

func TestLimitIsPerMemberAndDoor(t *testing.T) {
	r := NewDoors(2, time.Now, nil)
	first := open(t, r, imap())
	open(t, r, imap())
	if _, err := r.Open(imap()); !errors.Is(err, ErrTooMany) {
		t.Errorf("the third: %v", err)
	}
	other := imap()
	other.Member = "n"
	open(t, r, other)
	if _, ok := r.End(first.ID); !ok || r.Has(first.ID) {
		t.Error("the first does not end")
	}
	if _, ok := r.End(first.ID); ok {
		t.Error("it ends twice")
	}
	open(t, r, imap())
	if r.Len() != 3 || len(r.List("d", "m")) != 2 || len(r.List("d", "")) != 3 || len(r.List("other", "")) != 0 {
		t.Errorf("%d live", r.Len())
	}
}

func TestIdleSessionsMakeRoom(t *testing.T) {
	c := &clock{t: time.Now()}
	var gone []ID
	r := NewDoors(3, c.now, func(d Door) { gone = append(gone, d.ID) })
	a := open(t, r, dav("a"))
	c.pass(time.Minute)
	b := open(t, r, dav("b"))
	c.pass(time.Second)
	open(t, r, Door{ID: NewID(), Domain: "d", Member: "m", Door: "caldav"}) // shared with nobody: never idle
	if again, ok := r.Shared("a"); !ok || again.ID != a.ID {
		t.Error("the first is not there")
	}
	c.pass(time.Second)
	open(t, r, dav("c"))
	if len(gone) != 1 || gone[0] != b.ID {
		t.Errorf("gone: %v, want the longest idle %v", gone, b.ID)
	}
	c.pass(Idle)
	if _, ok := r.Shared("a"); ok || len(r.List("d", "m")) != 1 {
		t.Error("an idle session is still shared or listed")
	}
	if fresh := open(t, r, dav("a")); fresh.ID == a.ID || len(gone) != 3 {
		t.Errorf("gone: %v", gone)
	}
}

func TestSharedIsConfirmedOnce(t *testing.T) {
	for _, ends := range []bool{false, true} {
		r := NewDoors(0, time.Now, nil)
		first, err := r.Open(dav("a"))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := r.Confirmed(ctx, first.ID); !errors.Is(err, context.Canceled) {
			t.Errorf("not confirmed yet, and %v", err)
		}
		var wg sync.WaitGroup
		for range 20 {
			second, err := r.Open(dav("a"))
			if err != nil || second.ID != first.ID {
				t.Fatal(second.ID, err)
			}
			wg.Go(func() {
				if err := r.Confirmed(t.Context(), second.ID); errors.Is(err, ErrEnded) != ends || err != nil && !ends {
					t.Errorf("ends %v: %v", ends, err)
				}
			})
		}
		if ends {
			r.End(first.ID)
		} else {
			r.Confirm(first.ID)
		}
		wg.Wait()
		if _, ok := r.Shared("a"); ok == ends {
			t.Errorf("ends %v, shared %v", ends, ok)
		}
	}
}

func TestRegistryUnderRaces(t *testing.T) {
	r := NewDoors(5, time.Now, func(Door) {})
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			d, err := r.Open(dav(fmt.Sprint(i % 10)))
			if err != nil {
				t.Error(err)
				return
			}
			r.Confirm(d.ID)
			if i%3 == 0 {
				r.End(d.ID)
			}
			if n := len(r.List("d", "m")); n > 5 {
				t.Errorf("%d live", n)
			}
		})
	}
	wg.Wait()
	for _, d := range r.List("d", "") {
		r.End(d.ID)
	}
	if len(r.of)+len(r.shared)+len(r.sessions) != 0 {
		t.Errorf("left: %v, %v, %v", r.of, r.shared, r.sessions)
	}
}

func TestTokenParses(t *testing.T) {
	d := member.NewDomainID()
	token := NewToken(d)
	got, hash, err := ParseToken(token)
	if err != nil || got != d || hash != Hash(token) || strings.Contains(hash, token.Reveal()) {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range []string{"", "lk_", "lk__", token.Reveal()[1:], token.Reveal() + "=", "LK" + token.Reveal()[2:], "lk_" + strings.Repeat("0", 26) + token.Reveal()[29:]} {
		if _, _, err := ParseToken(secret.New(bad)); !errors.Is(err, ErrToken) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestLive(t *testing.T) {
	now := time.Now()
	for _, c := range []struct {
		name string
		w    Web
		want bool
	}{
		{"new", Web{UsedAt: now, ExpiresAt: now.Add(1)}, true},
		{"at its end", Web{UsedAt: now, ExpiresAt: now}, false},
		{"idle", Web{UsedAt: now.Add(-WebIdle), ExpiresAt: now.Add(1)}, false},
		{"an API token is never idle", Web{Name: "x", UsedAt: now.Add(-WebIdle), ExpiresAt: now.Add(1)}, true},
		{"zero", Web{}, false},
	} {
		if got := c.w.Live(now); got != c.want {
			t.Errorf("%s: got %v", c.name, got)
		}
	}
}

func FuzzParseToken(f *testing.F) {
	f.Add(NewToken(member.NewDomainID()).Reveal())
	f.Add("lk_" + strings.Repeat("a", 26) + "_" + strings.Repeat("A", 43))
	f.Add("lk__")
	f.Fuzz(func(t *testing.T, s string) {
		d, hash, err := ParseToken(secret.New(s))
		if err == nil && (!strings.HasPrefix(s, "lk_"+string(d)+"_") || len(hash) != 64) {
			t.Fatalf("%q: %q, %q", s, d, hash)
		}
	})
}

// What another process opened counts here, over the limit if need be; a DAV session among it gives way like any other.
func TestAdopted(t *testing.T) {
	var gone []ID
	r := NewDoors(2, time.Now, func(d Door) { gone = append(gone, d.ID) })
	for _, id := range []ID{"a", "b", "c"} {
		r.Adopt(Door{ID: id, Domain: "d", Member: "m", Door: "imap"})
	}
	r.Adopt(Door{ID: "a", Domain: "d", Member: "m", Door: "imap"})
	if n := len(r.List("d", "m")); n != 3 || !r.Has("a") || !r.Domains()["d"] {
		t.Errorf("%d sessions, want the three", n)
	}
	if _, err := r.Open(Door{ID: "e", Domain: "d", Member: "m", Door: "imap"}); !errors.Is(err, ErrTooMany) {
		t.Errorf("one more: %v, want that there are too many", err)
	}
	for _, id := range []ID{"x", "y"} {
		r.Adopt(Door{ID: id, Domain: "d", Member: "m", Door: "caldav", Share: "the same"})
	}
	if _, shared := r.Shared("the same"); shared {
		t.Error("a session of another process is shared")
	}
	if _, err := r.Open(Door{ID: "z", Domain: "d", Member: "m", Door: "caldav", Share: "new"}); err != nil || len(gone) != 1 {
		t.Errorf("a new DAV session: %v, and %v gave way", err, gone)
	}
	for _, id := range []ID{"a", "b", "c", "x", "y", "z"} {
		r.End(id)
	}
	if r.Len() != 0 || len(r.of) != 0 || len(r.shared) != 0 {
		t.Errorf("left: %d, %v, %v", r.Len(), r.of, r.shared)
	}
}

// What a seat's text is written with is json's, byte for byte: it is a member of a set, and older nodes read it.
func TestSeatIsJSON(t *testing.T) {
	for name, d := range map[string]Door{
		"plain":     {ID: "id", Credential: "account", Since: time.Date(2026, 5, 4, 12, 0, 0, 120_000_000, time.UTC)},
		"all":       {ID: "id", Credential: "c", CredentialName: "Mail", From: "192.0.2.1", Agent: "A", Since: time.Unix(1, 0), Until: time.Unix(2, 0), Share: "s"},
		"escaped":   {ID: "id", Credential: "c", CredentialName: `"\` + "\x00\n\x7f<&>", Agent: "\xff\u2028 Füße 手", Since: time.Unix(1, 0)},
		"other one": {ID: "id", Credential: "c", Since: time.Date(2026, 5, 4, 12, 0, 0, 0, time.FixedZone("", 3600))},
	} {
		t.Run(name, func(t *testing.T) {
			got := SeatOf("process", d)
			s := seat{ID: d.ID, Process: "process", Credential: d.Credential, Name: d.CredentialName, From: d.From, Agent: d.Agent,
				Since: d.Since.UTC().Truncate(time.Millisecond), Until: d.Until.UTC().Truncate(time.Second), Shared: d.Share != ""}
			var want strings.Builder
			e := json.NewEncoder(&want)
			e.SetEscapeHTML(false)
			if err := e.Encode(s); err != nil || got != strings.TrimRight(want.String(), "\n") {
				t.Errorf("got %s, want %s (%v)", got, want.String(), err)
			}
		})
	}
}
