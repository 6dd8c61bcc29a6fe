package redis

import (
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"latchkey/authcore/store"
	"latchkey/authcore/store/redistest"
	"latchkey/authcore/store/storetest"
)

// The suite runs on the servers' clock; each engine is a prefix of its own.
func TestPeersConformance(t *testing.T) {
	for name, start := range servers {
		t.Run(name, func(t *testing.T) {
			o := start(t)
			var opened atomic.Int64
			storetest.RunRecords(t, func(t *testing.T) storetest.RecordsEngine {
				o := o
				o.Prefix = fmt.Sprint("suite", opened.Add(1))
				o.StateDir = filepath.Join(t.TempDir(), "state")
				db := mustOpen(t, o)
				return storetest.RecordsEngine{
					Records: db.Records(),
					Clock:   storetest.Clock{Now: time.Now, Advance: time.Sleep},
					Reopen: func(t *testing.T) store.Records {
						if err := db.Close(); err != nil {
							t.Fatalf("close: %v", err)
						}
						return mustOpen(t, o).Records()
					},
				}
			})
		})
	}
}

// unhurried is for tests of what calls do, not of when they end: on a busy machine a server may stand still for seconds.
func unhurried() limits {
	return limits{call: patience, silent: int(patience / beatEvery), stale: patience}
}

// servers start a server in each mode and answer how it is opened, unhurried. Nobody fails over from one that stands still.
var servers = map[string]func(t testing.TB) Options{
	Standalone: func(t testing.TB) Options {
		return Options{Mode: Standalone, Addresses: []string{redistest.Standalone(t).Addr}, limits: unhurried()}
	},
	Sentinel: func(t testing.TB) Options {
		f := redistest.SentinelWith(t, redistest.Options{Sentinel: []string{"sentinel down-after-milliseconds latchkey 60000"}})
		return Options{Mode: Sentinel, Addresses: f.Addresses(), MasterName: redistest.MasterName, Replicas: 1, limits: unhurried()}
	},
	Cluster: func(t testing.TB) Options {
		return Options{Mode: Cluster, Addresses: redistest.Cluster(t, "cluster-node-timeout 60000").Addresses(), limits: unhurried()}
	},
}
