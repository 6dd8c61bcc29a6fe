package backup_test

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"latchkey/authcore/store"
	"latchkey/authcore/store/backup"
	"latchkey/authcore/store/memory"
)

// FuzzRead gives the reader frames whose checksums hold, so that it comes to look at what is in them. It must not
// panic, and what it accepts must be what a backup of it holds.
func FuzzRead(f *testing.F) {
	for _, payload := range frames(f, small(f))[1:] {
		f.Add(payload[4:len(payload)-4], []byte("R\x01a\x01\x00v"))
	}
	f.Add([]byte("P\x01p\x09"), []byte("R\x01a\x02\x80\x80\x01value"))
	f.Add([]byte("P\x01p\x09"), []byte("P\x01q\x01"))
	f.Add([]byte("P\x80\x80\x80"), []byte("T\x00\x00"))
	f.Fuzz(func(t *testing.T, first, second []byte) {
		if len(first) > 1<<16 || len(second) > 1<<16 {
			return // longer than any frame that says more
		}
		file := slices.Concat([]byte("LATCHKEY-BACKUP\n"), frame(`H{"version":1}`), frame(string(first)), frame(string(second)))
		in, err := backup.NewReader(bytes.NewReader(file))
		if err != nil {
			t.Fatalf("header: %v", err)
		}
		var head store.Entry
		var accepted []store.Entry
		for e, err := range in.Entries(t.Context()) {
			if err != nil {
				break
			}
			if err := e.Check(head); err != nil {
				t.Fatalf("accepted %+v: %v", e, err)
			}
			if e.IsHead() {
				head = e
			}
			accepted = append(accepted, e)
		}
		again(t, accepted)
	})
}

// again writes what was accepted and restores it.
func again(t *testing.T, accepted []store.Entry) {
	file := write(t, func(yield func(store.Entry, error) bool) {
		for _, e := range accepted {
			if !yield(e, nil) {
				return
			}
		}
	}, backup.WriteOptions{})
	to := memory.NewRecords(memory.Options{})
	_, counts, err := backup.Restore(t.Context(), bytes.NewReader(file), to, backup.RestoreOptions{})
	if err != nil || counts.Partitions+counts.Records != int64(len(accepted)) {
		t.Fatalf("got %+v, %v, want %d entries", counts, err, len(accepted))
	}
}

// FuzzFile gives the reader any bytes at all.
func FuzzFile(f *testing.F) {
	f.Add(small(f))
	f.Add([]byte("LATCHKEY-BACKUP\n"))
	f.Add(binary.BigEndian.AppendUint32([]byte("LATCHKEY-BACKUP\n"), 1<<31))
	f.Add([]byte("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"))
	f.Fuzz(func(t *testing.T, file []byte) {
		to := memory.NewRecords(memory.Options{})
		_, _, err := backup.Restore(t.Context(), bytes.NewReader(file), to, backup.RestoreOptions{})
		if kept := entries(t, to.Snapshot(t.Context())); err != nil && len(kept) > 0 {
			t.Fatalf("refused with %v and kept %d entries", err, len(kept))
		}
	})
}
