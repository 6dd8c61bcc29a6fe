package relay_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/proxy/relay"
	"latchkey/proxy/wire"
)

// lines is a small protocol: each line of the client is answered by one of the upstream, in order. Some lines are
// commands to the splitter itself.
type lines struct {
	open int // lines whose answers are outstanding
	part func(l *lines, drain bool) (relay.Action, time.Duration)
}

var errBad = errors.New("bad line")

func (l *lines) FromClient(p []byte) relay.Action {
	n := bytes.IndexByte(p, '\n') + 1
	line := string(p[:n])
	word, rest, _ := strings.Cut(line, " ")
	switch word {
	case "":
		return relay.Action{Kind: relay.Hold}
	case "drop":
		return relay.Action{Kind: relay.Drop, N: n}
	case "inject":
		l.open++
		return relay.Action{Kind: relay.ToUpstream, N: n, Bytes: []byte(rest)}
	case "abort":
		return relay.Action{Kind: relay.Abort, Bytes: []byte(rest), Cause: errBad}
	case "zero":
		return relay.Action{}
	case "too-much":
		return relay.Action{Kind: relay.Forward, N: len(p) + 1}
	case "negative":
		return relay.Action{Kind: relay.ToClient, N: -1}
	case "nothing":
		return relay.Action{Kind: relay.Forward}
	case "endless":
		return relay.Action{Kind: relay.ToClient}
	case "unknown":
		return relay.Action{Kind: 99, N: n}
	case "panic":
		panic("at the splitter")
	}
	if (word == "local" || word == "close") && l.open > 0 {
		return relay.Action{Kind: relay.Hold} // the answer must not overtake the upstream's
	}
	switch word {
	case "local":
		return relay.Action{Kind: relay.ToClient, N: n, Bytes: []byte(rest)}
	case "close":
		return relay.Action{Kind: relay.Close, N: n, Bytes: []byte(rest)}
	}
	l.open++
	return relay.Action{Kind: relay.Forward, N: n}
}

func (l *lines) FromUpstream(p []byte) relay.Action {
	n := bytes.IndexByte(p, '\n') + 1
	if n == 0 {
		return relay.Action{Kind: relay.Hold}
	}
	l.open--
	return relay.Action{Kind: relay.Forward, N: n}
}

func (l *lines) Part(drain bool) (relay.Action, time.Duration) {
	if l.part == nil {
		return relay.Action{Kind: relay.Close, Bytes: []byte("421 part\n")}, 0
	}
	return l.part(l, drain)
}

func split(t *testing.T, l *lines, f func(t *testing.T, r *rig)) {
	t.Helper()
	bubble(t, relay.Options{Splitter: l}, f)
}

func TestSplitterOrder(t *testing.T) {
	split(t, &lines{}, func(t *testing.T, r *rig) {
		go says(t, r.client, "one\ndrop this\ntwo\nlocal 3\nfour\ninject FIVE\nlocal 6\nseven\nlocal 8\n")
		hears(t, r.upstream, "one\ntwo\n")
		synctest.Wait() // nothing behind the held line may come
		go says(t, r.upstream, "1\n")
		hears(t, r.client, "1\n")
		go says(t, r.upstream, "2")
		synctest.Wait()
		go says(t, r.upstream, "\n")
		hears(t, r.client, "2\n3\n")
		hears(t, r.upstream, "four\nFIVE\n")
		go says(t, r.upstream, "4\n5\n")
		hears(t, r.client, "4\n5\n6\n")
		hears(t, r.upstream, "seven\n")
		go says(t, r.upstream, "7\n")
		hears(t, r.client, "7\n8\n")
		r.client.Close()
		hearsEnd(t, r.upstream, "")
		r.upstream.Close()
		e := r.endsWith(nil)
		if e.FromClient != 65 || e.FromUpstream != 10 {
			t.Errorf("counters %d, %d", e.FromClient, e.FromUpstream)
		}
	})
}

// What a packet holds leaves with as few writes as its actions allow.
func TestSplitterForwardsInOneWrite(t *testing.T) {
	split(t, &lines{}, func(t *testing.T, r *rig) {
		go says(t, r.client, "one\ntwo\nthree\n")
		p := make([]byte, 100)
		if n, err := r.upstream.Read(p); err != nil || string(p[:n]) != "one\ntwo\nthree\n" {
			t.Errorf("one read = %q, %v", p[:n], err)
		}
		r.session.Cut(errCut)
		hearsEnd(t, r.client, "421 part\n")
		r.endsWith(errCut)
	})
}

func TestSplitterEveryOctetPasses(t *testing.T) {
	journeys(t, withLines, splitterEveryOctetPasses)
}

func withLines() relay.Options { return relay.Options{Splitter: &lines{}} }

func splitterEveryOctetPasses(t *testing.T, r *rig) {
	line := strings.Repeat("x", 5000) + "\n"
	const n = 150
	go func() {
		for range n {
			if _, err := io.WriteString(r.client, line); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	go func() {
		got, err := io.ReadAll(io.LimitReader(r.upstream, int64(n*len(line))))
		if err != nil || string(got) != strings.Repeat(line, n) {
			t.Errorf("the upstream got %d octets, %v", len(got), err)
		}
		_, _ = r.upstream.Write(got)
		_ = wire.CloseWrite(r.upstream)
	}()
	if got, err := io.ReadAll(r.client); err != nil || string(got) != strings.Repeat(line, n) {
		t.Errorf("the client got %d octets, %v", len(got), err)
	}
	r.client.Close()
	if e := r.endsWith(nil); e.FromClient != n*int64(len(line)) || e.FromUpstream != e.FromClient {
		t.Errorf("counters %d, %d", e.FromClient, e.FromUpstream)
	}
}

func TestAbortResetsTheUpstream(t *testing.T) {
	journeys(t, withLines, func(t *testing.T, r *rig) {
		says(t, r.client, "DATA\nabort 550 5.6.11 no\nmore of it\n")
		hearsBreak(t, r.upstream, "DATA\n")
		_, _ = io.WriteString(r.client, strings.Repeat("still sending\n", 1000)) // may come too late
		hearsEnd(t, r.client, "550 5.6.11 no\n")
		r.client.Close()
		r.endsWith(errBad)
	})
}

// hearsBreak reads a part of what may have come, and then no end in order. A unix socket has no reset.
func hearsBreak(t *testing.T, c net.Conn, most string) {
	t.Helper()
	got, err := io.ReadAll(c)
	_, unix := c.(*net.UnixConn)
	if !strings.HasPrefix(most, string(got)) || !errors.Is(err, syscall.ECONNRESET) && !(unix && err == nil) {
		t.Errorf("the upstream read %q, %v; want a reset", got, err)
	}
}

// A client that never closes after its last word is left after a second.
func TestLastWordIsShort(t *testing.T) {
	split(t, &lines{}, func(t *testing.T, r *rig) {
		go says(t, r.client, "close 221 bye\n")
		start := time.Now()
		hearsEnd(t, r.client, "221 bye\n")
		hearsEnd(t, r.upstream, "")
		r.endsWith(nil)
		passed(t, start, time.Second)
	})
}

func TestImpossibleActions(t *testing.T) {
	for _, word := range []string{"zero", "too-much", "negative", "nothing", "endless", "unknown", "panic"} {
		t.Run(word, func(t *testing.T) {
			engines(t, func(t *testing.T, settings relay.Settings) {
				r := start(t, settings, over(tcpPair(t)), over(tcpPair(t)), withLines())
				says(t, r.client, word+" x\n")
				hearsBreak(t, r.upstream, "")
				e := r.end()
				var panicked *relay.PanicError
				if errors.As(e.Cause, &panicked) != (word == "panic") || e.Cause == nil {
					t.Errorf("cause = %v", e.Cause)
				}
			})
		})
	}
}

func TestClientErrorResetsTheUpstream(t *testing.T) {
	journeys(t, withLines, func(t *testing.T, r *rig) {
		says(t, r.client, "DATA\n")
		hears(t, r.upstream, "DATA\n")
		if err := wire.Reset(bare(r.client)); err != nil {
			t.Fatal(err)
		}
		hearsBreak(t, r.upstream, "")
		r.endsWith(syscall.ECONNRESET)
	})
}

func TestSplitterIdle(t *testing.T) {
	split(t, &lines{}, func(t *testing.T, r *rig) {
		start := time.Now()
		hearsEnd(t, r.client, "421 part\n")
		passed(t, start, 31*time.Minute)
		r.endsWith(relay.ErrIdle)
	})
}
