package redis

import (
	"context"
	"fmt"

	goredis "github.com/redis/go-redis/v9"

	"latchkey/authcore/store"
)

// master is a server that has data and the groups that lie on it, in rising order. The first of them is its anchor:
// where the watch keeps what belongs to the master.
type master struct {
	client *goredis.Client
	groups []int
}

func (s master) anchor() int { return s.groups[0] }

// masters answers the servers that have data, as the client knows them.
func (w *watch) masters(ctx context.Context) ([]master, error) {
	all := make([]int, groups)
	for g := range all {
		all[g] = g
	}
	switch c := w.o.client.(type) {
	case *goredis.Client:
		return []master{{c, all}}, nil
	case *goredis.ClusterClient:
		return w.clusterMasters(ctx, c, all)
	}
	return nil, fmt.Errorf("a client of type %T has no masters", w.o.client)
}

func (w *watch) clusterMasters(ctx context.Context, c *goredis.ClusterClient, all []int) ([]master, error) {
	var shards []master
	place := map[*goredis.Client]int{}
	for _, g := range all {
		m, err := c.MasterForKey(ctx, w.o.keys.of(g, "h"))
		if err != nil {
			return nil, fmt.Errorf("%w: find the master of group %02x: %w", store.ErrUnavailable, g, err)
		}
		at, known := place[m]
		if !known {
			at = len(shards)
			place[m] = at
			shards = append(shards, master{client: m})
		}
		shards[at].groups = append(shards[at].groups, g)
	}
	return shards, nil
}
