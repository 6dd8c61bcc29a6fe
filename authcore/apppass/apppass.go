// Package apppass keeps app passwords: random, made here, for third-party programs only. It refuses a sixth one, names
// that deceive, and any way to read a secret back: what is kept is an HMAC under a server key. A slow hash would add
// nothing to 80 random bits and cost the user a second a connection.
package apppass

import (
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode"

	"latchkey/authcore/member"
	"latchkey/authcore/secret"
	"latchkey/authcore/store"
	"latchkey/policy"
)

// alphabet has 32 letters and digits without look-alikes (no l, o, 0, 1), five bits each.
const (
	alphabet = "abcdefghijkmnpqrstuvwxyz23456789"
	length   = 16 // characters: 80 bits
	group    = 4
	maxName  = 40
	maxNets  = 16 // networks of one app password: an office and its branches
	macLabel = "app password"
	MaxTyped = 128 // bytes of what may be typed with spaces and hyphens; longer is no app password
	letters  = "abcdefghijkmnpqrstuvwxyz"
)

// Record lists a member's app passwords: one record, so that their number is exact under a race.
type Record struct {
	Items []Item `json:"items"`
}

// Item is one app password. Doors empty: good for all; Networks empty: from anywhere; ExpiresAt zero: never.
type Item struct {
	ID          string         `json:"id"`
	Name        string         `json:"name"`
	KeyID       string         `json:"key_id"`
	MAC         []byte         `json:"mac"`
	Doors       []string       `json:"doors,omitempty"`
	Networks    []netip.Prefix `json:"networks,omitempty"`
	CreatedAt   time.Time      `json:"created_at"`
	CreatedFrom string         `json:"created_from,omitempty"`
	ExpiresAt   time.Time      `json:"expires_at,omitzero"`
}

// Use is when an app password was last used, and by what; a record of its own, written at most once a minute.
type Use struct {
	At    time.Time `json:"at"`
	Door  string    `json:"door"`
	From  string    `json:"from"`
	Agent string    `json:"agent,omitempty"`
}

// Key names the Record of a member.
func Key(d member.DomainID, id member.ID) store.Key {
	return store.Key{Partition: member.Partition(d), Name: "app-passwords/" + string(id)}
}

// UseKey names the Use of one app password.
func UseKey(d member.DomainID, id member.ID, item string) store.Key {
	return store.Key{Partition: member.Partition(d), Name: "app-password-use/" + string(id) + "/" + item}
}

// ErrLimit: the member has as many as the policy allows.
var ErrLimit = errors.New("no more app passwords are allowed")

// Wish is what a member asks for.
type Wish struct {
	Name      string
	Doors     []string
	Networks  []string // CIDR or single addresses
	ExpiresAt time.Time
}

// Make checks the wish and makes an item and its secret, as it is shown once. It names every mistake.
func Make(keys *secret.Keys, w Wish, from string, now time.Time) (Item, secret.String, []policy.Mistake) {
	it := Item{ID: rand.Text()[:16], Name: strings.TrimSpace(w.Name), CreatedAt: now.UTC().Truncate(time.Second), CreatedFrom: from, ExpiresAt: w.ExpiresAt.UTC()}
	if w.ExpiresAt.IsZero() {
		it.ExpiresAt = time.Time{}
	}
	mistakes := it.take(w, now)
	if len(mistakes) > 0 {
		return Item{}, secret.String{}, mistakes
	}
	plain := random()
	it.KeyID, it.MAC = keys.MAC(macLabel, plain)
	return it, secret.New(grouped(plain)), nil
}

// NameMistakes says what is wrong with the name of something that its owner tells from others by it.
func NameMistakes(name string) []policy.Mistake {
	n := len([]rune(name))
	if n >= 1 && n <= maxName && !strings.ContainsFunc(name, deceives) && strings.ToValidUTF8(name, "") == name {
		return nil
	}
	return []policy.Mistake{{Field: "name", Reason: fmt.Sprintf("must have 1 to %d characters without control or text-direction characters", maxName)}}
}

func (it *Item) take(w Wish, now time.Time) (mistakes []policy.Mistake) {
	bad := func(field, format string, a ...any) {
		mistakes = append(mistakes, policy.Mistake{Field: field, Reason: fmt.Sprintf(format, a...)})
	}
	mistakes = append(mistakes, NameMistakes(it.Name)...)
	for _, d := range w.Doors {
		if !slices.Contains(policy.Doors(), d) {
			bad("doors", "%q is no door: use %s", d, strings.Join(policy.Doors(), ", "))
		} else if !slices.Contains(it.Doors, d) {
			it.Doors = append(it.Doors, d)
		}
	}
	if len(w.Networks) > maxNets {
		bad("networks", "must be at most %d", maxNets)
		return mistakes
	}
	for _, n := range w.Networks {
		p, err := parseNetwork(n)
		if err != nil {
			bad("networks", "%q is neither an address nor a network like 192.0.2.0/24", n)
		} else {
			it.Networks = append(it.Networks, p)
		}
	}
	if !w.ExpiresAt.IsZero() && !w.ExpiresAt.After(now) {
		bad("expires_at", "must lie in the future")
	}
	return mistakes
}

func parseNetwork(s string) (netip.Prefix, error) {
	if p, err := netip.ParsePrefix(s); err == nil {
		return p.Masked(), nil
	}
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" {
		return netip.Prefix{}, errors.New("not a network")
	}
	return netip.PrefixFrom(a, a.BitLen()), nil
}

// deceives: control characters, and those that turn the direction of text around (Unicode UAX #9), line breaks included.
func deceives(r rune) bool {
	return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029'
}

func random() string {
	for {
		var b [length]byte
		_, _ = rand.Read(b[:])
		for i := range b {
			b[i] = alphabet[b[i]%32] // 32 divides 256: no bias
		}
		s := string(b[:])
		if strings.ContainsAny(s, letters) && strings.ContainsAny(s, "23456789") {
			return s
		}
	}
}

func grouped(s string) string {
	var g []string
	for i := 0; i < len(s); i += group {
		g = append(g, s[i:i+group])
	}
	return strings.Join(g, "-")
}

// Normalise undoes what people do to a password they copy: spaces, hyphens and letter case. False when the rest cannot be
// an app password.
func Normalise(typed secret.String) (string, bool) {
	s := typed.Reveal()
	if len(s) > MaxTyped {
		return "", false
	}
	var b []byte
	for i := range len(s) {
		c := s[i]
		switch {
		case c == ' ' || c == '-':
			continue
		case c >= 'A' && c <= 'Z':
			c += 'a' - 'A'
		}
		if strings.IndexByte(alphabet, c) < 0 || len(b) == length {
			return "", false
		}
		b = append(b, c)
	}
	return string(b), len(b) == length
}

// Match answers which item the typed secret is; nil when none. It computes one MAC for each key that the items name, and
// one when there is no item, so that a member without app passwords costs the same.
func (r *Record) Match(keys *secret.Keys, typed secret.String) *Item {
	plain, ok := Normalise(typed)
	current, mac := keys.MAC(macLabel, plain)
	macs := map[string][]byte{current: mac}
	var found *Item
	for i := range r.items() {
		it := &r.Items[i]
		m, have := macs[it.KeyID]
		if !have {
			m, _ = keys.MACUnder(it.KeyID, macLabel, plain)
			macs[it.KeyID] = m
		}
		if subtle.ConstantTimeCompare(m, it.MAC) == 1 && ok && len(m) > 0 {
			found = it
		}
	}
	return found
}

// Unsure names a server key that keys lack and an item stands under, where the typed secret has the form of an app password:
// whether it is one of the record's cannot be said then. Empty: Match can be believed.
func (r *Record) Unsure(keys *secret.Keys, typed secret.String) string {
	if _, ok := Normalise(typed); !ok {
		return ""
	}
	for _, it := range r.items() {
		if !keys.Has(it.KeyID) {
			return it.KeyID
		}
	}
	return ""
}

// Fresh is the typed secret's MAC under the current key where the item, which it is, stands under an old one; false where
// there is nothing to do.
func (it *Item) Fresh(keys *secret.Keys, typed secret.String) (Keyed, bool) {
	plain, ok := Normalise(typed)
	if !ok || it.KeyID == keys.CurrentMAC() {
		return Keyed{}, false
	}
	k := Keyed{Was: it.KeyID}
	k.KeyID, k.MAC = keys.MAC(macLabel, plain)
	return k, true
}

// Keyed is what takes the place of a MAC under the key Was.
type Keyed struct {
	Was, KeyID string
	MAC        []byte
}

// Rekeyed is the record with another MAC of the same app password; false where it is gone or was re-keyed meanwhile.
// Nothing else changes, so no session ends.
func (r *Record) Rekeyed(id string, k Keyed) (Record, bool) {
	next := Record{Items: slices.Clone(r.items())}
	for i := range next.Items {
		if it := &next.Items[i]; it.ID == id && it.KeyID == k.Was {
			it.KeyID, it.MAC = k.KeyID, k.MAC
			return next, true
		}
	}
	return Record{}, false
}

func (r *Record) items() []Item {
	if r == nil {
		return nil
	}
	return r.Items
}

// Has says whether an item with the id is there.
func (r *Record) Has(id string) bool {
	return slices.ContainsFunc(r.items(), func(it Item) bool { return it.ID == id })
}

// With is the record with one more item, at most limit of them. r may be nil.
func (r *Record) With(it Item, limit int) (Record, error) {
	if len(r.items()) >= limit {
		return Record{}, ErrLimit
	}
	return Record{Items: append(slices.Clone(r.items()), it)}, nil
}

// Without is the record without the item; false when it was not there.
func (r *Record) Without(id string) (Record, bool) {
	items := slices.DeleteFunc(slices.Clone(r.items()), func(it Item) bool { return it.ID == id })
	return Record{Items: items}, len(items) < len(r.items())
}

// Verdict says what a right app password is good for.
type Verdict uint8

// The verdicts; the zero one refuses.
const (
	Refused    Verdict = iota // expired, or from a network that it is not bound to: told like a wrong one
	OutOfScope                // not good for this door
	Good
)

// Judge says whether the item is good at these doors, from this address, now.
func (it *Item) Judge(doors []string, from netip.Addr, now time.Time) Verdict {
	if !it.ExpiresAt.IsZero() && !now.Before(it.ExpiresAt) {
		return Refused
	}
	if len(it.Networks) > 0 && !slices.ContainsFunc(it.Networks, func(p netip.Prefix) bool { return p.Contains(from.Unmap()) }) {
		return Refused
	}
	for _, d := range doors {
		if len(it.Doors) > 0 && !slices.Contains(it.Doors, d) {
			return OutOfScope
		}
	}
	return Good
}
