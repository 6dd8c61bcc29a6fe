package relay_test

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/proxy/relay"
)

var (
	closing  = relay.Action{Kind: relay.Close, Bytes: []byte("421 closing\n")}
	breaking = relay.Action{Kind: relay.Abort, Bytes: []byte("421 broken off\n")}
)

// afterReplies leaves when no answer is outstanding, and waits for it as long as asked.
func afterReplies(wait time.Duration) func(*lines, bool) (relay.Action, time.Duration) {
	return func(l *lines, drain bool) (relay.Action, time.Duration) {
		if l.open > 0 {
			return closing, wait
		}
		return closing, 0
	}
}

func TestCutInsideAMessage(t *testing.T) {
	o := func() relay.Options {
		return relay.Options{Splitter: &lines{part: func(*lines, bool) (relay.Action, time.Duration) { return breaking, 0 }}}
	}
	journeys(t, o, func(t *testing.T, r *rig) {
		says(t, r.client, "DATA\n")
		hears(t, r.upstream, "DATA\n")
		r.session.Cut(errCut)
		hearsBreak(t, r.upstream, "")
		hearsEnd(t, r.client, "421 broken off\n")
		r.client.Close()
		r.endsWith(errCut)
	})
}

func TestCutWithAReplyInFlight(t *testing.T) {
	t.Run("it comes", func(t *testing.T) {
		split(t, &lines{part: afterReplies(time.Hour)}, func(t *testing.T, r *rig) {
			go says(t, r.client, ".\n")
			hears(t, r.upstream, ".\n")
			start := time.Now()
			r.session.Cut(errCut)
			synctest.Wait()
			go io.WriteString(r.client, "MAIL again\n") // is not taken any more
			after(800 * time.Millisecond)
			go says(t, r.upstream, "250 queued\n")
			hears(t, r.client, "250 queued\n")
			hears(t, r.client, "421 closing\n")
			passed(t, start, 800*time.Millisecond)
			hearsEnd(t, r.upstream, "")
			if e := r.endsWith(errCut); e.FromClient != 2 {
				t.Errorf("%d octets were taken from the client", e.FromClient)
			}
		})
	})
	t.Run("it does not come", func(t *testing.T) {
		split(t, &lines{part: afterReplies(time.Hour)}, func(t *testing.T, r *rig) {
			go says(t, r.client, "one\n.\n")
			hears(t, r.upstream, "one\n.\n")
			start := time.Now()
			r.session.Cut(errCut)
			after(500 * time.Millisecond)
			upstreamSays(t, r, "1\n") // one of two: the time does not begin anew
			hears(t, r.client, "421 closing\n")
			passed(t, start, 900*time.Millisecond)
			hearsEnd(t, r.upstream, "")
			r.endsWith(errCut)
		})
	})
	t.Run("the client takes nothing", func(t *testing.T) {
		split(t, &lines{part: afterReplies(time.Hour)}, func(t *testing.T, r *rig) {
			go says(t, r.client, ".\n")
			hears(t, r.upstream, ".\n")
			says(t, r.upstream, "250 queued\n")
			synctest.Wait()
			start := time.Now()
			r.session.Cut(errCut)
			r.endsWith(errCut)
			passed(t, start, 300*time.Millisecond)
		})
	})
}

// While the last reply is awaited, nothing of the client goes on: neither a line that was held, nor what it sends now.
func TestCutTakesNothingMoreFromTheClient(t *testing.T) {
	l := &lines{part: func(*lines, bool) (relay.Action, time.Duration) { return closing, time.Hour }}
	split(t, l, func(t *testing.T, r *rig) {
		go says(t, r.client, "one\nlocal 2\nthree\n")
		hears(t, r.upstream, "one\n")
		r.session.Cut(errCut)
		go io.WriteString(r.client, strings.Repeat("x", 200<<10)) // broken off by the end
		synctest.Wait()
		upstreamSays(t, r, "1\n")
		hearsEnd(t, r.upstream, "")
		hears(t, r.client, "421 closing\n")
		if e := r.endsWith(errCut); e.FromClient != 4 {
			t.Errorf("%d octets were taken from the client", e.FromClient)
		}
	})
}

func TestDrainFinishesTheMessage(t *testing.T) {
	t.Run("then leaves", func(t *testing.T) {
		split(t, &lines{part: afterReplies(time.Hour)}, func(t *testing.T, r *rig) {
			go says(t, r.client, "DATA\n")
			hears(t, r.upstream, "DATA\n")
			r.session.Drain(errCut, time.Hour)
			synctest.Wait()
			after(time.Minute)
			go says(t, r.client, "text\n.\n")
			hears(t, r.upstream, "text\n.\n")
			go says(t, r.upstream, "354\n250\n250 queued\n")
			hearsEnd(t, r.client, "354\n250\n250 queued\n421 closing\n")
			r.endsWith(errCut)
		})
	})
	t.Run("for as long as it may", func(t *testing.T) {
		split(t, &lines{part: afterReplies(time.Minute)}, func(t *testing.T, r *rig) {
			go says(t, r.client, "DATA\n")
			hears(t, r.upstream, "DATA\n")
			start := time.Now()
			r.session.Drain(errCut, time.Hour)
			hears(t, r.client, "421 closing\n")
			passed(t, start, time.Minute)
			r.endsWith(errCut)
		})
	})
	t.Run("then is cut", func(t *testing.T) {
		split(t, &lines{part: afterReplies(time.Hour)}, func(t *testing.T, r *rig) {
			go says(t, r.client, "DATA\n")
			hears(t, r.upstream, "DATA\n")
			start := time.Now()
			r.session.Drain(errCut, time.Minute)
			hears(t, r.client, "421 closing\n")
			passed(t, start, time.Minute+900*time.Millisecond)
			r.endsWith(errCut)
		})
	})
	t.Run("and not the next", func(t *testing.T) {
		split(t, &lines{part: afterReplies(time.Hour)}, func(t *testing.T, r *rig) {
			go says(t, r.client, ".\n")
			hears(t, r.upstream, ".\n")
			r.session.Drain(errCut, time.Hour)
			synctest.Wait()
			go func() { says(t, r.upstream, "250 queued\n") }()
			hearsEnd(t, r.client, "250 queued\n421 closing\n")
			_, _ = io.WriteString(r.client, "MAIL\n")
			hearsEnd(t, r.upstream, "")
			r.endsWith(errCut)
		})
	})
}

func TestCutOverridesADrain(t *testing.T) {
	asked := 0
	l := &lines{part: func(_ *lines, drain bool) (relay.Action, time.Duration) {
		if asked++; drain {
			return closing, time.Hour
		}
		return breaking, 0
	}}
	split(t, l, func(t *testing.T, r *rig) {
		r.session.Drain(errors.New("shutdown"), time.Hour)
		after(time.Second)
		r.session.Cut(errCut)
		hearsEnd(t, r.client, "421 broken off\n")
		r.endsWith(errCut)
		if asked != 2 {
			t.Errorf("asked %d times", asked)
		}
	})
}
