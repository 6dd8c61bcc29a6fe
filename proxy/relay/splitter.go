package relay

import "time"

// Splitter decides what becomes of the octets of one session. The relay calls it from one goroutine at a time; it owns
// none and does no I/O.
type Splitter interface {
	// FromClient and FromUpstream see what has come from that side and is not yet taken, at least one octet, and say
	// what becomes of its front. They are called again with the rest until nothing is left, or with Hold until more
	// has come from that side or the other one has moved. They must not keep p.
	FromClient(p []byte) Action
	FromUpstream(p []byte) Action
	// Part says how to leave now: Close or Abort, with a last word for the client. It is asked when the session is to
	// be cut (drain false) or drained (true), and again whenever something moved since. If the time it answers is
	// over zero, the session goes on for at most that time, and then leaves as the action says; zero: leave now. While
	// it is being cut, nothing more is taken from the client, and the time is at most 900 ms.
	Part(drain bool) (Action, time.Duration)
}

// Kind is what an Action does.
type Kind int

// The kinds of an Action. The zero one is the safe one.
const (
	Abort      Kind = iota // reset the upstream, then write Bytes to the client and end
	Forward                // pass the first N octets on as they are
	Drop                   // swallow the first N octets
	ToClient               // swallow the first N octets, write Bytes to the client
	ToUpstream             // swallow the first N octets, write Bytes to the upstream
	Hold                   // take nothing for now
	Close                  // write Bytes to the client and end both sides in order
)

// Action is a Splitter's answer. The relay has written Bytes when it asks the next time.
type Action struct {
	Kind  Kind
	N     int    // how many of the octets it takes: at least one, for ToClient and ToUpstream zero too
	Bytes []byte // see Kind
	Cause error  // of Abort and Close: what End says. Nil: ErrAborted, or an end in order
}
