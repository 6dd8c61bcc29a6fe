package imap

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// proxyHops is how many proxies of Dovecot may still follow: its own proxies begin with five, and we were the first.
const proxyHops = 4

// facts gathers an ID with what the upstream should know of the client, to leave with what follows, and answers its
// tag; empty: nothing is told. The names are those of Dovecot, which believes them of login_trusted_networks.
func (u *upstream) facts() string {
	f := u.leg.Facts
	if !f.Send || !has(u.caps, "ID") {
		return ""
	}
	pairs := []string{quoted("name"), quoted("Latchkey")}
	add := func(key, value string) {
		if value != "" {
			pairs = append(pairs, quoted(key), quoted(value))
		}
	}
	if f.Conn.ClientVouched {
		add("x-originating-ip", address(f.Conn.Client))
		add("x-originating-port", port(f.Conn.Client))
	}
	add("x-connected-ip", address(f.Conn.Local))
	add("x-connected-port", port(f.Conn.Local))
	add("x-session-id", f.Session)
	add("x-proxy-ttl", strconv.Itoa(proxyHops))
	tag := u.tag()
	_ = u.leg.Printf("%s ID (%s)\r\n", tag, strings.Join(pairs, " ")) // sticky: who flushes is told
	return tag
}

// factsTaken waits for the answer to the ID. That it was understood is not asked: RFC 2971 section 2 lets nothing depend
// on it.
func (u *upstream) factsTaken(tag string) error {
	if tag == "" {
		return nil
	}
	if err := u.leg.Flush(); err != nil {
		return fmt.Errorf("ID: %w", err)
	}
	r, err := u.answer(tag)
	if err == nil && r.tag == "+" {
		err = fmt.Errorf("upstream says %s", r)
	}
	if err != nil {
		return fmt.Errorf("ID: %w", err)
	}
	return nil
}

// quoted writes s as a quoted string, with what cannot stand in one left out.
func quoted(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range []byte(cut(s, maxIDValue)) {
		switch {
		case c < ' ' || c >= 0x7f:
			continue
		case c == '"' || c == '\\':
			b.WriteByte('\\')
		}
		b.WriteByte(c)
	}
	b.WriteByte('"')
	return b.String()
}

// address and port are empty where nothing is known.
func address(a netip.AddrPort) string {
	if !a.IsValid() {
		return ""
	}
	return a.Addr().Unmap().WithZone("").String()
}

func port(a netip.AddrPort) string {
	if !a.IsValid() {
		return ""
	}
	return strconv.Itoa(int(a.Port()))
}
