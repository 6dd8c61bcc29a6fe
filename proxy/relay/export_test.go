package relay

import "time"

// SetLimits shortens the limits that Settings do not name, for tests in real time; call it before Start.
func (r *Relay) SetLimits(quiet, linger, stall, cool time.Duration) {
	r.limits = limits{quiet: quiet, linger: linger, stall: stall, cool: cool, turn: r.limits.turn}
}

// SetTurn shortens the turn of a side; call it before Start.
func (r *Relay) SetTurn(d time.Duration) { r.limits.turn = d }
