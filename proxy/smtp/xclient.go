package smtp

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"latchkey/proxy"
)

// XCLIENT (Postfix's XCLIENT_README) tells the upstream who the client is. LOGIN goes with it only where that is the
// way of signing in: an upstream that takes it believes the door every name. Dovecot takes the facts, and ignores LOGIN.

// maxXCLIENT bounds the command, as XCLIENT_README does.
const maxXCLIENT = 512

// xclient tells the facts, and says whether the upstream has heard any.
func (v *visit) xclient() (told bool, err error) {
	way := v.up.SignIn.Way == proxy.XCLIENT
	attributes, offered := v.offers("XCLIENT")
	switch {
	case way && !slices.ContainsFunc(attributes, equalFold("LOGIN")):
		return false, errors.New("does not offer XCLIENT with LOGIN, by which members sign in")
	case !offered || !way && !v.up.Facts.Send:
		return false, nil
	}
	command := v.command(attributes)
	if command == "" {
		return false, nil
	}
	if err := v.say("%s\r\n", command); err != nil {
		return false, err
	}
	if _, err := v.expect("XCLIENT", "220"); err != nil {
		return false, err
	}
	if helo := v.up.Facts.Conn.Helo; v.up.Facts.Send && helo != "" {
		v.hello = helo // the session begins anew, as the client's: its Received field names this
	}
	return true, v.ehlo()
}

// command says what the upstream asks for and what is known; empty: nothing.
func (v *visit) command(attributes []string) string {
	command := "XCLIENT"
	for _, a := range v.attributes() {
		asked := slices.ContainsFunc(attributes, equalFold(a.name))
		word := " " + a.name + "=" + xtext(a.value)
		switch {
		case !asked || a.value == "":
		case a.name == "HELO" && len(command)+len(word)+2 > maxXCLIENT: // EHLO says it again
		default:
			command += word
		}
	}
	if command == "XCLIENT" {
		return ""
	}
	return command
}

type attribute struct{ name, value string }

// attributes are those that are known, HELO last, so that what matters always fits.
func (v *visit) attributes() []attribute {
	var known []attribute
	if v.up.SignIn.Way == proxy.XCLIENT {
		known = append(known, attribute{"LOGIN", v.up.SignIn.User})
	}
	if !v.up.Facts.Send {
		return known
	}
	info := v.up.Facts.Conn
	known = append(known, attribute{"PROTO", "ESMTP"})
	if info.ClientVouched && info.Client.IsValid() {
		known = append(known, attribute{"NAME", "[UNAVAILABLE]"}, // a name of the door's own would stand there else
			attribute{"ADDR", xclientAddr(info.Client)}, attribute{"PORT", port(info.Client)})
	}
	if info.Local.IsValid() {
		known = append(known, attribute{"DESTADDR", xclientAddr(info.Local)}, attribute{"DESTPORT", port(info.Local)})
	}
	return append(known, attribute{"SESSION", v.up.Facts.Session}, attribute{"HELO", info.Helo})
}

func xclientAddr(a netip.AddrPort) string {
	addr := bare(a)
	if addr.Is6() {
		return "IPV6:" + addr.String()
	}
	return addr.String()
}

func port(a netip.AddrPort) string { return strconv.Itoa(int(a.Port())) }

// xtext is RFC 3461 section 4.
func xtext(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		if c <= ' ' || c > '~' || c == '+' || c == '=' {
			fmt.Fprintf(&b, "+%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}
