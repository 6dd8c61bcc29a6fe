// Package quick keeps what signs a member in without his password: the devices of quick login, each a key of its own with
// a PIN, perhaps with biometrics (WebAuthn), and passkeys. It refuses an eleventh of either, names that deceive, PINs that
// anybody would guess first, keys other than P-256, and WebAuthn without user verification.
//
// A PIN is worth nothing without the key of its device: only what that key has signed makes the server look at a PIN, and
// five wrong ones in a row delete the registration. The private key never leaves the device.
//
// A registration stands under the member's epoch. Suspending or deleting the member and signing him out everywhere void
// it; so does a new password from an administrator or after a forgotten one, which deletes the record. A routine change of
// the password keeps it.
package quick

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"latchkey/authcore/member"
	"latchkey/authcore/secret"
	"latchkey/authcore/store"
	"latchkey/policy"
)

// Bounds.
const (
	MaxDevices  = 10 // of a member: phones and tablets of years
	MaxPasskeys = 10 // of a member: one in each place where he keeps them
	MaxWrong    = 5  // wrong PINs in a row, then the registration is deleted
	maxName     = 40
)

// ErrLimit: the member has as many as there may be.
var ErrLimit = errors.New("no more are allowed")

// Record lists a member's devices: one record, so that their number and the wrong PINs are exact under a race.
type Record struct {
	Devices []Device `json:"devices"`
}

// Device is one registration.
type Device struct {
	ID        string      `json:"id"`
	Name      string      `json:"name"`
	Key       []byte      `json:"key"`    // SubjectPublicKeyInfo of a P-256 key
	KeyID     string      `json:"key_id"` // server key under which the PIN was fingerprinted
	PIN       string      `json:"pin"`    // argon2id over that fingerprint
	Wrong     int         `json:"wrong,omitempty"`
	Biometric *Credential `json:"biometric,omitempty"`
	Epoch     int64       `json:"epoch"` // the member's, when it was registered
	CreatedAt time.Time   `json:"created_at"`
	From      string      `json:"from,omitempty"`
	UsedAt    time.Time   `json:"used_at,omitzero"`
	UsedFrom  string      `json:"used_from,omitempty"`
}

// Key names the Record of a member.
func Key(d member.DomainID, id member.ID) store.Key {
	return store.Key{Partition: member.Partition(d), Name: "quick/" + string(id)}
}

// NewID makes the id of a device. It says where its record lies, so that no index has to be kept beside it.
func NewID(d member.DomainID, id member.ID) string {
	return string(d) + "." + string(id) + "." + string(member.NewID())
}

// ParseID answers whose device an id may be.
func ParseID(device string) (member.DomainID, member.ID, bool) {
	p := strings.Split(device, ".")
	if len(p) != 3 || !isID(p[0]) || !isID(p[1]) || !isID(p[2]) {
		return "", "", false
	}
	return member.DomainID(p[0]), member.ID(p[1]), true
}

func isID(s string) bool {
	return len(s) == 26 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz234567") == ""
}

// Find answers a device that stands under an epoch; nil when there is none. r may be nil.
func (r *Record) Find(device string, epoch int64) *Device {
	if r == nil {
		return nil
	}
	i := slices.IndexFunc(r.Devices, func(d Device) bool { return d.ID == device && d.Epoch == epoch })
	if i < 0 {
		return nil
	}
	return &r.Devices[i]
}

// Standing is the record without what is void under an epoch. r may be nil.
func (r *Record) Standing(epoch int64) Record {
	if r == nil {
		return Record{}
	}
	return Record{Devices: slices.DeleteFunc(slices.Clone(r.Devices), func(d Device) bool { return d.Epoch != epoch })}
}

// With is the record with one more device, at most MaxDevices that stand.
func (r *Record) With(d Device) (Record, error) {
	next := r.Standing(d.Epoch)
	if len(next.Devices) >= MaxDevices {
		return Record{}, ErrLimit
	}
	next.Devices = append(next.Devices, d)
	return next, nil
}

// Without is the record without a device.
func (r *Record) Without(device string) Record {
	return Record{Devices: slices.DeleteFunc(slices.Clone(r.Devices), func(d Device) bool { return d.ID == device })}
}

// Changed is the record with one device changed.
func (r *Record) Changed(device string, change func(*Device)) Record {
	next := Record{Devices: slices.Clone(r.Devices)}
	for i := range next.Devices {
		if next.Devices[i].ID == device {
			change(&next.Devices[i])
		}
	}
	return next
}

// CountWrong is the record after a wrong PIN; gone says that it was the last one allowed, and the device is not in it.
func (r *Record) CountWrong(device string) (next Record, gone bool) {
	next = r.Changed(device, func(d *Device) { d.Wrong++; gone = d.Wrong >= MaxWrong })
	if gone {
		next = next.Without(device)
	}
	return next, gone
}

// Wish is what a member asks for on a new device.
type Wish struct {
	Name string
	Key  []byte // as ParseKey takes it
	PIN  secret.String
}

// Take checks a wish and names every mistake.
func (w Wish) Take() (Device, []policy.Mistake) {
	name, mistakes := TakeName(w.Name)
	key, err := ParseKey(w.Key)
	if err != nil {
		mistakes = append(mistakes, policy.Mistake{Field: "public_key", Reason: err.Error()})
	}
	for _, rule := range CheckPIN(w.PIN) {
		mistakes = append(mistakes, policy.Mistake{Field: "pin", Reason: string(rule)})
	}
	return Device{Name: name, Key: key}, mistakes
}

// TakeName checks the name of a device or passkey.
func TakeName(typed string) (string, []policy.Mistake) {
	name := strings.TrimSpace(typed)
	if n := len([]rune(name)); n < 1 || n > maxName || strings.ContainsFunc(name, deceives) || strings.ToValidUTF8(name, "") != name {
		return "", []policy.Mistake{{Field: "name", Reason: fmt.Sprintf("must have 1 to %d characters without control or text-direction characters", maxName)}}
	}
	return name, nil
}

// deceives: control characters, and those that turn the direction of text around (Unicode UAX #9), line breaks included.
func deceives(r rune) bool {
	return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029'
}
