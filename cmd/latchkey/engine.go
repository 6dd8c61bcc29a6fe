package main

import (
	"context"
	"errors"

	"latchkey/authcore/store"
	"latchkey/authcore/store/memory"
	"latchkey/authcore/store/sqlite"
	"latchkey/configs"
)

// engine is what a house needs of the store that its configuration names. Whoever opened it closes it.
type engine interface {
	store.Records
	store.Snapshotter
	store.Restorer
	Ephemeral() store.Ephemeral
	Bus() store.Bus
	ID() string     // of the store; the same for all nodes
	NodeID() string // of this process among those that share it; empty where none can
	Close() error
}

// openEngine takes the data folder and opens the store. The error is sqlite.ErrLocked when another process has the folder.
func (h *house) openEngine(ctx context.Context, cfg *configs.Config) (engine, error) {
	if cfg.Fleet() {
		return asEngine(h.openFleet(ctx, cfg, false))
	}
	return asEngine(h.openEmbedded(ctx, cfg))
}

// openToRestore also opens what an interrupted restore left.
func (h *house) openToRestore(ctx context.Context, cfg *configs.Config) (engine, error) {
	if cfg.Fleet() {
		return asEngine(h.openFleet(ctx, cfg, true))
	}
	return asEngine(h.openEmbedded(ctx, cfg))
}

// asEngine keeps a nil of some engine from being taken for one.
func asEngine[E engine](e E, err error) (engine, error) {
	if err != nil {
		return nil, err
	}
	return e, nil
}

func (h *house) openEmbedded(ctx context.Context, cfg *configs.Config) (*embedded, error) {
	db, err := sqlite.Open(ctx, sqlite.Options{Dir: cfg.Data, Marker: markerOf(cfg), Log: h.log})
	if err != nil {
		return nil, err
	}
	return &embedded{DB: db, ephemeral: memory.NewEphemeral(memory.Options{}), bus: memory.NewBus()}, nil
}

// embedded is the store of one process: its folder, and what may be lost with it in memory.
type embedded struct {
	*sqlite.DB
	ephemeral store.Ephemeral
	bus       store.Bus
}

func (e *embedded) Ephemeral() store.Ephemeral { return e.ephemeral }
func (e *embedded) Bus() store.Bus             { return e.bus }
func (e *embedded) NodeID() string             { return "" }

// isLocked says that another process has the data folder.
func isLocked(err error) bool { return errors.Is(err, sqlite.ErrLocked) }
