package smtp

import (
	"strings"

	"latchkey/proxy/sasl"
)

// maxHello bounds the client's name: RFC 5321 section 4.5.3.1.2.
const maxHello = 255

// hello answers EHLO and HELO (RFC 5321 section 4.1.1.1). The name is a word that nobody believes.
func (d *dialogue) hello(extended bool, name string) error {
	if name == "" || len(name) > maxHello || strings.Contains(name, " ") {
		return d.reply(replyBadHello)
	}
	d.info.Helo, d.extended, d.offered = name, extended, nil
	lines := []string{d.p.o.Hostname}
	if extended {
		d.offered = d.p.offer(d.info)
		lines = append(append(lines, d.offered...), d.own()...)
	}
	var b strings.Builder
	for i, line := range lines {
		sign := "-"
		if i == len(lines)-1 {
			sign = " "
		}
		b.WriteString("250" + sign + line + "\r\n")
	}
	return d.reply(b.String())
}

// own lists what the door offers by itself: a way to TLS, then a way to sign in, and nothing that the upstream would
// have to keep.
func (d *dialogue) own() []string {
	switch {
	case d.secure():
		return []string{"AUTH " + strings.Join(sasl.Names(), " ")}
	case d.p.o.TLS != nil:
		return []string{"STARTTLS"}
	}
	return nil
}
