package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"time"

	"latchkey/authcore/store"
	"latchkey/authcore/store/backup"
)

// meter tells whoever waits how far a long work is.
type meter struct {
	out   io.Writer
	doing string
	of    int64 // records in all; 0: not known
	began time.Time
	told  time.Time // zero: a work long enough to be told of says so at once
	count int64     // records at the last call
	then  string    // what is done once counting begins anew; empty: the same
}

// tellEvery is how often it says so: a move of a million records takes minutes.
const tellEvery = time.Second

func newMeter(out io.Writer, doing string, of int64) *meter {
	return &meter{out: out, doing: doing, of: of, began: time.Now()}
}

// at is called often, and says something now and then.
func (m *meter) at(n backup.Counts) {
	if n.Records < m.count {
		*m = meter{out: m.out, doing: cmp.Or(m.then, m.doing), of: m.of, began: time.Now()}
	}
	m.count = n.Records
	if time.Since(m.told) >= tellEvery {
		m.told = time.Now()
		m.tell(n)
	}
}

func (m *meter) tell(n backup.Counts) {
	took := time.Since(m.began)
	rate := int64(float64(n.Records) / max(took.Seconds(), 0.001))
	of := ""
	if m.of > 0 {
		of = fmt.Sprintf(" of %d", m.of)
	}
	fmt.Fprintf(m.out, "%s: %d%s records, %d MiB, %v, %d records a second\n", m.doing, n.Records, of, n.Bytes>>20, took.Round(time.Second/10), rate)
}

// metered hands a backup on to w and tells how many records have gone by, wherever they come from.
func metered(ctx context.Context, w io.Writer, m *meter, write func(io.Writer) error) error {
	r, tap := io.Pipe()
	done := make(chan struct{})
	go func() { defer close(done); follow(ctx, r, m) }()
	err := write(io.MultiWriter(w, tap))
	_ = tap.Close() // never fails
	<-done
	return err
}

// follow reads along. What is wrong with the backup its verification will say: here it only ends the telling.
func follow(ctx context.Context, r io.Reader, m *meter) {
	in, err := backup.NewReader(r)
	if err == nil {
		for range in.Entries(ctx) {
			m.at(in.Counts())
		}
		m.tell(in.Counts())
	}
	_, _ = io.Copy(io.Discard, r) // or the writer would wait for ever
}

// compare proves that the store holds what the backup holds.
func compare(ctx context.Context, f io.Reader, db store.Snapshotter, m *meter) error {
	n := backup.Counts{}
	_, err := backup.Same(ctx, f, func(yield func(store.Entry, error) bool) {
		for e, err := range db.Snapshot(ctx) {
			if err == nil && !e.IsHead() {
				n.Records++
				n.Bytes += int64(len(e.Record.Value))
				m.at(n)
			}
			if !yield(e, err) {
				return
			}
		}
	})
	if err == nil {
		m.tell(n)
	}
	return err
}
