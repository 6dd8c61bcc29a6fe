package quick

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"latchkey/authcore/secret"
)

func TestCheckPIN(t *testing.T) {
	for pin, want := range map[string][]PINRule{
		"":        {NotSixDigits},
		"28394":   {NotSixDigits},
		"2839475": {NotSixDigits},
		"28a947":  {NotSixDigits},
		"28394٣":  {NotSixDigits}, // a digit, and no ASCII one
		" 28394":  {NotSixDigits},
		"283947":  nil,
		"112847":  nil, // twice is no repeat
		"112244":  nil,
		"102030":  nil,
		"283111":  {Repeated},
		"444928":  {Repeated},
		"583583":  {Repeated},
		"475475":  {Repeated},
		"474747":  {Repeated, TooFewOfThem},
		"111111":  {Repeated, TooFewOfThem},
		"000000":  {Repeated, TooFewOfThem},
		"474474":  {Repeated, TooFewOfThem},
		"474477":  {TooFewOfThem},
		"123456":  {Consecutive},
		"654321":  {Consecutive},
		"901234":  {Consecutive},
		"583210":  {Consecutive},
		"478907":  {Consecutive}, // the ring is closed
		"410983":  {Consecutive},
		"112233":  {Consecutive}, // doubled
		"581233":  {Consecutive},
		"123123":  {Repeated, Consecutive},
		"111234":  {Repeated, Consecutive},
		"332211":  {Consecutive},
		"890890":  {Repeated, Consecutive},
	} {
		if got := CheckPIN(secret.New(pin)); !slices.Equal(got, want) {
			t.Errorf("%q: %v, want %v", pin, got, want)
		}
	}
}

// The rules leave enough to guess: five tries find one of those left with less than one chance in 150 000.
func TestPINsLeft(t *testing.T) {
	left := 0
	for i := range 1_000_000 {
		if len(CheckPIN(secret.New(fmt.Sprintf("%06d", i)))) == 0 {
			left++
		}
	}
	if left < 750_000 || left > 999_000 {
		t.Errorf("%d PINs are left", left)
	}
}

func TestPrintPINBindsKeyDeviceAndPIN(t *testing.T) {
	one, err := secret.NewKeys(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	other, err := secret.NewKeys(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	id, print := PrintPIN(one, "device", secret.New("283947"))
	if again, ok := PrintPINUnder(one, id, "device", secret.New("283947")); !ok || again.Reveal() != print.Reveal() {
		t.Error("the same PIN has another print")
	}
	for name, c := range map[string]struct {
		keys        *secret.Keys
		device, pin string
	}{"key": {other, "device", "283947"}, "device": {one, "tablet", "283947"}, "PIN": {one, "device", "283948"}} {
		if _, p := PrintPIN(c.keys, c.device, secret.New(c.pin)); p.Reveal() == print.Reveal() {
			t.Errorf("another %s has the same print", name)
		}
	}
	if _, ok := PrintPINUnder(other, id, "device", secret.New("283947")); ok {
		t.Error("a key that is gone made a print")
	}
}
