package sqlite

import (
	"context"
	"errors"
	"time"

	"latchkey/authcore/store"
)

// sweepStep is how many expired records one transaction deletes: writers wait a few milliseconds for it at most.
const sweepStep = 256

// sweep deletes expired records now and then, until the store closes.
func (db *DB) sweep(every time.Duration) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-db.closing:
			return
		}
		if err := db.sweepAll(ctx); err != nil && !errors.Is(err, errClosed) {
			db.log.Error("sweep of expired records", "err", err)
		}
	}
}

// sweepAll deletes what has expired, step by step; other writers come in between. A corrupt record is left where it is
// and told of.
func (db *DB) sweepAll(ctx context.Context) error {
	var from sweepPoint
	for {
		before := from
		err := db.do(ctx, func(w *writer) (err error) {
			from, err = w.sweepFrom(from, db.corruptFound)
			return explain(db.path, err)
		})
		if err != nil || from == before {
			return err
		}
	}
}

func (db *DB) corruptFound(err error) {
	db.log.Error("sweep of expired records", "err", err)
}

// sweepPoint is how far a sweep has come, in the order of the index.
type sweepPoint struct {
	expires         int64
	partition, name string
}

// sweepFrom deletes the next records and answers the last it saw: the same point if there are no more.
func (w *writer) sweepFrom(from sweepPoint, corrupt func(error)) (sweepPoint, error) {
	last := from
	err := w.transact(func() error {
		var doomed []store.Key
		err := w.expired.each(w.row.all(), func() (bool, error) {
			k := store.Key{Partition: w.row.partition(), Name: w.row.name()}
			last.expires, _ = w.row.values[expiresAt].(int64)
			last.partition, last.name = k.Partition, k.Name
			if _, _, err := w.row.record(k.Partition, k.Name); err != nil {
				corrupt(err)
			} else {
				doomed = append(doomed, k)
			}
			return true, nil
		}, w.now().UnixMilli(), from.expires, from.partition, from.name, int64(sweepStep))
		if err != nil {
			return err
		}
		for _, k := range doomed {
			if err := w.removeRecord(k.Partition, k.Name); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return from, err
	}
	return last, nil
}
