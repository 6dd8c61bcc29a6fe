package dav

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"
)

// The rules of paths. A path is passed on as it came, so it must mean one thing to everybody who reads it:
//
//   - it begins with one slash, and holds no fragment and no blank, which would end it in the request line that goes
//     upstream: HTTP/2 can bring one (RFC 9113 section 8.3.1);
//   - no segment is "." or "..", raw or encoded, alone or before a ";", nor becomes one when "%2F" is read as a slash;
//   - there is no backslash, NUL or other control character, raw or encoded, and what is encoded is UTF-8;
//   - up to the principal's segment, an encoded slash is refused: a server that decodes before it splits would find
//     another principal. The principal's segment is the first that, decoded, is the member's name as the upstream knows
//     it or one of his addresses; in a path without one, no segment may hold an encoded slash.
//
// Behind the principal's segment an encoded slash is a part of a resource's name, and some programs make such names.

var (
	errMethod = errors.New("the method is not acceptable")
	errPath   = errors.New("the path is not acceptable")
	errSlash  = errors.New("the path holds an encoded slash before the name of its owner")
	errHost   = errors.New("the host is another")
)

// target is a request's path and query, as they came.
type target struct {
	path  string // raw
	query string // raw, with its "?"; empty: none
}

// targetOf takes path and query from the request line: RFC 9112 section 3.2.
func targetOf(r *http.Request) (target, error) {
	raw := r.RequestURI
	if !strings.HasPrefix(raw, "/") { // absolute-form; asterisk-form has no path
		_, rest, ok := strings.Cut(raw, "://")
		slash := strings.IndexByte(rest, '/')
		if !ok || slash < 0 {
			return target{}, errPath
		}
		raw = rest[slash:]
	}
	return parseTarget(raw)
}

// parseTarget splits a raw path from its query and checks it.
func parseTarget(raw string) (target, error) {
	path, _, found := strings.Cut(raw, "?")
	t := target{path: path}
	if found {
		t.query = raw[len(path):]
	}
	if strings.ContainsAny(raw, "# ") || strings.ContainsFunc(t.query, control) {
		return target{}, errPath
	}
	return t, checkPath(path)
}

// checkPath keeps all rules but the one of the encoded slash, for which the member must be known.
func checkPath(path string) error {
	if !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "//") {
		return errPath
	}
	for segment := range strings.SplitSeq(path[1:], "/") {
		name, err := url.PathUnescape(segment)
		if err != nil || !utf8.ValidString(name) || strings.ContainsFunc(name, control) || strings.Contains(name, `\`) {
			return errPath
		}
		for part := range strings.SplitSeq(name, "/") {
			bare, _, _ := strings.Cut(part, ";") // some servers cut parameters off before they look
			if bare == "." || bare == ".." {
				return errPath
			}
		}
	}
	return nil
}

// checkSlashes refuses encoded slashes up to the principal's segment. The path has passed checkPath.
func checkSlashes(path string, principal []string) error {
	for segment := range strings.SplitSeq(path[1:], "/") {
		name, err := url.PathUnescape(segment)
		if err != nil {
			return errPath
		}
		if slices.Contains(principal, name) {
			return nil
		}
		if strings.Contains(name, "/") {
			return errSlash
		}
	}
	return nil
}
