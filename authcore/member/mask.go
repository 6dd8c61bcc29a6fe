package member

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"unicode/utf8"
)

const hiddenPart = "•••"

// ContactID names a contact in requests and answers. It hides nothing: it keeps the contact itself out of paths and logs.
func (k Contact) ContactID() string {
	h := sha256.Sum256([]byte(k.Kind + "\x00" + k.Value))
	return hex.EncodeToString(h[:8])
}

// Masked shows of a contact as much as its owner knows it by: a•••@e•••.org, +81•••••67.
func (k Contact) Masked() string {
	if k.Kind == Mobile {
		return maskNumber(k.Value)
	}
	local, domain, ok := strings.Cut(k.Value, "@")
	if !ok {
		return hiddenPart
	}
	top := ""
	if i := strings.LastIndexByte(domain, '.'); i >= 0 {
		top = domain[i:]
	}
	return first(local) + hiddenPart + "@" + first(domain) + hiddenPart + top
}

func first(s string) string {
	_, n := utf8.DecodeRuneInString(s)
	return s[:n]
}

func maskNumber(e164 string) string {
	country := "+" + Country(e164)
	if n := len(e164) - len(country) - 2; n > 0 && strings.HasPrefix(e164, country) {
		return country + strings.Repeat("•", n) + e164[len(e164)-2:]
	}
	return hiddenPart
}
