package autoconfig

import (
	"encoding/json"
	"net/url"
	"strings"

	"latchkey/authcore/secret"
	"latchkey/policy"
)

// ThunderbirdCode is what Thunderbird for Android reads from a QR code ("Export for Mobile", format version 1): one account,
// with its app password. ok is false where there is no way in or out for mail.
func (l Services) ThunderbirdCode(address, name string, password secret.String) (code secret.String, ok bool) {
	in, ok := l.For(policy.IMAP)
	kind := 0
	if !ok {
		in, ok = l.For(policy.POP3)
		kind = 1
	}
	out, sends := l.For(policy.SMTP)
	if !ok || !sends {
		return secret.String{}, false
	}
	if name == "" {
		name = address
	}
	const cleartext, smtp, none = 1, 0, "" // within TLS; account name: the address
	b, err := json.Marshal([]any{
		1, []int{1, 1},
		[]any{kind, in.Host, in.Port, in.security(), cleartext, address, none, password.Reveal()},
		[]any{[]any{[]any{smtp, out.Host, out.Port, out.security(), cleartext, address, password.Reveal()}, []any{address, name}}},
	})
	return secret.New(string(b)), err == nil
}

func (s Service) security() int {
	if s.StartTLS {
		return 2
	}
	return 3
}

// DAVx5Code is an address that opens DAVx5's sign-in with everything filled in.
func (l Services) DAVx5Code(address string, password secret.String) (code secret.String, ok bool) {
	s, ok := l.For(policy.CalDAV)
	if !ok {
		s, ok = l.For(policy.CardDAV)
	}
	if !ok {
		return secret.String{}, false
	}
	u, err := url.Parse(s.URL())
	if err != nil {
		return secret.String{}, false
	}
	u.User = url.UserPassword(address, password.Reveal())
	return secret.New("davx5" + strings.TrimPrefix(u.String(), "https")), true
}
