package main

import (
	"context"
	"errors"
	"io"
	"sync"

	"latchkey/authcore/store"
	"latchkey/authcore/store/redis"
	"latchkey/authcore/store/sqlite"
	"latchkey/configs"
)

// fleet is the store of several nodes, and this node's own folder beside it.
type fleet struct {
	*redis.Records
	db   *redis.DB
	lock io.Closer

	closing sync.Once
	closed  error
}

func (f *fleet) Ephemeral() store.Ephemeral { return f.db.Ephemeral() }
func (f *fleet) Bus() store.Bus             { return f.db.Bus() }
func (f *fleet) ID() string                 { return f.db.ID() }
func (f *fleet) NodeID() string             { return f.db.NodeID() }

// State is what the store tells of itself.
func (f *fleet) State() redis.State { return f.db.State() }

// AcceptRollback gives all nodes the leave to go on with what is there.
func (f *fleet) AcceptRollback(ctx context.Context) error { return f.db.AcceptRollback(ctx) }

// Close gives the store and the folder back, once: after a hand-over the folder is another process's.
func (f *fleet) Close() error {
	f.closing.Do(func() { f.closed = errors.Join(f.db.Close(), f.lock.Close()) })
	return f.closed
}

// openFleet takes this node's folder, goes the way to Redis and opens the store there. Only a restore opens what an
// interrupted one left.
func (h *house) openFleet(ctx context.Context, cfg *configs.Config, restoring bool) (*fleet, error) {
	o, err := redisOptions(cfg)
	if err != nil {
		return nil, err
	}
	o.Log, o.Restoring = h.log, restoring
	lock, err := sqlite.Lock(cfg.Data)
	if err != nil {
		return nil, err
	}
	var db *redis.DB
	if err = wayToRedis(ctx, cfg); err == nil {
		db, err = redis.Open(ctx, o)
	}
	if err != nil {
		return nil, errors.Join(mendFleet(err, cfg), lock.Close())
	}
	return &fleet{Records: db.Records(), db: db, lock: lock}, nil
}

// mendFleet puts what the engine says at the key that it is about.
func mendFleet(err error, cfg *configs.Config) error {
	switch {
	case errors.As(err, new(configs.Mistake)):
		return err
	case errors.Is(err, redis.ErrHalfRestored):
		return cfg.At("store.redis.prefix", "%v: latchkey restore -config %s BACKUP", err, cfg.Path())
	case errors.Is(err, redis.ErrLossy):
		return cfg.At("store.redis.allow_lossy", "is false, and %v. With true it is used all the same, and may lose new passwords and suspensions that were acknowledged", err)
	default:
		return cfg.At("store.redis", "%v", err)
	}
}
