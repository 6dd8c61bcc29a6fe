package sasl

import (
	"fmt"
	"unicode"
	"unicode/utf8"

	"latchkey/authcore"
	"latchkey/authcore/secret"
)

// maxPart bounds a name, an authorization identity and a secret, in octets. RFC 4616 section 2 asks for 255 at least;
// 128 characters, the longest password, have at most 512.
const maxPart = 1024

// Password makes a credential of what a client sent, in a SASL message or in a command of its protocol. It refuses with
// ErrMalformed what no person can have for a name or a password. An empty secret is no such thing: it is wrong.
func Password(authorizeAs, name, password string) (authcore.Password, error) {
	if name == "" {
		return authcore.Password{}, fmt.Errorf("%w: no name", ErrMalformed)
	}
	for _, part := range []struct{ what, value string }{
		{"authorization identity", authorizeAs}, {"name", name}, {"secret", password},
	} {
		if err := text(part.value); err != nil {
			return authcore.Password{}, fmt.Errorf("%w: %s %w", ErrMalformed, part.what, err)
		}
	}
	return authcore.Password{UnverifiedName: name, AuthorizeAs: authorizeAs, Secret: secret.New(password)}, nil
}

// text says what is wrong with s as a part of a credential.
func text(s string) error {
	if len(s) > maxPart {
		return fmt.Errorf("is longer than %d octets", maxPart)
	}
	if !utf8.ValidString(s) {
		return fmt.Errorf("is not UTF-8")
	}
	for _, r := range s {
		if unicode.IsControl(r) {
			return fmt.Errorf("has a control character")
		}
	}
	return nil
}
