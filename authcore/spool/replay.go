package spool

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"latchkey/authcore/store"
)

// perBatch bounds how many entries of one partition are put at once.
const perBatch = 64

// Pending says whether there may be something to replay: after a start, whatever an earlier process left.
func (s *Spool) Pending() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state.Broken { // so that the disk is looked at again
		return true
	}
	if s.file != nil {
		return s.state.Waiting > 0
	}
	info, err := os.Stat(filepath.Join(s.o.Dir, FileName))
	return err == nil && info.Size() > 0
}

// Replay puts every entry into the records, in order, and then empties the file. The next call goes on where one failed,
// and a process that starts begins anew. Entries may be appended while it goes on.
func (s *Spool) Replay(ctx context.Context, r store.Records) error {
	s.replays.Lock()
	defer s.replays.Unlock()
	for {
		f, end, err := s.whole()
		if err != nil {
			return err
		}
		if s.put > end {
			s.put = 0 // the file was read anew, and is shorter
		}
		if s.put, err = putBetween(ctx, r, f, s.put, end); err != nil {
			if errors.Is(err, store.ErrDistrusted) {
				s.put = 0 // what was put may be lost
			}
			return fmt.Errorf("replay the spool: %w", err)
		}
		if done, err := s.empty(f, end); done || err != nil {
			s.put = 0
			return err
		}
	}
}

// whole answers the file and where its entries end.
func (s *Spool) whole() (*os.File, int64, error) {
	s.turn.Lock()
	defer s.turn.Unlock()
	f, err := s.open()
	return f, s.State().Bytes, err
}

// empty empties the file if it still ends at end.
func (s *Spool) empty(f *os.File, end int64) (done bool, err error) {
	s.turn.Lock()
	defer s.turn.Unlock()
	if s.State().Bytes != end {
		return false, nil
	}
	if err := errors.Join(f.Truncate(0), f.Sync()); err != nil {
		return true, fmt.Errorf("empty the spool: %w", errors.Join(err, s.shut()))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.Replayed += int64(s.state.Waiting)
	s.state.Waiting, s.state.Bytes, s.state.Broken = 0, 0, false
	return true, nil
}

// putBetween puts the entries from one place in the file to another, and answers up to where they are there.
func putBetween(ctx context.Context, r store.Records, f *os.File, from, end int64) (int64, error) {
	var l []Entry
	put, at := from, from
	flush := func() error {
		if len(l) == 0 {
			return nil
		}
		if err := putAll(ctx, r, l); err != nil {
			return err
		}
		l, put = l[:0], at
		return nil
	}
	_, err := each(f, from, end, func(e Entry, ends int64) error {
		if len(l) == perBatch || len(l) > 0 && l[0].Partition != e.Partition {
			if err := flush(); err != nil {
				return err
			}
		}
		l, at = append(l, e), ends
		return nil
	})
	if err == nil {
		err = flush()
	}
	return put, err
}

// putAll puts entries of one partition, those that are there already left as they are.
func putAll(ctx context.Context, r store.Records, l []Entry) error {
	ops := make([]store.Op, len(l))
	for i, e := range l {
		ops[i] = e.Op()
	}
	_, err := r.Apply(ctx, l[0].Partition, ops...)
	if !errors.Is(err, store.ErrConflict) {
		return err
	}
	for i := range ops { // some are there: a replay before this one got so far
		if _, err := r.Apply(ctx, l[0].Partition, ops[i]); err != nil && !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
	return nil
}
