package main

import (
	"runtime/debug"
	"testing"
)

func TestPercentFor(t *testing.T) {
	for live, want := range map[uint64]int{0: 400, 5 << 20: 400, 16 << 20: 400, 17 << 20: 200, 32 << 20: 200, 33 << 20: 100, 1 << 40: 100} {
		if got := percentFor(live); got != want {
			t.Errorf("%d MB live: got %d, want %d", live>>20, got, want)
		}
	}
}

// TestPace sets the percentage of this process, and puts it back.
func TestPace(t *testing.T) {
	before := debug.SetGCPercent(usualPercent)
	defer debug.SetGCPercent(before)
	t.Setenv("GOGC", "")
	p := newPace()
	p.follow(1 << 20)
	if got := debug.SetGCPercent(usualPercent); got != 400 {
		t.Errorf("little lives: the percentage is %d, want 400", got)
	}
	t.Setenv("GOGC", "50")
	p = newPace()
	p.follow(1 << 20)
	if got := debug.SetGCPercent(usualPercent); got != usualPercent {
		t.Errorf("GOGC is set: the percentage became %d", got)
	}
}
