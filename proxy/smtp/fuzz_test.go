package smtp

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"testing"
)

// Bits of a fuzzed session's mode.
const (
	modeChunking = 1 << iota
	modeRefuses
	modeReceived
	modeDrained // asked to leave half-way
)

// FuzzSplitter sends any octets as a client. Whatever they are and however they are cut into packets, the same octets
// reach either side, and nothing reaches the upstream that should not.
func FuzzSplitter(f *testing.F) {
	for _, seed := range []string{
		"MAIL FROM:<a@new.example> SIZE=1\r\nRCPT TO:<b@x>\r\nDATA\r\nS: x\r\n\r\n..\r\n.\r\nQUIT\r\n",
		"DATA\r\nDATA\r\nhi\n.\r\nXCLIENT LOGIN=b\r\n", "DATA\r\nDATA\r\nhi\r\n.\rNOOP\r\n", "DATA\r\nDATA\r\n.\r\n.\r\n",
		"BDAT 3\r\nabcBDAT 0\r\nBDAT 17 LAST\r\nXCLIENT LOGIN=b\r\nNOOP\r\n", "HELO x\r\nBDAT 17 LAST\r\nXCLIENT LOGIN=b\r\n",
		"EHLO x\r\nBDAT 1 LAST\r\n\nRSET\r\nEHLO y\r\nNOOP\r\n", "BDAT 2\r\n\r\nDATA\r\nDATA\r\nx\r\n.\r\n",
		"MAIL FROM:<b@new.example>\r\nMAIL FROM:<\"a\"@new.example> AUTH=<>\r\nMAIL FROM:<@x,@y:A@NEW.example>\r\nMAIL FROM:<>\r\n",
		"MAIL FROM: <a@new.example>\r\nMAIL FROM:<\"a@new.example> x\"@b>\r\nMAIL FROM:<\"\\a\"@new.example>\r\nMAIL FROM:<\xef\xbd\x81@new.example>\r\n",
		"NOOP\r\nSTARTTLS\r\nAUTH PLAIN =\r\nXFORWARD A=b\r\nxclient\r\nNOOP\nXCLIENT\r\n", "NOOP\r\nQUIT x\r\nNOOP\r\n", "NOOP \x00\r\nNOOP\rNOOP\r\n",
	} {
		for mode := range byte(16) {
			f.Add([]byte(seed), uint64(mode)*7+1, mode)
		}
	}
	f.Fuzz(func(t *testing.T, client []byte, seed uint64, mode byte) {
		if mode&modeDrained != 0 {
			checkLeave(t, client, seed, mode)
			return
		}
		whole := session(t, client, mode, func(n int) int { return n })
		random := rand.New(rand.NewPCG(seed, 0))
		parts := session(t, client, mode, func(n int) int { return random.IntN(n + 1) })
		if whole != parts {
			t.Errorf("cut into packets it is another session:\n%q\n%q", whole, parts)
		}
	})
}

type outcomes struct{ toUpstream, toClient, ended, cause string }

// session plays a client against the reference; some says how many of n octets come now, over and over.
func session(t *testing.T, client []byte, mode byte, some func(n int) int) outcomes {
	r, up := newFuzzed(mode)
	seen, said := 0, ""
	for idle := 0; r.ended == "" && idle < 3; idle++ {
		if n := some(len(client)); n > 0 {
			r.fromClient(client[:n])
			client, idle = client[n:], -1
		}
		if r.toUp.Len() > seen {
			said += up.take(r.toUp.Bytes()[seen:])
			seen, idle = r.toUp.Len(), -1
		}
		if n := some(len(said)); n > 0 {
			r.fromUpstream([]byte(said[:n]))
			said, idle = said[n:], -1
		}
		if len(client)+len(said) > 0 {
			idle = -1
		}
	}
	up.take(r.toUp.Bytes()[seen:])
	checkSides(t, r, up)
	return outcomes{dates.ReplaceAllString(r.toUp.String(), "DATE"), r.toClient.String(), r.ended, fmt.Sprint(r.cause)}
}

func newFuzzed(mode byte) (*rig, *reference) {
	s := &splitter{own: []string{"a@new.example"}}
	up := &reference{chunking: mode&modeChunking != 0, refuses: mode&modeRefuses != 0, received: mode&modeReceived != 0}
	s.ext.chunking, up.offered = up.chunking, up.chunking
	if up.received {
		s.trace = &trace{host: "door.example", helo: "pc", id: "s1"}
	}
	return &rig{s: s}, up
}

var (
	dates      = regexp.MustCompile(`[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d \+0000`)
	replyLines = regexp.MustCompile(`^([2-5]\d\d[ -][ -~]*\r\n)*$`)
	forbidden  = regexp.MustCompile(`(?m)^250[ -](STARTTLS|AUTH|XCLIENT)`)
)

func checkSides(t *testing.T, r *rig, up *reference) {
	if up.wrong != "" {
		t.Errorf("the upstream got %s", up.wrong)
	}
	if r.ended == "impossible" {
		t.Errorf("impossible action")
	}
	if out := r.toClient.String(); !replyLines.MatchString(out) || forbidden.MatchString(out) {
		t.Errorf("the client got %q", out)
	}
}

// checkLeave asks for an end at any moment, for a drain or a cut: a message that is begun and not ended is broken off.
func checkLeave(t *testing.T, client []byte, seed uint64, mode byte) {
	random := rand.New(rand.NewPCG(seed, 1))
	r, up := newFuzzed(mode)
	client = client[:random.IntN(len(client)+1)]
	r.fromClient(client)
	seen := 0
	for range random.IntN(8) {
		said := up.take(r.toUp.Bytes()[seen:])
		seen = r.toUp.Len()
		r.fromUpstream([]byte(said))
	}
	if r.ended != "" {
		return
	}
	r.part(random.IntN(2) == 0)
	if r.ended == "" {
		r.end(r.how) // the time is over
	}
	up.take(r.toUp.Bytes()[seen:])
	checkSides(t, r, up)
	if begun := up.reading == "message" || up.reading == "chunk"; begun && r.ended != "abort" {
		t.Errorf("inside a message it ends by %s", r.ended)
	}
}
