package store

import "context"

// SoonApplier is what Records can do beside: batches whose callers go on meanwhile cost little together.
type SoonApplier interface {
	// ApplySoon is an Apply whose caller goes on meanwhile. The engine may let it wait some milliseconds for others that
	// share its commit. done, which must not wait for anything, is called once with what became of it, perhaps at once and
	// perhaps by another goroutine; the engine's Close waits for it. ops are the engine's from now on.
	ApplySoon(ctx context.Context, partition string, ops []Op, done func(revision int64, err error))
}

// ApplySoon is r's own, where it has one, and else an Apply beside, which ends when the engine says so: what happens to ctx
// does not matter to it, but its values do.
func ApplySoon(ctx context.Context, r Records, partition string, ops []Op, done func(revision int64, err error)) {
	if s, can := r.(SoonApplier); can {
		s.ApplySoon(ctx, partition, ops, done)
		return
	}
	go applyBeside(context.WithoutCancel(ctx), r, partition, ops, done)
}

func applyBeside(ctx context.Context, r Records, partition string, ops []Op, done func(revision int64, err error)) {
	done(r.Apply(ctx, partition, ops...))
}
