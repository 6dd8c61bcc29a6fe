package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"latchkey/authcore/member"
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

// usedKeysKey names the record of the ids of all server keys that this store's records were ever made with.
var usedKeysKey = store.Key{Partition: member.Root, Name: "server-keys"}

type usedKeys struct {
	IDs []string `json:"ids"`
}

// needKeys loads the server keys, makes them for a new store, and refuses to go on when one is missing that records hang
// on.
func needKeys(ctx context.Context, cfg *configs.Config, db store.Records) (*secret.Keys, error) {
	used, _, err := readUsedKeys(ctx, db)
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
	if err := lackKeys(keys, used.IDs, cfg.Keys); err != nil {
		return nil, err
	}
	return keys, noteKeys(ctx, db, keys)
}

// bringKeys says where the file is to be had.
func bringKeys(cfg *configs.Config) string {
	if cfg.Fleet() {
		return "copy the file from another node, for all have the same"
	}
	return "bring the file back that holds them"
}

func readUsedKeys(ctx context.Context, db store.Records) (usedKeys, int64, error) {
	var used usedKeys
	rec, err := db.Get(ctx, usedKeysKey)
	if errors.Is(err, store.ErrNotFound) {
		return used, 0, nil
	}
	if err == nil {
		err = json.Unmarshal(rec.Value, &used)
	}
	if err != nil {
		return used, 0, fmt.Errorf("read which server keys are needed: %w", err)
	}
	return used, rec.Revision, nil
}

// lackKeys names the keys that records need and the file does not hold.
func lackKeys(keys *secret.Keys, ids []string, file string) error {
	var missing []string
	for _, id := range ids {
		if !keys.Has(id) {
			missing = append(missing, id)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return fmt.Errorf("server keys: %s lacks %s, which app passwords were made with: bring the file back that holds it", file, strings.Join(missing, ", "))
}
