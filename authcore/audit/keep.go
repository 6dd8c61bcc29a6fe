package audit

import (
	"context"
	"slices"
	"strings"
	"time"

	"latchkey/authcore/store"
)

// Kept are records in which entries stay for another time than Keep, from the next one on.
type Kept struct {
	store.Records
	For time.Duration
}

// Apply keeps store.Records.
func (k Kept) Apply(ctx context.Context, partition string, ops ...store.Op) (int64, error) {
	return k.Records.Apply(ctx, partition, k.kept(ops)...)
}

// ApplySoon keeps store.SoonApplier.
func (k Kept) ApplySoon(ctx context.Context, partition string, ops []store.Op, done func(int64, error)) {
	store.ApplySoon(ctx, k.Records, partition, k.kept(ops), done)
}

func (k Kept) kept(ops []store.Op) []store.Op {
	ops = slices.Clone(ops)
	for i, op := range ops {
		if strings.HasPrefix(op.Name, Prefix) && !op.ExpiresAt.IsZero() {
			ops[i].ExpiresAt = op.ExpiresAt.Add(k.For - Keep)
		}
	}
	return ops
}
