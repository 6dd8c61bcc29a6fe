package notify

import (
	"errors"
	"strings"
	"testing"
	"time"

	"latchkey/authcore/store"
	"latchkey/authcore/store/memory"
)

var noon = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

func TestInboxListsTheNewestFirst(t *testing.T) {
	r := memory.NewRecords(memory.Options{Now: func() time.Time { return noon }})
	for i := range 7 {
		m := AppPassword(strings.Repeat("x", i+1), "192.0.2.1", noon.Add(time.Duration(i)*time.Minute))
		if _, err := r.Apply(t.Context(), "d:d", Op("ann", m), Op("bob", m)); err != nil {
			t.Fatal(err)
		}
	}
	var got []Message
	after := ""
	for {
		l, next, err := List(t.Context(), r, "d", "ann", after, 3)
		if err != nil {
			t.Fatal(err)
		}
		if got = append(got, l...); next == "" {
			break
		}
		after = next
	}
	if len(got) != 7 {
		t.Fatalf("%d messages", len(got))
	}
	for i, m := range got {
		if want := noon.Add(time.Duration(6-i) * time.Minute); !m.Time.Equal(want) || m.ID == "" {
			t.Errorf("message %d is of %v, want %v", i, m.Time, want)
		}
	}
}

// One member's inbox shows nothing of another whose id begins alike.
func TestInboxIsOnesOwn(t *testing.T) {
	r := memory.NewRecords(memory.Options{Now: func() time.Time { return noon }})
	if _, err := r.Apply(t.Context(), "d:d", Op("anna", Password(false, "", noon))); err != nil {
		t.Fatal(err)
	}
	if l, _, err := List(t.Context(), r, "d", "ann", "", 10); err != nil || len(l) > 0 {
		t.Errorf("%v, %v", l, err)
	}
}

func TestCorruptMessageIsNamed(t *testing.T) {
	r := memory.NewRecords(memory.Options{Now: func() time.Time { return noon }})
	op := Op("ann", Password(false, "", noon))
	op.Value = []byte("{")
	if _, err := r.Apply(t.Context(), "d:d", op); err != nil {
		t.Fatal(err)
	}
	if _, _, err := List(t.Context(), r, "d", "ann", "", 10); !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("got %v", err)
	}
}

// What a message must say: what was done, when, from where, and what to do if it was somebody else.
func TestWhatMessagesSay(t *testing.T) {
	for _, c := range []struct {
		m    Message
		says []string
	}{
		{AppPassword("phone", "192.0.2.1", noon), []string{"phone", "4 May 2026 at 12:00 UTC", "192.0.2.1", "delete it", "change your account password"}},
		{Suspended("ann@example.org", "192.0.2.1", noon), []string{"ann@example.org", "suspended", "4 May 2026", "192.0.2.1", "administrator"}},
		{Slowed("ann@example.org", "192.0.2.1", noon), []string{"ann@example.org", "never suspended", "192.0.2.1"}},
		{Password(false, "", noon), []string{"changed", "4 May 2026", "unknown address", "administrator"}},
		{Password(true, "192.0.2.1", noon), []string{"administrator reset", "4 May 2026"}},
	} {
		for _, s := range c.says {
			if !strings.Contains(c.m.Subject+"\n"+c.m.Text, s) {
				t.Errorf("%s: says nothing of %q: %q", c.m.Kind, s, c.m.Text)
			}
		}
	}
}
