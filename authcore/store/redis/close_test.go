package redis

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"latchkey/authcore/store"
	"latchkey/authcore/store/storetest"
)

// Close while hundreds call: each call ends soon, with an answer or store.ErrUnavailable, and nothing of the store runs on.
func TestPeersCloseWhileCalled(t *testing.T) {
	for name, start := range servers {
		t.Run(name, func(t *testing.T) {
			o := start(t)
			o.limits = limits{} // those of an installation
			before := ours()
			db := mustOpen(t, o)
			var messages <-chan []byte
			eventually(t, "a subscription", func() (err error) { messages, err = db.Bus().Subscribe(t.Context(), "topic"); return err })
			var callers sync.WaitGroup
			for i := range 200 {
				callers.Go(func() { callUntilClosed(t, db, i) })
			}
			time.Sleep(100 * time.Millisecond)
			if err := db.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
			callers.Wait()
			for range messages { // it is closed
			}
			soon(t, "no goroutine is left", patience, func() bool { return ours() <= before })
		})
	}
}

// callUntilClosed calls for one partition until it is told that the store is away.
func callUntilClosed(t *testing.T, db *DB, i int) {
	ctx, k := context.Background(), store.Key{Partition: fmt.Sprint("p", i), Name: "n"}
	for n := 0; ; n++ {
		began := time.Now()
		_, err := db.Records().Apply(ctx, k.Partition, storetest.Put(k.Name, "v"))
		if err == nil {
			_, err = db.Records().Get(ctx, k)
		}
		if err == nil {
			_, err = db.Ephemeral().Add(ctx, k, "m", time.Minute)
		}
		if err == nil {
			err = db.Bus().Publish(ctx, "topic", []byte("m"))
		}
		if took := time.Since(began); took > 5*callLimit {
			t.Errorf("four calls took %v", took)
		}
		if errors.Is(err, store.ErrUnavailable) {
			return
		}
		if err != nil {
			t.Errorf("call %d: %v", n, err)
			return
		}
	}
}
