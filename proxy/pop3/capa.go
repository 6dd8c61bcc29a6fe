package pop3

import (
	"slices"
	"strings"

	"latchkey/proxy/sasl"
)

// basics are what our own dialogue does: RFC 2449 section 6.4, RFC 3206 section 4.
var basics = []string{"RESP-CODES", "AUTH-RESP-CODE"}

// maxOffered bounds what stands in CAPA beyond the basics: the registry has twenty.
const maxOffered = 40

// capa is RFC 2449 section 5.
func (d *dialogue) capa() error {
	list := slices.Clone(basics)
	switch {
	case d.secure():
		list = append(list, "USER", "SASL "+strings.Join(sasl.Names(), " "))
	case d.o.StartTLS != nil:
		list = append(list, "STLS")
	}
	d.told = d.offered()
	list = append(list, d.told...)
	return d.c.Reply("+OK Capabilities follow\r\n%s\r\n.\r\n", strings.Join(list, "\r\n"))
}

// offered is what this connection's upstreams all have, without what the dialogue alone can tell.
func (d *dialogue) offered() []string {
	if d.o.Offer == nil {
		return nil
	}
	return offerable(d.o.Offer(d.info))
}

func offerable(from []string) []string {
	var list []string
	for _, line := range from {
		if len(list) < maxOffered && isCapability(line) && !ofDialogue(line) && !has(list, line) {
			list = append(list, line)
		}
	}
	return list
}

// ofDialogue says whether a capability tells what may be said before sign-in, or what the door takes upon itself.
func ofDialogue(line string) bool {
	switch name, _, _ := strings.Cut(strings.ToUpper(line), " "); name {
	case "USER", "SASL", "STLS", "APOP", "UTF8", "LANG", "XCLIENT", "IMPLEMENTATION":
		return true
	default:
		return has(basics, name)
	}
}

// isCapability says whether s can stand in a CAPA list: RFC 2449 section 3, and no line that ends the list.
func isCapability(s string) bool {
	for _, b := range []byte(s) {
		if b < ' ' || b >= 0x7f {
			return false
		}
	}
	return s != "" && s[0] > ' ' && s[0] != '.' && len(s) <= maxCapability
}

// maxCapability is RFC 2449 section 4: a response line has 512 octets.
const maxCapability = 512 - len("\r\n")

// has compares without regard to letter case.
func has(list []string, line string) bool {
	return slices.ContainsFunc(list, func(s string) bool { return strings.EqualFold(s, line) })
}
