package session

import (
	"testing"
	"time"
)

// What was confirmed by a clock that was far off is not confirmed for as long.
func TestConfirmedForTenMinutes(t *testing.T) {
	now := time.Date(2026, 5, 4, 9, 0, 0, 0, time.UTC)
	for ago, want := range map[time.Duration]bool{
		0: true, ConfirmedFor - time.Second: true, ConfirmedFor: false, -time.Minute: true, -ConfirmedFor: false, -8760 * time.Hour: false,
	} {
		if got := (&Web{ConfirmedAt: now.Add(-ago)}).Confirmed(now); got != want {
			t.Errorf("%v ago: %v", ago, got)
		}
	}
	if (&Web{}).Confirmed(now) {
		t.Error("never confirmed, and confirmed")
	}
}
