package secret

import (
	"crypto/subtle"
	"fmt"
	"log/slog"
)

// String holds a secret: it never prints, logs or marshals itself. Reveal is called in few places. The text lies behind a
// pointer, for fmt calls no method of an unexported field: there it shows an address.
type String struct{ text *string }

const hidden = "[secret]"

// New wraps s.
func New(s string) String { return String{&s} }

// Reveal answers the secret itself. Every call is a place to look at.
func (s String) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// Empty says whether there is nothing to hide.
func (s String) Empty() bool { return s.Reveal() == "" }

// Equal compares in time that depends on lengths alone.
func (s String) Equal(o String) bool {
	return subtle.ConstantTimeCompare([]byte(s.Reveal()), []byte(o.Reveal())) == 1
}

// Format writes a fixed word whatever the verb.
func (s String) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(hidden)) }

// LogValue keeps the secret out of structured logs.
func (s String) LogValue() slog.Value { return slog.StringValue(hidden) }

// MarshalText refuses to let the secret into JSON, YAML or a map key.
func (s String) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// UnmarshalText takes a secret out of a document.
func (s *String) UnmarshalText(p []byte) error { *s = New(string(p)); return nil }
