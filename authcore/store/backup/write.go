package backup

import (
	"bufio"
	"cmp"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"iter"

	"latchkey/authcore/store"
)

// WriteOptions of Write; the zero value works.
type WriteOptions struct {
	Gzip     bool
	Progress func(Counts) // called now and then, and at the end
	// Corrupt is asked for each record that the snapshot finds corrupt: nil leaves the record out, an error ends the
	// backup. Without it a corrupt record ends the backup.
	Corrupt func(error) error
}

// progressEvery is how many entries lie between two calls of Progress.
const progressEvery = 1000

// Write writes a backup of entries to w. After an error, what was written is of no use and would be refused. The caller
// syncs and renames the file.
func Write(ctx context.Context, w io.Writer, h Header, entries iter.Seq2[store.Entry, error], o WriteOptions) (Counts, error) {
	out, closeAll := newOutput(w, o)
	err := out.backup(ctx, h, entries)
	if err == nil {
		err = closeAll()
	}
	if err != nil {
		return out.counts, fmt.Errorf("write the backup: %w", err)
	}
	if o.Progress != nil {
		o.Progress(out.counts)
	}
	return out.counts, nil
}

// output is a backup that is being written.
type output struct {
	w      io.Writer
	digest hash.Hash
	frame  []byte // reused
	counts Counts
	head   store.Entry // the last one
	o      WriteOptions
}

func newOutput(w io.Writer, o WriteOptions) (*output, func() error) {
	buffered := bufio.NewWriterSize(w, 64<<10)
	if !o.Gzip {
		return &output{w: buffered, digest: sha256.New(), o: o}, buffered.Flush
	}
	zipped := gzip.NewWriter(buffered)
	return &output{w: zipped, digest: sha256.New(), o: o}, func() error {
		return cmp.Or(zipped.Close(), buffered.Flush())
	}
}

func (out *output) backup(ctx context.Context, h Header, entries iter.Seq2[store.Entry, error]) error {
	h.Version = Version
	header, err := json.Marshal(h)
	if err != nil {
		return err
	}
	if len(header) >= maxHeader {
		return fmt.Errorf("a header of %d bytes, at most %d", len(header), maxHeader)
	}
	if err := out.write([]byte(magic)); err != nil {
		return err
	}
	if err := out.writeFrame(func(b []byte) []byte { return append(append(b, headerFrame), header...) }); err != nil {
		return err
	}
	for e, err := range entries {
		if err := out.entry(ctx, e, err); err != nil {
			return err
		}
	}
	return out.trailer()
}

func (out *output) entry(ctx context.Context, e store.Entry, err error) error {
	if errors.Is(err, store.ErrCorrupt) && out.o.Corrupt != nil {
		return out.o.Corrupt(err)
	}
	if err = cmp.Or(err, ctx.Err()); err != nil {
		return err
	}
	if err := e.Check(out.head); err != nil {
		return err
	}
	if e.IsHead() {
		out.head = e
		out.counts.Partitions++
	} else {
		out.counts.Records++
	}
	if out.o.Progress != nil && (out.counts.Partitions+out.counts.Records)%progressEvery == 0 {
		out.o.Progress(out.counts)
	}
	return out.writeFrame(func(b []byte) []byte { return appendEntry(b, e) })
}

func (out *output) trailer() error {
	sum := out.digest.Sum(nil)
	return out.writeFrame(func(b []byte) []byte {
		b = append(b, trailerFrame)
		b = binary.AppendUvarint(b, uint64(out.counts.Partitions))
		b = binary.AppendUvarint(b, uint64(out.counts.Records))
		return append(b, sum...)
	})
}

// writeFrame frames what fill appends.
func (out *output) writeFrame(fill func([]byte) []byte) error {
	b := fill(append(out.frame[:0], 0, 0, 0, 0))
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	out.frame = binary.BigEndian.AppendUint32(b, checksum(b[4:]))
	return out.write(out.frame)
}

func (out *output) write(b []byte) error {
	out.digest.Write(b) // never fails
	n, err := out.w.Write(b)
	out.counts.Bytes += int64(n)
	return err
}
