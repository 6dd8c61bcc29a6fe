package pop3_test

import (
	"testing"

	"latchkey/proxy"
	"latchkey/proxy/pop3"
	"latchkey/proxy/proxytest"
)

// BenchmarkSignIn is one connection with USER, PASS and QUIT.
func BenchmarkSignIn(b *testing.B) {
	proxytest.SignIns(b, proxytest.Bench{
		Door: func(a proxy.Authenticator) proxy.Protocol { return pop3.New(pop3.Options{Auth: a}) },
		Client: proxytest.Talk{
			{Await: "+OK", Say: "USER ann@new.example\r\n"},
			{Await: "+OK", Say: "PASS secret\r\n"},
			{Await: "+OK", Say: "QUIT\r\n"},
		},
		Upstream: proxytest.Talk{
			{Say: "+OK ready\r\n"},
			{Await: "CAPA", Say: "+OK\r\nSASL PLAIN\r\nUSER\r\n.\r\n"},
			{Await: "AUTH", Say: "+OK in\r\n"},
			{Await: "QUIT", Say: "+OK bye\r\n"},
		},
	})
}
