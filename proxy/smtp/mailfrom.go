package smtp

import (
	"strings"
	"unicode/utf8"
)

// MAIL passes when its reverse-path is the member's own address or alias, or null: RFC 6409 section 6.1 lets a
// submission server enforce rights, and notifications of clients (RFC 8098) come from the null path. It is read by
// the grammar, and what does not fit is never forwarded: an upstream might read another sender in it.

// path is a reverse-path of RFC 5321 section 4.1.2. A source route is read over, as section 3.3 asks.
type path struct{ local, domain string } // both empty: the null path; local without its quotes

// judgeMail reads "FROM:<path> parameters".
func (s *splitter) judgeMail(v verdict, args string) verdict {
	from, params, ok := parseMail(args)
	switch {
	case !ok:
		return refused(replyBadMail)
	case from != path{} && !s.owns(from):
		return refused(replyNotYours)
	}
	v.utf8 = false
	for _, p := range params {
		v.utf8 = v.utf8 || strings.EqualFold(p, "SMTPUTF8")
	}
	return v
}

func parseMail(args string) (from path, params []string, ok bool) {
	const word = "FROM:"
	if len(args) < len(word) || !strings.EqualFold(args[:len(word)], word) || !utf8.ValidString(args) {
		return path{}, nil, false
	}
	// RFC 5321 section 3.3 has no blank behind the colon. Old programs send one and Postfix takes it; it changes nothing
	// in who the sender is, so the upstream may judge it.
	bracketed, ok := strings.CutPrefix(strings.TrimLeft(args[len(word):], " "), "<")
	if !ok {
		return path{}, nil, false
	}
	from, rest, ok := cutPath(bracketed)
	if !ok || rest != "" && rest[0] != ' ' {
		return path{}, nil, false
	}
	params = strings.Fields(rest)
	for _, p := range params {
		if !isParameter(p) {
			return path{}, nil, false
		}
	}
	return from, params, true
}

// cutPath reads what follows "<" up to and with ">".
func cutPath(s string) (p path, rest string, ok bool) {
	if rest, null := strings.CutPrefix(s, ">"); null {
		return path{}, rest, true
	}
	if s, ok = cutRoute(s); !ok {
		return path{}, "", false
	}
	if p.local, s, ok = cutLocal(s); !ok || !strings.HasPrefix(s, "@") {
		return path{}, "", false
	}
	if p.domain, s, ok = cutDomain(s[1:]); !ok || !strings.HasPrefix(s, ">") {
		return path{}, "", false
	}
	// RFC 5321 sections 4.5.3.1.1 and 4.5.3.1.2
	return p, s[1:], len(p.local) <= 64 && len(p.domain) <= 255
}

// cutRoute reads over "@one,@two:".
func cutRoute(s string) (rest string, ok bool) {
	if !strings.HasPrefix(s, "@") {
		return s, true
	}
	for strings.HasPrefix(s, "@") {
		if _, s, ok = cutDomain(s[1:]); !ok || s == "" {
			return "", false
		}
		if s[0] == ':' {
			return s[1:], true
		}
		if s[0] != ',' {
			return "", false
		}
		s = s[1:]
	}
	return "", false
}

// cutLocal reads a dot-string or a quoted string, and answers what it means.
func cutLocal(s string) (local, rest string, ok bool) {
	if strings.HasPrefix(s, `"`) {
		return cutQuoted(s[1:])
	}
	n := strings.IndexFunc(s, func(r rune) bool { return r != '.' && !isAtext(r) })
	if n < 0 {
		n = len(s)
	}
	local = s[:n]
	return local, s[n:], local != "" && local[0] != '.' && local[n-1] != '.' && !strings.Contains(local, "..")
}

// cutQuoted reads up to and with the closing quote. "abc" and "a\bc" are the mailbox abc (RFC 5321 section 4.1.2).
func cutQuoted(s string) (local, rest string, ok bool) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '"':
			return b.String(), s[i+1:], b.Len() > 0
		case '\\':
			if i++; i == len(s) || s[i] >= utf8.RuneSelf {
				return "", "", false
			}
		}
		b.WriteByte(s[i])
	}
	return "", "", false
}

// isAtext is that of RFC 5322 section 3.2.3 with RFC 6531 section 3.3.
func isAtext(r rune) bool {
	return isAlnum(r) || r >= utf8.RuneSelf || strings.ContainsRune("!#$%&'*+-/=?^_`{|}~", r)
}

func isAlnum(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
}

// cutDomain reads a domain or an address literal.
func cutDomain(s string) (domain, rest string, ok bool) {
	if strings.HasPrefix(s, "[") {
		end := strings.IndexByte(s, ']')
		if end < 2 || strings.ContainsAny(s[1:end], " [\\<>@,") {
			return "", "", false
		}
		return s[:end+1], s[end+1:], true
	}
	n := strings.IndexFunc(s, func(r rune) bool { return r != '.' && r != '-' && !isAlnum(r) && r < utf8.RuneSelf })
	if n < 0 {
		n = len(s)
	}
	return s[:n], s[n:], isDomain(s[:n])
}

// isDomain wants labels that neither begin nor end with a hyphen.
func isDomain(s string) bool {
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63*utf8.UTFMax || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
	}
	return true
}

// isParameter wants a keyword, perhaps with "=" and a value (RFC 5321 section 4.1.2; RFC 6533 section 3 has UTF-8 in
// values). "=" in a value is let through, as every server does.
func isParameter(s string) bool {
	keyword, value, valued := strings.Cut(s, "=")
	if keyword == "" || keyword[0] == '-' || valued && value == "" {
		return false
	}
	return !strings.ContainsFunc(keyword, func(r rune) bool { return r != '-' && !isAlnum(r) })
}
