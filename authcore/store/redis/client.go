package redis

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"latchkey/authcore/store"
)

// Time-outs under callLimit: one dial may fail and the next still succeed within a call.
const (
	dialLimit    = 500 * time.Millisecond
	refreshLimit = 300 * time.Millisecond // asking one node where the slots lie
	idleLimit    = 5 * time.Minute        // an unused connection is closed
	poolSize     = 32                     // connections to one server: those of the lanes, and what the bus and checks need
)

// router knows which server keeps which group. Standalone and Sentinel have one shard, a Cluster one for each master.
type router struct {
	db *DB

	universal goredis.UniversalClient // for the bus

	owners [groups]atomic.Pointer[shard]
	asking sync.Mutex // held by the one that asks where the slots lie
	mu     sync.Mutex
	shards map[string]*shard // by address; guarded by mu; a Cluster has at most 1000 nodes
	ended  bool              // guarded by mu

	unowned *breaker // before groups that no node keeps
}

func newRouter(ctx context.Context, db *DB) (*router, error) {
	r := &router{db: db, shards: make(map[string]*shard), unowned: newBreaker()}
	o := db.options
	switch o.Mode {
	case Standalone:
		s := r.shard(o.Addresses[0])
		r.universal = s.client
		r.own(s, 0, 16383)
	case Sentinel:
		s := newShard(db, "master "+o.MasterName, goredis.NewFailoverClient(o.failover(db.watch.greet)))
		r.shards[s.name], r.universal = s, s.client
		s.start()
		r.own(s, 0, 16383)
	case Cluster:
		r.universal = goredis.NewClusterClient(o.cluster(nil))
		if err := r.refresh(ctx); err != nil {
			return r, err
		}
	}
	return r, nil
}

// greeting is asked of each new connection before anything else is.
type greeting func(ctx context.Context, c *goredis.Conn) error

// dial opens a connection that takes with it, when it is closed, what was not yet sent: a batch whose caller has had his
// answer must not arrive a minute later, when a broken way is whole again.
func (o Options) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialLimit)
	defer cancel()
	c, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	if t, is := c.(*net.TCPConn); is {
		_ = t.SetLinger(0) // without it a write may come late
	}
	if o.TLS == nil {
		return c, nil
	}
	conf := o.TLS
	if conf.ServerName == "" {
		conf = conf.Clone()
		conf.ServerName, _, _ = net.SplitHostPort(addr)
	}
	secured := tls.Client(c, conf)
	if err := secured.HandshakeContext(ctx); err != nil {
		_ = c.Close()
		return nil, err
	}
	return secured, nil
}

// server is how one server is spoken to. Repeating is done by DB.do alone, and the limit is the context's.
func (o Options) server(addr string, greet greeting) *goredis.Options {
	return &goredis.Options{
		Addr: addr, Username: o.User, Password: o.Password.Reveal(), DB: o.Database, TLSConfig: o.TLS,
		Protocol: 2, DisableIdentity: true, MaxRetries: -1, DialerRetries: 1, ContextTimeoutEnabled: true,
		DialTimeout: dialLimit, ReadTimeout: o.limits.call, WriteTimeout: o.limits.call, PoolTimeout: o.limits.call,
		PoolSize: poolSize, PipelinePoolSize: -1, ConnMaxIdleTime: idleLimit, OnConnect: greet, Dialer: o.dial,
	}
}

func (o Options) failover(greet greeting) *goredis.FailoverOptions {
	return &goredis.FailoverOptions{
		MasterName: o.MasterName, SentinelAddrs: o.Addresses,
		SentinelUsername: o.SentinelUser, SentinelPassword: o.SentinelPassword.Reveal(),
		Username: o.User, Password: o.Password.Reveal(), DB: o.Database, TLSConfig: o.TLS,
		Protocol: 2, DisableIdentity: true, MaxRetries: -1, DialerRetries: 1, ContextTimeoutEnabled: true,
		DialTimeout: dialLimit, ReadTimeout: o.limits.call, WriteTimeout: o.limits.call, PoolTimeout: o.limits.call,
		PoolSize: poolSize, PipelinePoolSize: -1, ConnMaxIdleTime: idleLimit, OnConnect: greet, Dialer: o.dial,
	}
}

// cluster is for the bus: a message published on any node reaches all.
func (o Options) cluster(greet greeting) *goredis.ClusterOptions {
	return &goredis.ClusterOptions{
		Addrs: o.Addresses, Username: o.User, Password: o.Password.Reveal(), TLSConfig: o.TLS,
		Protocol: 2, DisableIdentity: true, MaxRetries: -1, DialerRetries: 1, ContextTimeoutEnabled: true,
		DialTimeout: dialLimit, ReadTimeout: o.limits.call, WriteTimeout: o.limits.call, PoolTimeout: o.limits.call,
		PoolSize: poolSize, PipelinePoolSize: -1, ConnMaxIdleTime: idleLimit, OnConnect: greet, Dialer: o.dial,
	}
}

// universalClient is one of its own that greets nobody: the watch's.
func (o Options) universalClient() goredis.UniversalClient {
	switch o.Mode {
	case Sentinel:
		return goredis.NewFailoverClient(o.failover(nil))
	case Cluster:
		return goredis.NewClusterClient(o.cluster(nil))
	}
	return goredis.NewClient(o.server(o.Addresses[0], nil))
}

// owner answers the shard that keeps the group, as far as we know.
func (r *router) owner(group int) *shard { return r.owners[group].Load() }

// breaker is what stands before calls for the group.
func (r *router) breaker(group int, write bool) *breaker {
	if s := r.owner(group); s != nil {
		return s.lane(write).breaker
	}
	return r.unowned
}

// masters answers every shard that keeps a group.
func (r *router) masters() []*shard {
	var all []*shard
	seen := make(map[*shard]bool)
	for g := range groups {
		if s := r.owner(g); s != nil && !seen[s] {
			seen[s] = true
			all = append(all, s)
		}
	}
	return all
}

// shard answers the one at addr, and makes it if it is new.
func (r *router) shard(addr string) *shard {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.shards[addr]
	if s == nil {
		s = newShard(r.db, addr, goredis.NewClient(r.db.options.server(addr, r.db.watch.greet)))
		if r.ended {
			s.close()
			return s
		}
		r.shards[addr] = s
		s.start()
	}
	return s
}

// own gives s the groups whose slots lie in from to to.
func (r *router) own(s *shard, from, to int) {
	for g := range groups {
		if slot := slotOf(g); from <= slot && slot <= to {
			r.owners[g].Store(s)
		}
	}
}

// moved follows a MOVED answer for group.
func (r *router) moved(group int, addr string) { r.owners[group].Store(r.shard(addr)) }

// refresh asks the nodes, one after the other, where the slots lie. One asks; others that come meanwhile go on.
func (r *router) refresh(ctx context.Context) error {
	if r.db.options.Mode != Cluster || !r.asking.TryLock() {
		return nil
	}
	defer r.asking.Unlock()
	err := fmt.Errorf("%w: no node of the cluster answers", store.ErrUnavailable)
	for _, addr := range r.addresses() {
		slots, e := r.ask(ctx, addr)
		if e == nil {
			r.place(addr, slots)
			return nil
		}
		err = fmt.Errorf("%w: ask %s where the slots lie: %s", store.ErrUnavailable, addr, plain(e))
	}
	return err
}

func (r *router) ask(ctx context.Context, addr string) ([]goredis.ClusterSlot, error) {
	ctx, cancel := context.WithTimeout(ctx, refreshLimit)
	defer cancel()
	slots := goredis.NewClusterSlotsCmd(ctx, "cluster", "slots")
	_ = r.shard(addr).client.Process(ctx, slots) // slots has the error
	return slots.Result()
}

// addresses are those of the nodes we know, and then those of the configuration.
func (r *router) addresses() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]string, 0, len(r.shards)+len(r.db.options.Addresses))
	for addr := range r.shards {
		all = append(all, addr)
	}
	return append(all, r.db.options.Addresses...)
}

// place enters what the node at from told. A node that does not know its own host is where we asked it.
func (r *router) place(from string, slots []goredis.ClusterSlot) {
	for _, slot := range slots {
		if len(slot.Nodes) == 0 {
			continue
		}
		addr := slot.Nodes[0].Addr // the master comes first (CLUSTER SLOTS)
		if host, port, err := net.SplitHostPort(addr); err == nil && host == "" {
			if asked, _, err := net.SplitHostPort(from); err == nil {
				addr = net.JoinHostPort(asked, port)
			}
		}
		r.own(r.shard(addr), slot.Start, slot.End)
	}
	r.forget()
}

// forget drops the shards that keep no group. One that is asked again, or gets slots, is made anew.
func (r *router) forget() {
	owning := r.masters()
	r.mu.Lock()
	defer r.mu.Unlock()
	for addr, s := range r.shards {
		if !r.ended && !slices.Contains(owning, s) {
			delete(r.shards, addr)
			s.leave()
		}
	}
}

// close ends the clients. The workers have ended.
func (r *router) close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = true
	var err error
	if c, isCluster := r.universal.(*goredis.ClusterClient); isCluster {
		err = c.Close()
	}
	for _, s := range r.shards {
		if e := s.client.Close(); e != nil {
			err = e
		}
	}
	return err
}
