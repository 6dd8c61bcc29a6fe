package authcore_test

import (
	"context"
	"sync/atomic"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/store"
)

// journeys counts what is asked of a store and waited for.
type journeys struct{ atomic.Int64 }

// under counts for a Core what it asks of the stores in o.
func (j *journeys) under(o *authcore.Options) {
	o.Records, o.Ephemeral = recordJourneys{o.Records, j}, ephemeralJourneys{o.Ephemeral, j}
}

type recordJourneys struct {
	store.Records
	made *journeys
}

func (r recordJourneys) Get(ctx context.Context, k store.Key) (store.Record, error) {
	r.made.Add(1)
	return r.Records.Get(ctx, k)
}

func (r recordJourneys) Apply(ctx context.Context, partition string, ops ...store.Op) (int64, error) {
	r.made.Add(1)
	return r.Records.Apply(ctx, partition, ops...)
}

// ApplySoon is a journey that Stands waits for.
func (r recordJourneys) ApplySoon(ctx context.Context, partition string, ops []store.Op, done func(int64, error)) {
	r.made.Add(1)
	store.ApplySoon(ctx, r.Records, partition, ops, done)
}

type ephemeralJourneys struct {
	store.Ephemeral
	made *journeys
}

func (e ephemeralJourneys) Add(ctx context.Context, k store.Key, member string, window time.Duration) (int64, error) {
	e.made.Add(1)
	return e.Ephemeral.Add(ctx, k, member, window)
}

func (e ephemeralJourneys) Members(ctx context.Context, k store.Key, window time.Duration, limit int) ([]string, error) {
	e.made.Add(1)
	return e.Ephemeral.Members(ctx, k, window, limit)
}

func (e ephemeralJourneys) Remove(ctx context.Context, k store.Key, member string) error {
	e.made.Add(1)
	return e.Ephemeral.Remove(ctx, k, member)
}

// RemoveSoon is no journey: nobody waits for it.
func (e ephemeralJourneys) RemoveSoon(k store.Key, member string, done func(error)) {
	e.Ephemeral.(store.SoonRemover).RemoveSoon(k, member, done)
}
