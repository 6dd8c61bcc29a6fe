package api

import (
	"fmt"
	"testing"
	"time"

	"latchkey/authcore"
)

func TestMeters(t *testing.T) {
	now := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	m := newMeters(60, 0)
	for i := range 15 { // a quarter of a minute's
		if wait := m.take("ann", now); wait != 0 {
			t.Fatalf("request %d waits %v", i, wait)
		}
	}
	if wait := m.take("ann", now); wait != time.Second {
		t.Errorf("one too many waits %v", wait)
	}
	if wait := m.take("bob", now); wait != 0 {
		t.Errorf("another waits %v", wait)
	}
	if wait := m.take("ann", now.Add(time.Second)); wait != 0 {
		t.Errorf("a second later: %v", wait)
	}
	if wait := m.take("ann", now.Add(time.Second)); wait != time.Second {
		t.Errorf("another in that second: %v", wait)
	}
	for range 1000 {
		if newMeters(-1, 60).take("ann", now) != 0 {
			t.Fatal("no bound, and yet refused")
		}
	}
}

func TestMetersAreBounded(t *testing.T) {
	now := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	m := newMeters(60, 0)
	for i := range maxMeters + 5000 {
		if wait := m.take(fmt.Sprint(i), now); wait != 0 {
			t.Fatalf("a new one waits %v", wait)
		}
	}
	if len(m.at) > maxMeters {
		t.Errorf("%d are remembered", len(m.at))
	}
}

func TestTooManyIsToldWhen(t *testing.T) {
	at := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	k := &Kit{perSource: newMeters(4, 0), now: func() time.Time { return at }}
	c := authcore.Client{}
	if p := k.overSource(c); p != nil {
		t.Fatal(p)
	}
	p := k.overSource(c)
	if p == nil || p.Status != 429 || p.Reason != "throttled" || p.GetHeaders().Get("Retry-After") != "15" {
		t.Errorf("%+v", p)
	}
}
