package authcore

import (
	"context"
	"encoding/json"
	"fmt"

	"latchkey/authcore/store"
	"latchkey/authcore/store/cache"
)

// readDirect reads a record past the cache, for a change that will be written over it.
func readDirect[T any](ctx context.Context, c *Core, k store.Key) (*T, int64, error) {
	return cache.ReadDirect[T](ctx, c.o.Records, k)
}

func decode(r store.Record, v any) error {
	if err := json.Unmarshal(r.Value, v); err != nil {
		return fmt.Errorf("record %s: %w", r.Name, store.ErrCorrupt)
	}
	return nil
}
