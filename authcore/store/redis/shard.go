package redis

import (
	"sync/atomic"

	goredis "github.com/redis/go-redis/v9"
)

// shard is one server and the lanes to it.
type shard struct {
	db     *DB
	name   string
	client *goredis.Client

	reads, writes *lane
	working       atomic.Int32  // workers
	gone          chan struct{} // closed when it keeps nothing any more: a Cluster's nodes come and go
}

func newShard(db *DB, name string, client *goredis.Client) *shard {
	return &shard{db: db, name: name, client: client, reads: newLane(), writes: newLane(), gone: make(chan struct{})}
}

func (s *shard) start() {
	s.working.Store(2 * laneWorkers)
	for range laneWorkers {
		s.db.workers.Go(func() { s.work(s.reads, false) })
		s.db.workers.Go(func() { s.work(s.writes, true) })
	}
}

// close ends those who wait.
func (s *shard) close() {
	s.reads.close(errClosed)
	s.writes.close(errClosed)
}

// leave ends a shard that is known no more, once: those who wait ask where else their group lies. What is under way is
// finished, for the last worker ends the client.
func (s *shard) leave() {
	close(s.gone)
	if s.working.Load() == 0 { // the store closes
		_ = s.client.Close()
	}
}

// rest is the end of a worker.
func (s *shard) rest(l *lane, why error) {
	l.close(why)
	if s.working.Add(-1) == 0 && isClosed(s.gone) {
		_ = s.client.Close()
	}
}

func (s *shard) lane(write bool) *lane {
	if write {
		return s.writes
	}
	return s.reads
}
