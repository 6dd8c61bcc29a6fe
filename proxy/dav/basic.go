package dav

import (
	"encoding/base64"
	"net/http"
	"strings"

	"latchkey/authcore"
	"latchkey/authcore/secret"
)

// maxCredentials bounds the decoded credentials: a name of 1024 bytes, which is more than any address, and a password of
// 128 code points in any writing.
const maxCredentials = 1024 + 1 + 1024

// credentials reads an Authorization header: RFC 7617 section 2. False: there is none that could be right, so nobody
// needs to be asked.
func credentials(h http.Header) (authcore.Password, bool) {
	values := h.Values("Authorization")
	if len(values) != 1 {
		return authcore.Password{}, false
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	if !strings.EqualFold(scheme, "Basic") { // RFC 9110 section 11.1
		return authcore.Password{}, false
	}
	token = strings.Trim(token, " ")
	if len(token) > base64.StdEncoding.EncodedLen(maxCredentials) {
		return authcore.Password{}, false
	}
	plain, err := base64.StdEncoding.Strict().DecodeString(token)
	if err != nil {
		return authcore.Password{}, false
	}
	name, password, ok := strings.Cut(string(plain), ":")
	// RFC 7617 section 2: neither may hold control characters
	if !ok || name == "" || len(name) > 1024 || strings.ContainsFunc(string(plain), control) {
		return authcore.Password{}, false
	}
	return authcore.Password{UnverifiedName: name, Secret: secret.New(password)}, true
}

func control(r rune) bool { return r < ' ' || r == 0x7f }

// challenge asks for Basic credentials in UTF-8: RFC 7617 section 2.1.
func challenge(realm string) string {
	if realm == "" {
		realm = "Latchkey"
	}
	return `Basic realm="` + realm + `", charset="UTF-8"`
}
