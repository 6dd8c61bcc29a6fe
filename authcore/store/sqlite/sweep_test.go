package sqlite

import (
	"testing"
	"testing/synctest"
	"time"

	"latchkey/authcore/store/storetest"
)

// The sweep runs by itself, in the rhythm it was given, and ends with the store.
func TestSweepRunsByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := opened(t, Options{SweepEvery: time.Minute})
		op := storetest.Put("a", "x")
		op.ExpiresAt = time.Now().Add(90 * time.Second)
		mustApply(t, db, op)
		for _, want := range []int64{1, 0} {
			time.Sleep(65 * time.Second) // the bubble's clock
			synctest.Wait()
			wantNumber(t, db, "SELECT count(*) FROM record", want)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
}
