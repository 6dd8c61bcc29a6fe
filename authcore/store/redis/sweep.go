package redis

import (
	"context"
	_ "embed"
	"math/rand/v2"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

//go:embed sweep.lua
var sweepSource string

var sweepScript = newScript(sweepSource)

const (
	sweepEvery = time.Minute // each node does; until then an expired name only takes room in an index
	sweepStep  = 256         // names in one script: a server does nothing else meanwhile
)

// sweep takes expired names out of the indexes now and then, and what a snapshot that died left aside, until the store closes.
func (db *DB) sweep() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for {
		wait := time.NewTimer(sweepEvery/2 + rand.N(sweepEvery)) // nodes that started together shall not sweep together
		select {
		case <-wait.C:
		case <-db.closing:
			wait.Stop()
			return
		}
		for g := range groups {
			if err := db.sweepGroup(ctx, g); err != nil {
				db.log.Warn("sweep of expired records", "err", err)
				break
			}
		}
	}
}

// sweepGroup goes on until nothing in the group is due; other commands come in between.
func (db *DB) sweepGroup(ctx context.Context, group int) error {
	for {
		if err := db.heads.closed(); err != nil {
			return err
		}
		call := sweepScript.call(ctx, []string{db.keys.expiring(group)}, db.keys.group(group), sweepStep)
		lapse := db.markCall(ctx, group, "lapse", "", 0)
		if err := db.do(ctx, group, true, call, lapse); err != nil {
			return err
		}
		n, err := call.Int()
		if err != nil && err != goredis.Nil {
			return unavailable(err)
		}
		if n < sweepStep {
			return nil
		}
	}
}
