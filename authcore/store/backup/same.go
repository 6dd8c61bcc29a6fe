package backup

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	"latchkey/authcore/store"
)

// ErrDiffers: a store is not what a backup holds.
var ErrDiffers = errors.New("the store differs from the backup")

// Same reads a backup and the snapshot of a store side by side, in constant memory. It answers ErrDiffers unless the
// store holds every record of the backup with its value, revision and expiry, and no other, and no partition would give
// out again a revision that it gave out before. A record may be missing whose time is over within a minute. An engine that counts
// revisions for several partitions together may answer a higher one for a partition, and none for an empty one.
func Same(ctx context.Context, r io.Reader, snapshot iter.Seq2[store.Entry, error]) (Counts, error) {
	in, err := NewReader(r)
	if err != nil {
		return Counts{}, err
	}
	next, stop := iter.Pull2(snapshot)
	defer stop()
	there, err, more := next()
	for want, werr := range in.Entries(ctx) {
		if err = cmp.Or(werr, err); err != nil {
			return in.counts, fmt.Errorf("compare with the backup: %w", err)
		}
		switch order := inOrder(want, there); {
		case !more || order < 0:
			err = mayLack(want)
		case order > 0:
			err = differ(there, "is not in the backup")
		default:
			if err = equal(want, there); err == nil {
				there, err, more = next()
			}
		}
		if err != nil {
			return in.counts, fmt.Errorf("compare with the backup: %w", err)
		}
	}
	if more {
		return in.counts, fmt.Errorf("compare with the backup: %w", differ(there, "is not in the backup"))
	}
	return in.counts, nil
}

// inOrder is that of a snapshot: a head has no name, and so comes before its records.
func inOrder(a, b store.Entry) int {
	return cmp.Or(cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Record.Name, b.Record.Name))
}

func differ(e store.Entry, format string, args ...any) error {
	return fmt.Errorf("%w: %q of %q %s", ErrDiffers, e.Record.Name, e.Partition, fmt.Sprintf(format, args...))
}

// clocksDiffer is how much earlier than this host's clock says a store may have deleted what ends: Redis goes by its own.
const clocksDiffer = time.Minute

func mayLack(want store.Entry) error {
	until := want.Record.ExpiresAt
	if want.IsHead() || !until.IsZero() && !until.After(time.Now().Add(clocksDiffer)) {
		return nil
	}
	return differ(want, "is missing")
}

func equal(want, there store.Entry) error {
	a, b := want.Record, there.Record
	switch {
	case want.IsHead() && there.Highest < want.Highest:
		return differ(want, "is at revision %d, was at %d", there.Highest, want.Highest)
	case a.Revision != b.Revision:
		return differ(want, "has revision %d, had %d", b.Revision, a.Revision)
	case !a.ExpiresAt.Equal(b.ExpiresAt):
		return differ(want, "expires %v, did %v", b.ExpiresAt, a.ExpiresAt)
	case !bytes.Equal(a.Value, b.Value):
		return differ(want, "has another value")
	}
	return nil
}
