package smtp

import (
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// A message carries a Received field of ours only when the upstream could not be told of the client by XCLIENT: else
// it writes a better one itself, and ours would show a hop that never was one for the mail.

// trace is what the field says of the session.
type trace struct {
	host   string         // the door's name
	helo   string         // the client's own word
	client netip.AddrPort // zero: it may not be told
	id     string         // of the session
}

// field writes the trace information of RFC 5321 section 4.4 for one message, now.
func (t *trace) field(utf8 bool) []byte {
	with := "ESMTPSA" // RFC 3848: there is no AUTH here without TLS
	if utf8 {
		with = "UTF8SMTPSA" // RFC 6531 section 4.3
	}
	return fmt.Appendf(nil, "Received: from %s%s\r\n\tby %s with %s id %s;\r\n\t%s\r\n",
		traceWord(t.helo), t.address(), traceWord(t.host), with, traceWord(t.id), time.Now().UTC().Format(time.RFC1123Z))
}

func (t *trace) address() string {
	addr := bare(t.client)
	switch {
	case !addr.IsValid():
		return ""
	case addr.Is4():
		return " ([" + addr.String() + "])"
	default:
		return " ([IPv6:" + addr.String() + "])" // RFC 5321 section 4.1.3
	}
}

// traceWord keeps what the client said from being read as more than one word.
func traceWord(s string) string {
	s = strings.Map(func(r rune) rune {
		if isAlnum(r) || strings.ContainsRune("-._:[]", r) {
			return r
		}
		return '?'
	}, s[:min(len(s), 255)])
	if s == "" {
		return "unknown"
	}
	return s
}

// bare answers an address without a zone and without the IPv6 dress of an IPv4 one.
func bare(a netip.AddrPort) netip.Addr { return a.Addr().Unmap().WithZone("") }
