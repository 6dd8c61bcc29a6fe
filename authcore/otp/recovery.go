package otp

import (
	"crypto/hmac"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"time"

	"latchkey/authcore/member"
	"latchkey/authcore/secret"
)

// Recovery codes are for the day on which nothing else is at hand: ten, each for one sign-in, 50 random bits.
const (
	RecoveryCodes    = 10
	Few              = 3 // or less left: the member is told to make new ones
	recoveryLength   = 10
	recoveryAlphabet = "abcdefghijkmnpqrstuvwxyz23456789" // 32 without look-alikes, five bits each
	recoveryLabel    = "recovery code"
)

// RecoveryCode is what is kept of one.
type RecoveryCode struct {
	KeyID string `json:"key_id"`
	MAC   []byte `json:"mac"`
}

// NewRecovery is m with ten new recovery codes in the place of all old ones, and the codes as they are shown once.
func (m *Methods) NewRecovery(keys *secret.Keys, d member.DomainID, id member.ID, now time.Time) (Methods, []secret.String) {
	next, shown := m.Copy(), make([]secret.String, RecoveryCodes)
	next.Recovery, next.Since = make([]RecoveryCode, RecoveryCodes), now.UTC().Truncate(time.Second)
	for i := range shown {
		plain := randomRecovery()
		shown[i] = secret.New(plain[:recoveryLength/2] + "-" + plain[recoveryLength/2:])
		next.Recovery[i].KeyID, next.Recovery[i].MAC = keys.MAC(recoveryLabel, place(d, id), plain)
	}
	return next, shown
}

func randomRecovery() string {
	var b [recoveryLength]byte
	_, _ = rand.Read(b[:]) // never fails since Go 1.24
	for i := range b {
		b[i] = recoveryAlphabet[b[i]%32] // 32 divides 256: no bias
	}
	return string(b[:])
}

// SpendRecovery is m without the recovery code that was typed; ErrWrong when it is none of them.
func (m *Methods) SpendRecovery(keys *secret.Keys, d member.DomainID, id member.ID, typed secret.String) (Methods, error) {
	plain, ok := normaliseRecovery(typed)
	next, found, lacks := m.Copy(), -1, ""
	for i, r := range next.Recovery {
		mac, known := keys.MACUnder(r.KeyID, recoveryLabel, place(d, id), plain)
		if hmac.Equal(mac, r.MAC) && known && ok {
			found = i
		}
		if ok && !known {
			lacks = r.KeyID
		}
	}
	if found < 0 && lacks != "" {
		return Methods{}, fmt.Errorf("recovery codes of member %s: this process lacks server key %s", id, lacks)
	}
	if found < 0 {
		return Methods{}, ErrWrong
	}
	next.Recovery = slices.Delete(next.Recovery, found, found+1)
	return next, nil
}

// normaliseRecovery undoes what people do to a code they copy: spaces, hyphens, capitals.
func normaliseRecovery(typed secret.String) (string, bool) {
	s := typed.Reveal()
	if len(s) > maxTyped {
		return "", false
	}
	s = strings.ToLower(strings.NewReplacer(" ", "", "-", "").Replace(s))
	return s, len(s) == recoveryLength && strings.Trim(s, recoveryAlphabet) == ""
}
