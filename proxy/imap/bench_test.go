package imap_test

import (
	"testing"

	"latchkey/proxy"
	"latchkey/proxy/imap"
	"latchkey/proxy/proxytest"
)

// BenchmarkSignIn is one connection with LOGIN and LOGOUT.
func BenchmarkSignIn(b *testing.B) {
	proxytest.SignIns(b, proxytest.Bench{
		Door: func(a proxy.Authenticator) proxy.Protocol {
			return imap.New(imap.Options{Auth: a, Hostname: "door.example"})
		},
		Client: proxytest.Talk{
			{Await: "* OK", Say: "a LOGIN ann@new.example secret\r\n"},
			{Await: "a OK", Say: "b LOGOUT\r\n"},
		},
		Upstream: proxytest.Talk{
			{Say: "* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN IDLE] ready\r\n"},
			{Await: "L1 AUTHENTICATE", Say: "L1 OK [CAPABILITY IMAP4rev1 IDLE] done\r\n"},
			{Await: "b LOGOUT", Say: "* BYE\r\nb OK done\r\n"},
		},
	})
}
