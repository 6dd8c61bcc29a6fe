package backup

import (
	"bufio"
	"bytes"
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
	"slices"

	"latchkey/authcore/store"
)

// Reader reads one backup, once.
type Reader struct {
	r      *bufio.Reader
	digest hash.Hash
	frame  []byte // the last one whole; reused
	header Header
	counts Counts
}

// NewReader reads the header. It answers ErrNotBackup, ErrVersion or ErrDamaged, or the error of r.
func NewReader(r io.Reader) (*Reader, error) {
	in := &Reader{r: bufio.NewReaderSize(r, 64<<10), digest: sha256.New()}
	if err := in.unzip(); err != nil {
		return nil, err
	}
	if err := in.readMagic(); err != nil {
		return nil, err
	}
	return in, in.readHeader()
}

// Header is what the backup says of itself.
func (in *Reader) Header() Header { return in.header }

// Counts say how much has been read.
func (in *Reader) Counts() Counts { return in.counts }

// Entries runs over the backup. The last step is an error unless the whole file was what was written, so nothing of it
// may be kept before the end.
func (in *Reader) Entries(ctx context.Context) iter.Seq2[store.Entry, error] {
	return func(yield func(store.Entry, error) bool) {
		var head store.Entry
		var name string // the last one of its partition
		for {
			e, more, err := in.next(head.Partition)
			if err == nil {
				err = ctx.Err()
			}
			if err == nil && more {
				err = follows(e, head, name)
			}
			if err != nil {
				yield(store.Entry{}, err)
				return
			}
			if !more || !yield(e, nil) {
				return
			}
			name = e.Record.Name
			if e.IsHead() {
				head = e
			}
		}
	}
}

// follows holds the order, so that no name comes twice.
func follows(e, head store.Entry, name string) error {
	if err := e.Check(head); err != nil {
		return damaged("%w", err)
	}
	if !e.IsHead() && e.Record.Name <= name {
		return damaged("record %q of %q after %q", e.Record.Name, e.Partition, name)
	}
	return nil
}

// next answers the next entry; no more once the trailer held.
func (in *Reader) next(partition string) (e store.Entry, more bool, err error) {
	payload, err := in.readFrame(maxEntry)
	if err != nil {
		return store.Entry{}, false, err
	}
	switch payload[0] {
	case partitionFrame:
		in.counts.Partitions++
	case recordFrame:
		in.counts.Records++
	case trailerFrame:
		return store.Entry{}, false, in.checkTrailer(payload)
	default:
		return store.Entry{}, false, damaged("a frame of kind %q", payload[0])
	}
	e, err = parseEntry(payload, partition)
	return e, true, err
}

func (in *Reader) checkTrailer(payload []byte) error {
	p := parser{rest: payload[1:]}
	partitions, records := p.number(), p.number()
	if p.failed || partitions != in.counts.Partitions || records != in.counts.Records {
		return damaged("it holds %d partitions and %d records, its end tells of %d and %d", in.counts.Partitions, in.counts.Records, partitions, records)
	}
	if !bytes.Equal(p.rest, in.digest.Sum(nil)) {
		return damaged("its digest does not match")
	}
	if _, err := in.r.ReadByte(); !errors.Is(err, io.EOF) {
		return damaged("something follows its end")
	}
	return nil
}

// unzip goes on within gzip if the file begins so.
func (in *Reader) unzip() error {
	begin, err := in.r.Peek(2)
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read the backup: %w", err)
	}
	if string(begin) != "\x1f\x8b" { // RFC 1952 section 2.3.1
		return nil
	}
	zipped, err := gzip.NewReader(in.r)
	if err != nil {
		return damaged("%w", err)
	}
	in.r = bufio.NewReaderSize(zipped, 64<<10)
	return nil
}

func (in *Reader) readMagic() error {
	begin := make([]byte, len(magic))
	if err := in.read(begin); err != nil && !errors.Is(err, ErrDamaged) {
		return err
	}
	if string(begin) != magic {
		return ErrNotBackup
	}
	in.digest.Write(begin) // never fails
	return nil
}

func (in *Reader) readHeader() error {
	payload, err := in.readFrame(maxHeader)
	if err != nil {
		return err
	}
	if payload[0] != headerFrame {
		return damaged("it has no header")
	}
	if err := json.Unmarshal(payload[1:], &in.header); err != nil {
		return damaged("its header cannot be read: %w", err)
	}
	if in.header.Version < 1 {
		return damaged("version %d", in.header.Version)
	}
	if in.header.Version > Version {
		return fmt.Errorf("%w: %d, this program reads up to %d", ErrVersion, in.header.Version, Version)
	}
	return nil
}

// readFrame answers a payload of at least one byte, good until the next call. It goes into the digest unless it is the
// trailer.
func (in *Reader) readFrame(limit int) ([]byte, error) {
	in.frame = append(in.frame[:0], 0, 0, 0, 0)
	if err := in.read(in.frame); err != nil {
		return nil, err
	}
	size := int(binary.BigEndian.Uint32(in.frame))
	if size < 1 || size > limit {
		return nil, damaged("a frame of %d bytes, 1 to %d", size, limit)
	}
	in.frame = slices.Grow(in.frame, size+4)[:4+size+4]
	if err := in.read(in.frame[4:]); err != nil {
		return nil, err
	}
	payload := in.frame[4 : 4+size]
	if binary.BigEndian.Uint32(in.frame[4+size:]) != checksum(payload) {
		return nil, damaged("a frame does not match its checksum, %d bytes in", in.counts.Bytes)
	}
	if payload[0] != trailerFrame {
		in.digest.Write(in.frame) // never fails
	}
	return payload, nil
}

func (in *Reader) read(b []byte) error {
	n, err := io.ReadFull(in.r, b)
	in.counts.Bytes += int64(n)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return damaged("it ends after %d bytes", in.counts.Bytes)
	case errors.Is(err, gzip.ErrChecksum), errors.Is(err, gzip.ErrHeader), isDeflate(err):
		return damaged("%w", err)
	}
	return fmt.Errorf("read the backup: %w", err)
}
