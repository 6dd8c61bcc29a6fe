package imap

import (
	"slices"
	"strings"

	"latchkey/proxy/sasl"
)

// basics are what our own dialogue does.
var basics = []string{"IMAP4rev1", "SASL-IR", "LITERAL+", "ID"}

// maxOffered bounds what stands in the greeting beyond the basics: Dovecot and Cyrus have about forty.
const maxOffered = 100

// capability is RFC 9051 section 6.1.1.
func (d *dialogue) capability(cmd *command) error {
	if err := cmd.end(); err != nil {
		return err
	}
	return d.c.Reply("* CAPABILITY %s\r\n%s OK Done\r\n", d.capabilities(), cmd.tag)
}

// capabilities lists what holds now, and remembers what was told of the upstreams.
func (d *dialogue) capabilities() string {
	list := slices.Clone(basics)
	if d.secure() {
		for _, name := range sasl.Names() {
			list = append(list, "AUTH="+name)
		}
	} else {
		if d.o.StartTLS != nil {
			list = append(list, "STARTTLS")
		}
		list = append(list, "LOGINDISABLED") // RFC 9051 section 6.2.3
	}
	d.told = d.offered()
	return strings.Join(append(list, d.told...), " ")
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
	for _, name := range from {
		if len(list) < maxOffered && isAtom(name) && !ofDialogue(name) && !has(list, name) {
			list = append(list, name)
		}
	}
	return list
}

// ofDialogue says whether name tells what may be said before sign-in, or what may never be.
func ofDialogue(name string) bool {
	name = strings.ToUpper(name)
	switch name {
	case "STARTTLS", "LOGINDISABLED", "LOGIN-REFERRALS", "UNAUTHENTICATE", "LITERAL-":
		return true
	}
	return strings.HasPrefix(name, "AUTH=") || has(basics, name)
}

// has compares as RFC 9051 section 6.1.1 says: without regard to letter case.
func has(list []string, name string) bool {
	return slices.ContainsFunc(list, func(s string) bool { return strings.EqualFold(s, name) })
}
