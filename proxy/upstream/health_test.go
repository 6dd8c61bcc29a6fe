package upstream

import (
	"context"
	"encoding/json"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// The last good probe is what is offered while an upstream is down.
func TestProbeRemembersTheLastGood(t *testing.T) {
	var down atomic.Bool
	f := imapServer("IMAP4rev1 ID", "")
	well := f.answer
	f.answer = func(line string, m map[string]string) string {
		if down.Load() {
			return ""
		}
		return well(line, m)
	}
	p := pool(t, Server{Name: "mail", Protocol: IMAP, Addresses: []string{f.start(t)}})
	if h := p.Health()[0]; h.Well || !h.Probed.IsZero() || h.Upstream != "mail" {
		t.Errorf("before the first probe: %+v", h)
	}
	if _, err := p.Probe(t.Context(), "mail"); err != nil {
		t.Fatal(err)
	}
	good := p.Health()[0]
	down.Store(true)
	if _, err := p.Probe(t.Context(), "mail"); err == nil {
		t.Fatal("Probe of a dead upstream succeeded")
	}
	ill := p.Health()[0]
	if !good.Well || ill.Well || ill.Problem == "" || !ill.Since.After(good.Since) {
		t.Errorf("health was %+v and is %+v", good, ill)
	}
	if got := p.Offer(IMAP, []string{"mail"}); len(got) != 2 {
		t.Errorf("Offer = %q, want that of the last good probe", got)
	}
}

// What the private listener shows has the names of every other answer, and nothing for what is not known.
func TestHealthAsJSON(t *testing.T) {
	day := time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name string
		h    Health
		want string
	}{
		{"never probed", Health{Upstream: "mail", Protocol: "imap"}, `{"upstream":"mail","protocol":"imap","well":false}`},
		{"well", Health{Upstream: "mail", Protocol: "imap", Well: true, Since: day, Probed: day, CertificateExpires: day.AddDate(0, 1, 0)},
			`{"upstream":"mail","protocol":"imap","well":true,"since":"2026-03-01T09:00:00Z","probed":"2026-03-01T09:00:00Z","certificate_expires":"2026-04-01T09:00:00Z"}`},
		{"ill", Health{Upstream: "mail", Protocol: "imap", Since: day, Probed: day, Problem: "refused"},
			`{"upstream":"mail","protocol":"imap","well":false,"since":"2026-03-01T09:00:00Z","probed":"2026-03-01T09:00:00Z","problem":"refused"}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got, err := json.Marshal(c.h); err != nil || string(got) != c.want {
				t.Errorf("got %s, %v, want %s", got, err, c.want)
			}
		})
	}
}

// A probe that its caller cuts short says nothing about the upstream.
func TestProbeCutShort(t *testing.T) {
	p := pool(t, Server{Name: "mail", Protocol: IMAP, Addresses: []string{imapServer("IMAP4rev1", "").start(t)}})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Probe(ctx, "mail"); err == nil {
		t.Fatal("Probe under an ended context succeeded")
	}
	if h := p.Health()[0]; !h.Probed.IsZero() {
		t.Errorf("health %+v, want it as never probed", h)
	}
}

func TestRunProbesAllUntilTheEnd(t *testing.T) {
	var probed sync.Map
	server := func(name string) Server {
		f := imapServer("IMAP4rev1", "")
		well := f.answer
		f.answer = func(line string, m map[string]string) string {
			n, _ := probed.LoadOrStore(name, &atomic.Int32{})
			n.(*atomic.Int32).Add(1)
			return well(line, m)
		}
		s := Server{Name: name, Protocol: IMAP, Addresses: []string{f.start(t)}}
		fill(&s)
		return s
	}
	p, err := New(Options{Servers: []Server{server("a"), server("b")}, ProbeEvery: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	twice := func() bool {
		for _, name := range []string{"a", "b"} {
			if n, ok := probed.Load(name); !ok || n.(*atomic.Int32).Load() < 4 { // CAPABILITY and LOGOUT, twice
				return false
			}
		}
		return true
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	ended := make(chan struct{})
	go func() { defer close(ended); p.Run(ctx) }()
	for !twice() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal("not all were probed twice within 20 s")
		}
	}
	cancel()
	<-ended
}

func TestJitter(t *testing.T) {
	for range 100 {
		if d := jittered(30 * time.Second); d < 24*time.Second || d > 36*time.Second {
			t.Fatalf("pause of %v, want 30 s give or take a fifth", d)
		}
	}
}
