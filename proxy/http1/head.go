package http1

import (
	"errors"
	"net/http"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// What is not sent: it would not arrive as one request.
var (
	errMethod = errors.New("the method is no token")
	errTarget = errors.New("the target is no path")
	errHost   = errors.New("the host is none")
	errField  = errors.New("a field's name or value is not acceptable")
)

// framing says how the end of a request's body is told: RFC 9112 section 6.
type framing int

const (
	none framing = iota
	counted
	chunked
)

func framingOf(r *http.Request) framing {
	switch {
	case r.Body == nil || r.Body == http.NoBody:
		return none
	case r.ContentLength <= 0 || len(r.Trailer) > 0: // the length is unknown, or trailers need chunks
		return chunked
	}
	return counted
}

// appendHead writes the head of r behind b.
func appendHead(b []byte, r *http.Request, f framing) ([]byte, error) {
	target := r.URL.RequestURI()
	switch {
	case !httpguts.ValidHeaderFieldName(r.Method): // a field's name is a token, as a method is: RFC 9110 section 5.1, 9.1
		return b, errMethod
	case !pathOnly(target):
		return b, errTarget
	case r.Host == "" || !httpguts.ValidHostHeader(r.Host):
		return b, errHost
	}
	b = append(append(append(append(b, r.Method...), ' '), target...), " HTTP/1.1\r\n"...)
	b = appendField(b, "Host", r.Host)
	b = appendFraming(b, r, f)
	if r.Close {
		b = appendField(b, "Connection", "close")
	}
	b, err := appendFields(b, r.Header)
	if err != nil {
		return b, err
	}
	return append(b, "\r\n"...), nil
}

// pathOnly says whether s is an origin-form that ends where the request line says so.
func pathOnly(s string) bool {
	if !strings.HasPrefix(s, "/") {
		return false
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] == 0x7f {
			return false
		}
	}
	return true
}

func appendField(b []byte, name, value string) []byte {
	return append(append(append(append(b, name...), ": "...), value...), "\r\n"...)
}

func appendFraming(b []byte, r *http.Request, f framing) []byte {
	switch f {
	case counted:
		b = strconv.AppendInt(append(b, "Content-Length: "...), r.ContentLength, 10)
		return append(b, "\r\n"...)
	case chunked:
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
		for name := range r.Trailer {
			if passes(name) {
				b = appendField(b, "Trailer", name)
			}
		}
		return b
	}
	switch r.Method {
	case http.MethodPost, http.MethodPut, http.MethodPatch: // RFC 9110 section 8.6
		b = appendField(b, "Content-Length", "0")
	}
	return b
}

// own says whether a field is written here alone, or not at all.
func own(name string) bool {
	switch http.CanonicalHeaderKey(name) {
	case "Host", "Content-Length", "Transfer-Encoding", "Trailer", "Connection", "Keep-Alive", "Proxy-Connection", "Upgrade":
		return true
	}
	return false
}

// appendFields writes all fields but our own.
func appendFields(b []byte, h http.Header) ([]byte, error) {
	for name, values := range h {
		if own(name) {
			continue
		}
		if !httpguts.ValidHeaderFieldName(name) {
			return b, errField
		}
		for _, value := range values {
			if !httpguts.ValidHeaderFieldValue(value) {
				return b, errField
			}
			if value == "" && name == "User-Agent" {
				continue // as Transport takes it: none
			}
			b = appendField(b, name, value)
		}
	}
	return b, nil
}

// passes says whether a trailer of that name may be sent on: RFC 9110 section 6.5.1.
func passes(name string) bool {
	switch http.CanonicalHeaderKey(name) {
	case "Age", "Cookie", "Date", "Expires", "Location", "Retry-After", "Set-Cookie", "Vary":
		return false
	}
	return !own(name) && httpguts.ValidHeaderFieldName(name) && httpguts.ValidTrailerHeader(name)
}

// dropTrailers leaves those that may be sent on.
func dropTrailers(h http.Header) {
	for name := range h {
		if !passes(name) {
			delete(h, name)
		}
	}
}
