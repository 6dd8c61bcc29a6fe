package relay

// BreakShard takes the epoll descriptor from the shard that carries the session that was started last.
func (r *Relay) BreakShard() {
	r.mu.Lock()
	s := r.shards.all[r.shards.next]
	r.mu.Unlock()
	_ = s.epoll.Close() // waits until the shard is out of it
}
