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
		m := Event{Kind: AppPasswordCreated, Name: strings.Repeat("x", i+1), From: "192.0.2.1", At: noon.Add(time.Duration(i) * time.Minute)}.Message("en")
		if _, err := r.Apply(t.Context(), "d:d", Op("ann", m), Op("bob", m)); err != nil {
			t.Fatal(err)
		}
	}
	var got []Message
	after := ""
	for {
		l, next, err := Inbox{Records: r}.List(t.Context(), "d", "ann", after, 3)
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
	if _, err := r.Apply(t.Context(), "d:d", Op("anna", Event{Kind: PasswordChanged, At: noon}.Message("en"))); err != nil {
		t.Fatal(err)
	}
	if l, _, err := (Inbox{Records: r}).List(t.Context(), "d", "ann", "", 10); err != nil || len(l) > 0 {
		t.Errorf("%v, %v", l, err)
	}
}

func TestCorruptMessageIsNamed(t *testing.T) {
	r := memory.NewRecords(memory.Options{Now: func() time.Time { return noon }})
	op := Op("ann", Event{Kind: PasswordChanged, At: noon}.Message("en"))
	op.Value = []byte("{")
	if _, err := r.Apply(t.Context(), "d:d", op); err != nil {
		t.Fatal(err)
	}
	if _, _, err := (Inbox{Records: r}).List(t.Context(), "d", "ann", "", 10); !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("got %v", err)
	}
}
