package quick

import (
	"encoding/base64"
	"slices"

	"latchkey/authcore/secret"
)

// PINLength is how many digits a PIN has.
const PINLength = 6

// PINRule is one word out of a closed set: what a PIN must not be.
type PINRule string

// The rules. "No repeats or runs" is taken strictly: what a thief tries first is refused.
const (
	NotSixDigits  PINRule = "not_six_digits"
	Repeated      PINRule = "repeated_digits"    // a digit three times in a row, or a group said again: 111472, 123123, 474747
	Consecutive   PINRule = "consecutive_digits" // three up or down, the ring closed, doubled ones too: 123, 321, 890, 112233
	TooFewOfThem  PINRule = "too_few_digits"     // fewer than three different ones: 474474
	differentOnes         = 3
)

// CheckPIN answers every rule that a PIN breaks.
func CheckPIN(typed secret.String) []PINRule {
	p := []byte(typed.Reveal())
	if len(p) != PINLength || slices.ContainsFunc(p, func(b byte) bool { return b < '0' || b > '9' }) {
		return []PINRule{NotSixDigits}
	}
	var broken []PINRule
	if thrice(p) || saidAgain(p, 2) || saidAgain(p, 3) {
		broken = append(broken, Repeated)
	}
	if once := slices.Compact(slices.Clone(p)); runs(once, 1) || runs(once, 9) {
		broken = append(broken, Consecutive)
	}
	slices.Sort(p)
	if len(slices.Compact(p)) < differentOnes {
		broken = append(broken, TooFewOfThem)
	}
	return broken
}

func thrice(p []byte) bool {
	for i := range len(p) - 2 {
		if p[i] == p[i+1] && p[i] == p[i+2] {
			return true
		}
	}
	return false
}

// saidAgain: the whole PIN is one group of n digits, again and again.
func saidAgain(p []byte, n int) bool {
	for i := n; i < len(p); i++ {
		if p[i] != p[i-n] {
			return false
		}
	}
	return true
}

// runs: three digits in a row, each step more than the one before, modulo ten. A step of nine goes down.
func runs(p []byte, step byte) bool {
	next := func(i int) bool { return (p[i]-'0'+step)%10 == p[i+1]-'0' }
	for i := range max(0, len(p)-2) {
		if next(i) && next(i+1) {
			return true
		}
	}
	return false
}

const pinLabel = "quick pin"

// PrintPIN is what is hashed slowly in the place of a PIN: its fingerprint under a server key, bound to the device. The
// fingerprint alone would stop whoever has the records and not the keys; who has both could try all million PINs in a
// second, and people use a PIN elsewhere too, so it is hashed like a password on top.
func PrintPIN(keys *secret.Keys, device string, pin secret.String) (keyID string, print secret.String) {
	id, mac := keys.MAC(pinLabel, device, pin.Reveal())
	return id, printed(mac)
}

// PrintPINUnder is the same under the server key named id; false when it is gone.
func PrintPINUnder(keys *secret.Keys, id, device string, pin secret.String) (secret.String, bool) {
	mac, ok := keys.MACUnder(id, pinLabel, device, pin.Reveal())
	return printed(mac), ok
}

func printed(mac []byte) secret.String { return secret.New(base64.RawStdEncoding.EncodeToString(mac)) }
