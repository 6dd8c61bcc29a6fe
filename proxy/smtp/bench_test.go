package smtp

import (
	"strings"
	"testing"

	"latchkey/proxy"
	"latchkey/proxy/proxytest"
)

// BenchmarkSignIn is one connection that submits nothing.
func BenchmarkSignIn(b *testing.B) { submit(b, "") }

// BenchmarkMessage is one connection with a message of 10 KB.
func BenchmarkMessage(b *testing.B) {
	submit(b, strings.Repeat(strings.Repeat("x", 70)+"\r\n", 10<<10/72))
}

func submit(b *testing.B, message string) {
	client := proxytest.Talk{
		{Await: "220", Say: "EHLO client.example\r\n"},
		{Await: "250 ", Say: "AUTH PLAIN AGFubkBuZXcuZXhhbXBsZQBzZWNyZXQ=\r\n"},
		{Await: "235", Say: "QUIT\r\n"},
	}
	upstream := proxytest.Talk{
		{Say: "220 up.example ESMTP\r\n"},
		{Await: "EHLO", Say: "250-up.example\r\n250-AUTH PLAIN\r\n250 8BITMIME\r\n"},
		{Await: "AUTH", Say: "235 2.7.0 OK\r\n"},
	}
	if message != "" {
		client[2].Say = "MAIL FROM:<ann@new.example>\r\n"
		client = append(client, proxytest.Talk{
			{Await: "250", Say: "RCPT TO:<bob@other.example>\r\n"}, {Await: "250", Say: "DATA\r\n"},
			{Await: "354", Say: message + ".\r\n"}, {Await: "250", Say: "QUIT\r\n"},
		}...)
		upstream = append(upstream, proxytest.Talk{
			{Await: "MAIL", Say: "250 OK\r\n"}, {Await: "RCPT", Say: "250 OK\r\n"}, {Await: "DATA", Say: "354 Go on\r\n"}, {Await: ".\r\n", Say: "250 Queued\r\n"},
		}...)
	}
	proxytest.SignIns(b, proxytest.Bench{
		Door: func(a proxy.Authenticator) proxy.Protocol {
			return New(Options{Authenticator: a, Hostname: "door.example"})
		},
		Client:   client,
		Upstream: append(upstream, proxytest.Talk{{Await: "QUIT", Say: "221 Bye\r\n"}}...),
	})
}
