package backup_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"iter"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"latchkey/authcore/store"
	"latchkey/authcore/store/backup"
	"latchkey/authcore/store/memory"
	"latchkey/authcore/store/storetest"
)

var header = backup.Header{
	Store:   "0123456789abcdef",
	Created: time.Date(2026, 3, 14, 9, 26, 53, 0, time.UTC),
	Keys:    []string{"k1", "k7"},
}

// filled is a store with several partitions, one of them emptied, expiries and unusual bytes.
func filled(t testing.TB) *memory.Records {
	t.Helper()
	r := memory.NewRecords(memory.Options{})
	apply := func(partition string, ops ...store.Op) {
		t.Helper()
		if _, err := r.Apply(t.Context(), partition, ops...); err != nil {
			t.Fatal(err)
		}
	}
	until := storetest.Put("until", "x")
	until.ExpiresAt = time.Now().Add(time.Hour)
	apply("d1", storetest.Put("a", "one"), until, storetest.Put("empty", ""))
	apply("d1", storetest.Put("a", "two"), storetest.Put("\x00\xff", "\r\n\x00"))
	apply("d2", storetest.Put("gone", "x"))
	apply("d2", storetest.Delete("gone"))
	apply("\xff", storetest.Put("large", strings.Repeat("v", store.MaxValue)))
	return r
}

func write(t testing.TB, entries iter.Seq2[store.Entry, error], o backup.WriteOptions) []byte {
	t.Helper()
	var file bytes.Buffer
	if _, err := backup.Write(t.Context(), &file, header, entries, o); err != nil {
		t.Fatalf("write: %v", err)
	}
	return file.Bytes()
}

func entries(t testing.TB, all iter.Seq2[store.Entry, error]) []string {
	t.Helper()
	var list []string
	for e, err := range all {
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, fmt.Sprintf("%q %d %q %d %v %x", e.Partition, e.Highest, e.Record.Name, e.Record.Revision, e.Record.ExpiresAt, e.Record.Value))
	}
	return list
}

func TestThereAndBack(t *testing.T) {
	for name, o := range map[string]backup.WriteOptions{"plain": {}, "gzip": {Gzip: true}} {
		t.Run(name, func(t *testing.T) {
			from, to := filled(t), memory.NewRecords(memory.Options{})
			file := write(t, from.Snapshot(t.Context()), o)
			h, counts, err := backup.Restore(t.Context(), bytes.NewReader(file), to, backup.RestoreOptions{})
			if err != nil {
				t.Fatalf("restore: %v", err)
			}
			if h.Store != header.Store || !h.Created.Equal(header.Created) || !slices.Equal(h.Keys, header.Keys) || h.Version != backup.Version {
				t.Errorf("got header %+v, want %+v", h, header)
			}
			if counts.Partitions != 3 || counts.Records != 5 {
				t.Errorf("got %+v, want 3 partitions and 5 records", counts)
			}
			if got, want := entries(t, to.Snapshot(t.Context())), entries(t, from.Snapshot(t.Context())); !slices.Equal(got, want) {
				t.Errorf("the restored store differs: got %d entries, want %d", len(got), len(want))
			}
		})
	}
}

// frames takes a plain backup apart: the magic line, then one frame each.
func frames(t testing.TB, file []byte) [][]byte {
	t.Helper()
	const magic = 16
	list := [][]byte{file[:magic]}
	for rest := file[magic:]; len(rest) > 0; {
		n := 4 + int(binary.BigEndian.Uint32(rest)) + 4
		list = append(list, rest[:n])
		rest = rest[n:]
	}
	return list
}

func frame(payload string) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(payload)))
	b = append(b, payload...)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum([]byte(payload), crc32.MakeTable(crc32.Castagnoli)))
}

func small(t testing.TB) []byte {
	t.Helper()
	r := memory.NewRecords(memory.Options{})
	for _, p := range []string{"p", "q"} {
		if _, err := r.Apply(t.Context(), p, storetest.Put("a", "one"), storetest.Put("b", "two")); err != nil {
			t.Fatal(err)
		}
	}
	return write(t, r.Snapshot(t.Context()), backup.WriteOptions{})
}

// refused asks that the file is refused with want, and that a restore of it leaves the store empty.
func refused(t *testing.T, what string, file []byte, want error) {
	t.Helper()
	to := memory.NewRecords(memory.Options{})
	_, _, err := backup.Restore(t.Context(), bytes.NewReader(file), to, backup.RestoreOptions{})
	if !errors.Is(err, want) {
		t.Errorf("%s: got %v, want %v", what, err, want)
	}
	if got := entries(t, to.Snapshot(t.Context())); len(got) != 0 {
		t.Errorf("%s: got %d entries in the store, want none", what, len(got))
	}
}

func TestEveryTruncationIsRefused(t *testing.T) {
	file := small(t)
	for n := range len(file) {
		want := backup.ErrDamaged
		if n < 16 {
			want = backup.ErrNotBackup
		}
		refused(t, fmt.Sprintf("%d of %d bytes", n, len(file)), file[:n], want)
	}
}

func TestEveryAlteredByteIsRefused(t *testing.T) {
	file := small(t)
	for n := range file {
		altered := bytes.Clone(file)
		altered[n] ^= 0x20
		want := backup.ErrDamaged
		if n < 16 {
			want = backup.ErrNotBackup
		}
		refused(t, fmt.Sprintf("byte %d of %d altered", n, len(file)), altered, want)
	}
}

func TestTruncatedGzipIsRefused(t *testing.T) {
	var zipped bytes.Buffer
	w := gzip.NewWriter(&zipped)
	w.Write(small(t))
	w.Close()
	file := zipped.Bytes()
	for _, n := range []int{3, 12, len(file) / 2, len(file) - 9, len(file) - 1} {
		to := memory.NewRecords(memory.Options{})
		if _, _, err := backup.Restore(t.Context(), bytes.NewReader(file[:n]), to, backup.RestoreOptions{}); err == nil {
			t.Errorf("%d of %d bytes: it was restored", n, len(file))
		}
	}
	altered := bytes.Clone(file)
	altered[len(file)-5] ^= 1 // in the checksum of gzip itself
	refused(t, "gzip checksum altered", altered, backup.ErrDamaged)
}

func TestFramesOutOfOrderAreRefused(t *testing.T) {
	f := frames(t, small(t)) // magic, header, p, a, b, q, a, b, trailer
	if len(f) != 9 {
		t.Fatalf("got %d frames, want 9", len(f))
	}
	join := func(order ...int) []byte {
		var file []byte
		for _, i := range order {
			file = append(file, f[i]...)
		}
		return file
	}
	for _, c := range []struct {
		name string
		file []byte
	}{
		{"a record left out", join(0, 1, 2, 3, 5, 6, 7, 8)},
		{"a record twice", join(0, 1, 2, 3, 3, 4, 5, 6, 7, 8)},
		{"records swapped", join(0, 1, 2, 4, 3, 5, 6, 7, 8)},
		{"partitions swapped", join(0, 1, 5, 6, 7, 2, 3, 4, 8)},
		{"a record before its partition", join(0, 1, 3, 2, 4, 5, 6, 7, 8)},
		{"no header", join(0, 2, 3, 4, 5, 6, 7, 8)},
		{"the header twice", join(0, 1, 1, 2, 3, 4, 5, 6, 7, 8)},
		{"no trailer", join(0, 1, 2, 3, 4, 5, 6, 7)},
		{"the trailer twice", join(0, 1, 2, 3, 4, 5, 6, 7, 8, 8)},
		{"a byte behind the trailer", append(join(0, 1, 2, 3, 4, 5, 6, 7, 8), 0)},
		{"a frame of no kind", slices.Concat(f[0], f[1], frame("X"))},
		{"an empty frame", slices.Concat(f[0], f[1], frame(""))},
		{"a frame without end", slices.Concat(f[0], f[1], []byte("\xff\xff\xff\xff"))},
		{"a revision above its partition's", slices.Concat(f[0], f[1], frame("P\x01p\x01"), frame("R\x01a\x02\x00v"))},
		{"a revision of zero", slices.Concat(f[0], f[1], frame("P\x01p\x01"), frame("R\x01a\x00\x00v"))},
		{"a record without a name", slices.Concat(f[0], f[1], frame("P\x01p\x01"), frame("R\x00\x01\x00v"))},
		{"a name longer than its frame", slices.Concat(f[0], f[1], frame("P\x7fp\x01"))},
		{"a number too large", slices.Concat(f[0], f[1], frame("P\x01p\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"))},
		{"a partition with more behind it", slices.Concat(f[0], f[1], frame("P\x01p\x01\x01"))},
	} {
		t.Run(c.name, func(t *testing.T) { refused(t, c.name, c.file, backup.ErrDamaged) })
	}
}

func TestLaterVersionIsRefused(t *testing.T) {
	file := slices.Concat([]byte("LATCHKEY-BACKUP\n"), frame(`H{"version":2}`))
	refused(t, "version 2", file, backup.ErrVersion)
	refused(t, "no version", slices.Concat([]byte("LATCHKEY-BACKUP\n"), frame(`H{}`)), backup.ErrDamaged)
	refused(t, "something else", []byte("SQLite format 3\x00 and more of it"), backup.ErrNotBackup)
}

func TestAcceptComesBeforeTheStore(t *testing.T) {
	missing := errors.New("key k7 is missing")
	to := memory.NewRecords(memory.Options{})
	_, _, err := backup.Restore(t.Context(), bytes.NewReader(small(t)), to, backup.RestoreOptions{
		Accept: func(h backup.Header) error {
			if slices.Contains(h.Keys, "k7") {
				return missing
			}
			return nil
		},
	})
	if !errors.Is(err, missing) {
		t.Errorf("got %v, want %v", err, missing)
	}
	if got := entries(t, to.Snapshot(t.Context())); len(got) != 0 {
		t.Errorf("got %d entries, want none", len(got))
	}
}

func TestRestoreNeedsAnEmptyStore(t *testing.T) {
	to := filled(t)
	if _, _, err := backup.Restore(t.Context(), bytes.NewReader(small(t)), to, backup.RestoreOptions{}); !errors.Is(err, store.ErrNotEmpty) {
		t.Errorf("got %v, want ErrNotEmpty", err)
	}
}

func TestCorruptRecords(t *testing.T) {
	bad := fmt.Errorf("%w: %q in partition %q", store.ErrCorrupt, "b", "p")
	source := func(yield func(store.Entry, error) bool) {
		_ = yield(store.Entry{Partition: "p", Highest: 3}, nil) &&
			yield(store.Entry{Partition: "p", Record: store.Record{Name: "a", Revision: 1}}, nil) &&
			yield(store.Entry{}, bad) &&
			yield(store.Entry{Partition: "p", Record: store.Record{Name: "c", Revision: 3}}, nil)
	}
	if _, err := backup.Write(t.Context(), io.Discard, header, source, backup.WriteOptions{}); !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("unasked: got %v, want ErrCorrupt", err)
	}
	var told []error
	file := write(t, source, backup.WriteOptions{Corrupt: func(err error) error {
		told = append(told, err)
		return nil
	}})
	if len(told) != 1 || !errors.Is(told[0], bad) {
		t.Errorf("got told %v, want %v", told, bad)
	}
	if _, counts, err := backup.Verify(t.Context(), bytes.NewReader(file), backup.RestoreOptions{}); err != nil || counts.Records != 2 {
		t.Errorf("got %d records, %v, want the 2 that are whole", counts.Records, err)
	}
}

func TestContextEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := backup.Write(ctx, io.Discard, header, filled(t).Snapshot(t.Context()), backup.WriteOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("write: got %v, want context.Canceled", err)
	}
	if _, _, err := backup.Verify(ctx, bytes.NewReader(small(t)), backup.RestoreOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("verify: got %v, want context.Canceled", err)
	}
}

// A backup of 200 MB passes through a pipe: neither side keeps more than a few records of it.
func TestConstantMemory(t *testing.T) {
	const records, size = 200, 1 << 20
	value := make([]byte, size)
	source := func(yield func(store.Entry, error) bool) {
		more := yield(store.Entry{Partition: "p", Highest: 1}, nil)
		for i := 0; i < records && more; i++ {
			more = yield(store.Entry{Partition: "p", Record: store.Record{Name: fmt.Sprintf("%06d", i), Revision: 1, Value: value}}, nil)
		}
	}
	r, w := io.Pipe()
	written := make(chan error, 1)
	go func() {
		_, err := backup.Write(t.Context(), w, header, source, backup.WriteOptions{})
		w.CloseWithError(err)
		written <- err
	}()
	var peak uint64
	in, err := backup.NewReader(r)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, err := range in.Entries(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if n++; n%50 == 0 {
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			peak = max(peak, m.HeapAlloc)
		}
	}
	if err := <-written; err != nil || n != records+1 {
		t.Errorf("got %d entries, %v, want %d", n, err, records+1)
	}
	if peak > 32<<20 {
		t.Errorf("got %d MiB live on the way, want a few", peak>>20)
	}
}

func TestProgress(t *testing.T) {
	var wrote, read backup.Counts
	file := write(t, filled(t).Snapshot(t.Context()), backup.WriteOptions{Progress: func(c backup.Counts) { wrote = c }})
	if wrote.Records != 5 || wrote.Bytes != int64(len(file)) {
		t.Errorf("written: got %+v, want 5 records in %d bytes", wrote, len(file))
	}
	_, _, err := backup.Verify(t.Context(), bytes.NewReader(file), backup.RestoreOptions{Progress: func(c backup.Counts) { read = c }})
	if err != nil || read != wrote {
		t.Errorf("read: got %+v, %v, want %+v", read, err, wrote)
	}
}
