package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime/debug"
	"strings"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/secret"
	"latchkey/authcore/store"
	"latchkey/authcore/store/sqlite"
	"latchkey/configs"
)

// markerOf is the file beside the server keys that says that a store existed: keys and data seldom get lost together.
func markerOf(cfg *configs.Config) string { return cfg.Keys + ".store" }

// mendStore says what to do about a store that does not open.
func mendStore(err error, cfg *configs.Config) error {
	if errors.Is(err, sqlite.ErrLost) {
		return fmt.Errorf("%w\nto bring it back: latchkey restore -config %s BACKUP", err, cfg.Path())
	}
	return err
}

// needKeys loads the server keys, makes them for a new store, and refuses to go on when one is missing that records hang
// on.
func needKeys(ctx context.Context, cfg *configs.Config, db store.Records) (*secret.Keys, error) {
	used, _, err := authcore.ReadUsedKeys(ctx, db)
	if err != nil {
		return nil, err
	}
	keys, err := secret.Load(cfg.Keys)
	if errors.Is(err, fs.ErrNotExist) && len(used.IDs) == 0 {
		if keys, err = secret.NewKeys(time.Now()); err == nil {
			err = keys.Create(cfg.Keys)
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("server keys: %s is gone, and app passwords were made with %s: %s", cfg.Keys, strings.Join(used.IDs, ", "), bringKeys(cfg))
	}
	if err != nil {
		return nil, err
	}
	if err := authcore.CheckUsedKeys(keys, used, cfg.Keys, cfg.Fleet()); err != nil {
		return nil, err
	}
	if cfg.Fleet() {
		return keys, authcore.JoinKeys(ctx, db, keys)
	}
	return keys, authcore.NoteKeys(ctx, db, keys)
}

// bringKeys says where the file is to be had.
func bringKeys(cfg *configs.Config) string {
	if cfg.Fleet() {
		return "copy the file from another node, for all have the same"
	}
	return "bring the file back that holds them"
}

// lackKeys refuses keys that lack one of ids.
func lackKeys(keys *secret.Keys, ids []string, file string) error {
	return authcore.CheckUsedKeys(keys, authcore.UsedKeys{IDs: ids}, file, false)
}

// fleetFor says how this process stands among those that share its store; nil: it has it to itself.
func fleetFor(cfg *configs.Config, command bool) *authcore.Fleet {
	if !cfg.Fleet() {
		return nil
	}
	f := &authcore.Fleet{Name: cfg.NodeName(), Silent: command}
	if b, ok := debug.ReadBuildInfo(); ok {
		f.Version = b.Main.Version
	}
	for _, l := range cfg.Listeners {
		f.Addresses = append(f.Addresses, l.Name+" "+l.Address)
	}
	return f
}
