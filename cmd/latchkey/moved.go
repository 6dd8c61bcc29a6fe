package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"latchkey/authcore"
	"latchkey/authcore/store/sqlite"
	"latchkey/configs"
)

// An installation that has moved to another engine leaves its old store behind. Whoever started on that would let in who
// was suspended since, so each engine looks for the other's traces: Redis that is empty is not begun beside an embedded
// store, and an embedded store is not opened by a node that has served one in Redis.

// inRedis is the note in the data folder.
func inRedis(cfg *configs.Config) string { return filepath.Join(cfg.Data, "in-redis") }

// notLeftBehind refuses the embedded store of a node that has served one in Redis.
func notLeftBehind(cfg *configs.Config) error {
	id, err := os.ReadFile(inRedis(cfg))
	if errors.Is(err, os.ErrNotExist) || cfg.Fleet() {
		return nil
	}
	if err != nil {
		return err
	}
	return cfg.At("store.engine", "is sqlite, and this node has served store %s in Redis (%s says so): what lies in %s is older or empty. "+
		"To move back, back up with engine redis and restore with engine sqlite; docs/fleet.md has the steps. If the store in Redis is given up, remove %s",
		id, inRedis(cfg), cfg.Data, inRedis(cfg))
}

// notBesideAnother refuses to begin a new installation in Redis where an embedded one lies.
func (h *house) notBesideAnother(ctx context.Context, cfg *configs.Config) error {
	used, _, err := authcore.ReadUsedKeys(ctx, h.db)
	if err != nil || len(used.IDs) > 0 {
		return err
	}
	there, err := sqlite.HasDatabase(cfg.Data)
	if err != nil || !there {
		return err
	}
	return cfg.At("store.engine", "is redis, where nothing is yet, and %s holds an installation: move it (latchkey backup with engine sqlite, "+
		"latchkey restore with engine redis; docs/fleet.md has the steps), or move that folder's files away to begin anew", cfg.Data)
}

// noteRedis remembers that this node serves the store in Redis.
func noteRedis(cfg *configs.Config, id string) error {
	if _, err := os.Stat(inRedis(cfg)); err == nil {
		return nil
	}
	if err := replaceFile(inRedis(cfg), []byte(id), 0o600); err != nil {
		return fmt.Errorf("note that the store is in Redis: %w", err)
	}
	return syncDir(cfg.Data)
}

// forgetRedis is for an installation that has come back.
func forgetRedis(cfg *configs.Config) error {
	err := os.Remove(inRedis(cfg))
	if err == nil {
		err = syncDir(cfg.Data)
	}
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}
