package main

import (
	"testing"
	"time"

	"latchkey/proxy/peers"
)

// paintedWithin is when the first words of the Security page stand there at the latest, on loopback.
const paintedWithin = 200 * time.Millisecond

// TestPeersConsoleFirstPaint comes to the Security page again and again. The best of many is what the page takes, and not what
// else the machine does: it goes on for a while on one that does much.
func TestPeersConsoleFirstPaint(t *testing.T) {
	t.Parallel()
	peers.Need(t, "chromium", "axe-core")
	w := newWalk(t, startDemo(t), manner{script: true})
	w.signIn(w.person("account"))
	w.on("Security")
	best := time.Hour
	for i := 0; i < 10 || i < 60 && best > paintedWithin; i++ {
		w.b.Open(t, w.home+"/security")
		w.b.On(t, "Security")
		best = min(best, time.Duration(w.b.FirstPaint(t)*float64(time.Millisecond)))
	}
	t.Logf("first paint of the Security page: %v", best)
	if best > paintedWithin {
		t.Errorf("the first paint takes %v, and %v is promised", best, paintedWithin)
	}
}
