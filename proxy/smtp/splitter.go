package smtp

import (
	"slices"

	"latchkey/authcore/member"
	"latchkey/proxy/relay"
)

// The splitter is the rule of the relay once the member is signed in. What it takes from the client goes upstream byte
// for byte, or not at all:
//
//   - A command goes as it is if its verb is allowed (commands.go) and, for MAIL, if the sender is the member's own
//     (mailfrom.go). Else it is answered here, in its turn, and the upstream never sees it.
//   - DATA (data.go) and BDAT (bdat.go) stream; nothing is spooled, and nobody but the upstream answers for a message.
//   - A reply goes as it is. It is matched with its command, because 354 alone opens the way for a message's octets.
//
// Three edits are made, and no other: STARTTLS, AUTH, XCLIENT and XFORWARD leave the reply to EHLO (capabilities.go);
// where the upstream could not be told of the client, a Received field goes in front of a message (received.go), and
// the size of its first BDAT chunk grows by it.

// Bounds of what is looked at in one piece. The relay's buffer must hold each of them.
const (
	// maxCommand bounds a command with its CRLF. RFC 5321 section 4.5.3.1.4 has 512 octets; what SIZE, DSN, AUTH=,
	// SMTPUTF8 and their like may add stays under two thousand more. It is no more generous, for an upstream might cut
	// a longer line in two and read its tail as a command that was never judged.
	maxCommand = 4096
	// maxReplyLine bounds a line of a reply, for which RFC 5321 section 4.5.3.1.5 has 512 octets.
	maxReplyLine = 8192
	// maxEHLO bounds the whole reply to EHLO, which is filtered in one piece: twenty times a long one.
	maxEHLO = 12288
	// maxOutstanding bounds the commands that wait for their reply; the next one is held. Clients that pipeline
	// (RFC 2920) do so with some dozen recipients, and a hundred must be taken (RFC 5321 section 4.5.3.1.8).
	maxOutstanding = 256
)

// phase says how the client's next octets are read.
type phase uint8

const (
	commands phase = iota
	asked          // DATA is sent and not answered: what follows is a body or commands, by the answer
	body           // inside DATA
	chunk          // inside the octets of BDAT
	quitting       // QUIT is sent and not answered
)

// splitter keeps the relay of one session. Its state is some 400 octets, whatever is sent.
type splitter struct {
	own   []string // the member's addresses: what MAIL may name
	any   bool     // MAIL may name any sender
	trace *trace   // what to put in front of messages; nil: nothing
	ext   extensions

	phase    phase
	line     lineState // body: where in its line
	answered bool      // body: the upstream has answered before the end
	left     int64     // chunk: octets to come
	last     bool      // chunk: it ends the message
	chunked  bool      // a message was begun with BDAT and not ended
	untraced bool      // body: the Received field must still go out
	utf8     bool      // the last MAIL had SMTPUTF8

	queue    [maxOutstanding]reply // a ring: the kinds of the replies that are awaited
	head, n  int
	midReply bool // the client has got a reply without its last line

	draining bool // nothing new begins
}

var _ relay.Splitter = (*splitter)(nil)

// FromClient says what happens to the client's octets.
func (s *splitter) FromClient(p []byte) relay.Action {
	switch {
	case s.draining && !s.inMessage():
		return hold()
	case s.phase == body:
		return s.fromBody(p)
	case s.phase == chunk:
		return s.fromChunk(p)
	case s.phase == commands:
		return s.fromCommands(p)
	default: // asked, quitting: the reply says what p is
		return hold()
	}
}

// hold takes nothing: more must come, from either side.
func hold() relay.Action { return relay.Action{Kind: relay.Hold} }

// forward passes n octets; where there are none it waits.
func forward(n int) relay.Action {
	if n == 0 {
		return hold()
	}
	return relay.Action{Kind: relay.Forward, N: n}
}

// owns says whether the member may send as p: the address itself or an alias, as the sign-in name would be read.
func (s *splitter) owns(p path) bool {
	if s.any {
		return true
	}
	sender, err := member.ParseName(p.local+"@"+p.domain, "")
	return err == nil && slices.ContainsFunc(s.own, func(address string) bool {
		name, err := member.ParseName(address, "")
		return err == nil && name == sender
	})
}
