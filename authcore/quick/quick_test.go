package quick

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"latchkey/authcore/secret"
)

func TestRecord(t *testing.T) {
	var r *Record
	if r.Find("a", 1) != nil || len(r.Standing(1).Devices) != 0 {
		t.Error("an empty record has a device")
	}
	full := Record{Devices: []Device{{ID: "old", Epoch: 1}}}
	var err error
	for i := range MaxDevices {
		if full, err = full.With(Device{ID: fmt.Sprint(i), Epoch: 2}); err != nil {
			t.Fatal(err)
		}
	}
	if full.Find("old", 1) != nil {
		t.Error("what is void is kept")
	}
	if _, err := full.With(Device{ID: "more", Epoch: 2}); !errors.Is(err, ErrLimit) {
		t.Errorf("one too many: %v", err)
	}
	if full.Find("3", 1) != nil || full.Find("3", 2) == nil {
		t.Error("a device stands under another epoch")
	}
	next := full
	for n := 1; n < MaxWrong; n++ {
		var gone bool
		if next, gone = next.CountWrong("3"); gone || next.Find("3", 2).Wrong != n {
			t.Fatalf("after %d: gone %v, %+v", n, gone, next.Find("3", 2))
		}
	}
	if full.Find("3", 2).Wrong != 0 {
		t.Error("the old record was changed")
	}
	if next, gone := next.CountWrong("3"); !gone || next.Find("3", 2) != nil || len(next.Devices) != MaxDevices-1 {
		t.Errorf("after the last: %v, %d devices", gone, len(next.Devices))
	}
}

func TestWishNamesEveryMistake(t *testing.T) {
	_, mistakes := Wish{Name: "a\u202eb", Key: []byte(`"x"`), PIN: secret.New("123123")}.Take()
	var got []string
	for _, m := range mistakes {
		got = append(got, m.Field)
		if strings.Contains(m.Reason, "123123") {
			t.Errorf("a mistake shows the PIN: %v", m)
		}
	}
	if fmt.Sprint(got) != "[name public_key pin pin]" {
		t.Errorf("mistakes %v", got)
	}
	for _, name := range []string{"", "  ", strings.Repeat("x", 41), "a\nb", "\xff"} {
		if _, m := TakeName(name); len(m) != 1 {
			t.Errorf("%q is a name", name)
		}
	}
	if name, m := TakeName("  Ann's phone "); name != "Ann's phone" || m != nil {
		t.Errorf("%q, %v", name, m)
	}
}
