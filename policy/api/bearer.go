package api

import (
	"net/http"
	"strings"

	"latchkey/authcore/secret"
)

// bearer takes the token out of the one Authorization header (RFC 6750 section 2.1). Tokens in the query, in a form or in
// a cookie are not looked at: they leak into logs, and browsers send them for others.
func bearer(h http.Header) (secret.String, bool) {
	v := h.Values("Authorization")
	if len(v) != 1 {
		return secret.String{}, false
	}
	scheme, token, ok := strings.Cut(v[0], " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return secret.String{}, false
	}
	return secret.New(strings.TrimSpace(token)), true
}
