package backup

import (
	"compress/flate"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"

	"latchkey/authcore/store"
)

// RestoreOptions of Restore and Verify; the zero value works.
type RestoreOptions struct {
	// Accept is asked before anything is written, by Restore once for each of its passes; its error ends it. Here the
	// caller looks whether he has the keys that the header names.
	Accept   func(Header) error
	Progress func(Counts) // called now and then; while restoring, once more from 0 after the file was verified
}

// Verify reads a whole backup and answers what it says and holds, or what is wrong with it.
func Verify(ctx context.Context, r io.Reader, o RestoreOptions) (Header, Counts, error) {
	in, err := open(r, o)
	if err != nil {
		return Header{}, Counts{}, err
	}
	for _, err := range in.entries(ctx, o) {
		if err != nil {
			return in.header, in.counts, fmt.Errorf("verify the backup: %w", err)
		}
	}
	return in.header, in.counts, nil
}

// Restore verifies the whole of r, goes back to where it began, and writes the records into an empty store. An engine
// that restores all or nothing keeps nothing of a file that changes in between.
func Restore(ctx context.Context, r io.ReadSeeker, to store.Restorer, o RestoreOptions) (Header, Counts, error) {
	begin, err := r.Seek(0, io.SeekCurrent)
	if err != nil {
		return Header{}, Counts{}, fmt.Errorf("read the backup: %w", err)
	}
	if h, counts, err := Verify(ctx, r, o); err != nil {
		return h, counts, err
	}
	if _, err := r.Seek(begin, io.SeekStart); err != nil {
		return Header{}, Counts{}, fmt.Errorf("read the backup again: %w", err)
	}
	in, err := open(r, o)
	if err != nil {
		return Header{}, Counts{}, err
	}
	if err := to.Restore(ctx, in.entries(ctx, o)); err != nil {
		return in.header, in.counts, fmt.Errorf("restore the backup: %w", err)
	}
	return in.header, in.counts, nil
}

func open(r io.Reader, o RestoreOptions) (*Reader, error) {
	in, err := NewReader(r)
	if err != nil {
		return nil, err
	}
	if o.Accept != nil {
		if err := o.Accept(in.header); err != nil {
			return nil, err
		}
	}
	return in, nil
}

// entries are those of the backup, with progress told on the way.
func (in *Reader) entries(ctx context.Context, o RestoreOptions) iter.Seq2[store.Entry, error] {
	if o.Progress == nil {
		return in.Entries(ctx)
	}
	return func(yield func(store.Entry, error) bool) {
		for e, err := range in.Entries(ctx) {
			if (in.counts.Partitions+in.counts.Records)%progressEvery == 0 {
				o.Progress(in.counts)
			}
			if !yield(e, err) {
				return
			}
		}
		o.Progress(in.counts)
	}
}

func isDeflate(err error) bool {
	var corrupt flate.CorruptInputError
	return errors.As(err, &corrupt)
}
