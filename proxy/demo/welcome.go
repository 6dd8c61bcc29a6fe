package demo

import (
	"fmt"
	"strings"
	"time"
)

const welcomeText = `From: Latchkey demo <postmaster@%[3]s>
To: <%[1]s>
Subject: Welcome to the Latchkey demo
Date: %[2]s
Message-ID: <welcome.%[4]s>
MIME-Version: 1.0
Content-Type: text/plain; charset=utf-8

Hello,

you reached this mailbox through a door: a program signed in there, and the
door signed in here on your behalf.

Write to any other person of the demo and the message arrives in that INBOX.
Write to an address outside and nothing leaves this machine: a copy waits in
your mailbox "Sent elsewhere".

All of this is in memory and gone when the demo ends.
`

func welcome(address string, now time.Time) []byte {
	_, domain, _ := cutAddress(address)
	text := fmt.Sprintf(welcomeText, address, now.Format(time.RFC1123Z), domain, address)
	return []byte(strings.ReplaceAll(text, "\n", "\r\n"))
}
