package dav

import (
	"net/http"
	"net/url"
	"strings"
)

// place says how a URI of the client's side is written on the upstream's, and back. The host is the same on both, for
// Host is kept; the scheme may differ, and servers compare it.
type place struct {
	host      string   // as the client named it, in Host
	upstream  url.URL  // scheme and host
	principal []string // names of the member, for the rule of the encoded slash
}

// rewriteHeaders checks and rewrites Destination and If.
func (p place) rewriteHeaders(h http.Header) error {
	if values, ok := h["Destination"]; ok {
		if len(values) != 1 {
			return errPath
		}
		to, err := p.inward(values[0])
		if err != nil {
			return err
		}
		h.Set("Destination", to)
	}
	for i, value := range h["If"] {
		to, err := p.rewriteIf(value)
		if err != nil {
			return err
		}
		h["If"][i] = to
	}
	return nil
}

// inward rewrites a Simple-ref, which is an absolute URI or a path: RFC 4918 section 8.3.
func (p place) inward(ref string) (string, error) {
	if strings.HasPrefix(ref, "/") {
		return ref, p.check(ref)
	}
	scheme, rest, ok := strings.Cut(ref, "://")
	if !ok {
		return "", errPath
	}
	slash := strings.IndexAny(rest, "/?#")
	if slash < 0 || rest[slash] != '/' || strings.Contains(rest[:slash], "@") {
		return "", errPath
	}
	if err := p.check(rest[slash:]); err != nil {
		return "", err
	}
	if !strings.EqualFold(scheme, "https") || !sameHost(rest[:slash], p.host) {
		return "", errHost
	}
	return p.upstream.Scheme + "://" + p.host + rest[slash:], nil
}

func (p place) check(raw string) error {
	t, err := parseTarget(raw)
	if err != nil {
		return err
	}
	return checkSlashes(t.path, p.principal)
}

// sameHost compares two authorities of https URIs.
func sameHost(a, b string) bool {
	return strings.EqualFold(strings.TrimSuffix(a, ":443"), strings.TrimSuffix(b, ":443"))
}

// rewriteIf rewrites the resource tags of an If header, and leaves lists as they are: RFC 4918 section 10.4.
func (p place) rewriteIf(value string) (string, error) {
	var out strings.Builder
	for rest := value; rest != ""; {
		var piece string
		var err error
		switch rest[0] {
		case ' ', '\t':
			piece, rest = rest[:1], rest[1:]
		case '<':
			piece, rest, err = p.tag(rest)
		case '(':
			piece, rest, err = list(rest)
		default:
			err = errPath
		}
		if err != nil {
			return "", err
		}
		out.WriteString(piece)
	}
	return out.String(), nil
}

// tag rewrites the resource tag that rest begins with. Another host has no resources here: such a header is refused.
func (p place) tag(rest string) (piece, after string, err error) {
	end := strings.IndexByte(rest, '>')
	if end < 0 {
		return "", "", errPath
	}
	to, err := p.inward(rest[1:end])
	if err != nil {
		return "", "", errPath
	}
	return "<" + to + ">", rest[end+1:], nil
}

// list takes a list of conditions off rest: state tokens in angle brackets, entity tags in square ones.
func list(rest string) (piece, after string, err error) {
	for i := 1; i < len(rest); i++ {
		switch rest[i] {
		case ')':
			return rest[:i+1], rest[i+1:], nil
		case '<':
			i += skip(rest[i:], '>')
		case '[':
			i += skipEntityTag(rest[i:])
		case '(':
			return "", "", errPath
		}
	}
	return "", "", errPath
}

// skip answers how far the closing c is; what has none reaches to the end.
func skip(s string, c byte) int {
	if i := strings.IndexByte(s, c); i >= 0 {
		return i
	}
	return len(s)
}

// skipEntityTag answers how far the "]" behind a quoted string is, which may hold anything: RFC 9110 section 8.8.3.
func skipEntityTag(s string) int {
	open := strings.IndexByte(s, '"')
	if open < 0 {
		return skip(s, ']')
	}
	shut := strings.IndexByte(s[open+1:], '"')
	if shut < 0 {
		return len(s)
	}
	behind := open + 1 + shut
	return behind + skip(s[behind:], ']')
}

// outward rewrites a Location that names the upstream, or the door with the upstream's scheme.
func (p place) outward(location string) string {
	scheme, rest, ok := strings.Cut(location, "://")
	if !ok || !strings.EqualFold(scheme, p.upstream.Scheme) && !strings.EqualFold(scheme, "https") {
		return location
	}
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	if authority := rest[:end]; strings.EqualFold(authority, p.host) || strings.EqualFold(authority, p.upstream.Host) {
		return "https://" + p.host + rest[end:]
	}
	return location
}
