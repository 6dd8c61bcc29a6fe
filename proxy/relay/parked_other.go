//go:build !linux

package relay

// shards are none: every session runs.
type shards struct{}

func (*Relay) stopShards() {}

// park answers nil: sessions are parked on Linux only.
func (*Relay) park(client, upstream handed, o Options) *Session { return nil }
