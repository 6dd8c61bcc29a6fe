package spool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"latchkey/authcore/store"
	"latchkey/authcore/store/memory"
	"latchkey/authcore/store/storetest"
)

func open(t testing.TB, dir string, most int64) *Spool {
	t.Helper()
	s := New(Options{Dir: dir, Max: most})
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func entryOf(n int) Entry {
	return Entry{Partition: fmt.Sprintf("d:%d", n/3%2), Name: fmt.Sprintf("audit/%06d", n), Value: fmt.Appendf(nil, `{"n":%d}`, n)}
}

func add(t testing.TB, s *Spool, n ...int) {
	t.Helper()
	for _, i := range n {
		if err := s.Append(t.Context(), entryOf(i)); err != nil {
			t.Fatal(err)
		}
	}
}

// seen keeps the order in which records were put.
type seen struct {
	store.Records
	names []string
}

func (s *seen) Apply(ctx context.Context, p string, ops ...store.Op) (int64, error) {
	rev, err := s.Records.Apply(ctx, p, ops...)
	if err == nil {
		for _, o := range ops {
			s.names = append(s.names, o.Name)
		}
	}
	return rev, err
}

func upTo(n int) (names []string) {
	for i := range n {
		names = append(names, entryOf(i).Name)
	}
	return names
}

func TestReplayPutsAllInOrder(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, 0)
	if s.Pending() {
		t.Error("a new spool holds something")
	}
	for i := range 300 {
		add(t, s, i)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, 0)
	if !s.Pending() {
		t.Error("what another process left is not seen")
	}
	r := &seen{Records: memory.NewRecords(memory.Options{})}
	if err := s.Replay(t.Context(), r); err != nil || !slices.Equal(r.names, upTo(300)) {
		t.Fatalf("%v, %d records: %v", err, len(r.names), r.names)
	}
	if got := s.State(); s.Pending() || got.Waiting != 0 || got.Bytes != 0 || got.Replayed != 300 {
		t.Errorf("after it: %+v", got)
	}
	if err := s.Replay(t.Context(), r); err != nil || len(r.names) != 300 {
		t.Errorf("again: %v, %d records", err, len(r.names))
	}
	for name, want := range map[string]os.FileMode{".": 0o700, FileName: 0o600} {
		if i, err := os.Stat(filepath.Join(dir, name)); err != nil || name != "." && i.Mode().Perm() != want {
			t.Errorf("%s: %v, %v", name, i.Mode(), err)
		}
	}
}

// Whatever fails in the middle, written or not: in the end each entry is there once.
func TestReplayIsRepeatedUntilAllIsThere(t *testing.T) {
	for _, fault := range []storetest.Fault{storetest.FailBefore, storetest.FailAfter} {
		for at := range 6 {
			s := open(t, t.TempDir(), 0)
			for i := range 18 { // six batches: partitions alternate by three
				add(t, s, i)
			}
			calls := 0
			inner := memory.NewRecords(memory.Options{})
			r := &storetest.Faulty{Records: inner, OnApply: func(string, []store.Op) storetest.Fault {
				if calls++; calls == at+1 {
					return fault
				}
				return storetest.NoFault
			}}
			if err := s.Replay(t.Context(), r); !errors.Is(err, store.ErrUnavailable) || s.State().Waiting != 18 {
				t.Fatalf("%v at batch %d: %v, %+v", fault, at, err, s.State())
			}
			add(t, s, 18)
			if err := s.Replay(t.Context(), r); err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, p := range []string{"d:0", "d:1"} {
				l, err := inner.List(t.Context(), p, store.Query{})
				if err != nil {
					t.Fatal(err)
				}
				for _, rec := range l {
					got = append(got, rec.Name)
				}
			}
			if slices.Sort(got); !slices.Equal(got, upTo(19)) {
				t.Errorf("%v at batch %d: %v", fault, at, got)
			}
		}
	}
}

// A process that is killed while it writes leaves any part of an entry: those before it are there, and it is not.
func TestATornEndIsCutOff(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, 0)
	add(t, s, 0, 1)
	good := s.State().Bytes
	add(t, s, 2)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(filepath.Join(dir, FileName))
	if err != nil {
		t.Fatal(err)
	}
	var torn [][]byte
	for n := int(good); n < len(whole); n++ {
		flipped := bytes.Clone(whole)
		flipped[n] ^= 0x10
		torn = append(torn, whole[:n], flipped)
	}
	torn = append(torn, append(bytes.Clone(whole[:good]), make([]byte, 100)...))
	for i, p := range torn {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, FileName), p, 0o600); err != nil {
			t.Fatal(err)
		}
		s := open(t, dir, 0)
		add(t, s, 3)
		r := &seen{Records: memory.NewRecords(memory.Options{})}
		want := []string{entryOf(0).Name, entryOf(1).Name, entryOf(3).Name}
		if err := s.Replay(t.Context(), r); err != nil || !slices.Equal(r.names, want) {
			t.Errorf("%d: %v, %v", i, err, r.names)
		}
	}
}

func TestAFullSpoolRefuses(t *testing.T) {
	s := open(t, t.TempDir(), 1000)
	n := 0
	for ; ; n++ {
		if err := s.Append(t.Context(), entryOf(n)); errors.Is(err, ErrFull) {
			break
		} else if err != nil || n > 100 {
			t.Fatal(n, err)
		}
	}
	r := &seen{Records: memory.NewRecords(memory.Options{})}
	if got := s.State(); !got.Full() || got.Bytes > 1000 || got.Refused != 1 {
		t.Errorf("%+v", got)
	}
	if err := s.Replay(t.Context(), r); err != nil || !slices.Equal(r.names, upTo(n)) {
		t.Errorf("%v, %v", err, r.names)
	}
	add(t, s, n)
}

// A disk that takes no more refuses the entry, and what was kept before stays.
func TestADiskThatFails(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, 0)
	add(t, s, 0)
	path := filepath.Join(dir, FileName)
	deaf, err := os.Open(path) // for reading alone: every write fails, and cutting does too
	if err != nil {
		t.Fatal(err)
	}
	if err := s.file.Close(); err != nil {
		t.Fatal(err)
	}
	s.file = deaf
	if err := s.Append(t.Context(), entryOf(1)); err == nil || !s.State().Broken {
		t.Errorf("a write that failed: %v", err)
	}
	add(t, s, 2)
	r := &seen{Records: memory.NewRecords(memory.Options{})}
	if err := s.Replay(t.Context(), r); err != nil || !slices.Equal(r.names, []string{entryOf(0).Name, entryOf(2).Name}) {
		t.Errorf("%v, %v", err, r.names)
	}
}

// A disk that hangs holds nobody up for longer than a client would wait, and no more than some megabytes.
func TestADiskThatHangs(t *testing.T) {
	s := open(t, t.TempDir(), 0)
	add(t, s, 0)
	s.turn.Lock() // as whoever writes has it
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("the client is gone")
	cancel(gone)
	if err := s.Append(ctx, entryOf(1)); !errors.Is(err, gone) {
		t.Errorf("the first behind it: %v", err)
	}
	if err := s.Append(t.Context(), entryOf(2)); !errors.Is(err, ErrSlow) {
		t.Errorf("another one: %v", err)
	}
	big := entryOf(3)
	big.Value = bytes.Repeat([]byte{'v'}, maxEntry/2)
	for n := 0; ; n++ {
		if err := s.Append(ctx, big); errors.Is(err, ErrSlow) {
			break
		}
		if n > maxBatch/len(big.Value) {
			t.Fatal("what waits has no bound")
		}
	}
	s.turn.Unlock()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if got := s.State(); got.Waiting < 3 || got.Broken {
		t.Errorf("once it goes on: %+v", got)
	}
	add(t, s, 4)
}

func TestASpoolIsOneProcesss(t *testing.T) {
	dir := t.TempDir()
	one, two := open(t, dir, 0), open(t, dir, 0)
	add(t, one, 0)
	if err := two.Append(t.Context(), entryOf(1)); !errors.Is(err, ErrInUse) {
		t.Errorf("got %v", err)
	}
	if err := one.Close(); err != nil {
		t.Fatal(err)
	}
	add(t, two, 1)
	if got := two.State().Waiting; got != 2 {
		t.Errorf("%d wait", got)
	}
}

// Hundreds at once share a few syncs, while what is there is replayed: each is there once.
func TestAppendsOfManyWhileItIsReplayed(t *testing.T) {
	s := open(t, t.TempDir(), 0)
	inner := memory.NewRecords(memory.Options{})
	var wg sync.WaitGroup
	for i := range 400 {
		wg.Go(func() {
			if err := s.Append(t.Context(), entryOf(i)); err != nil {
				t.Error(err)
			}
		})
	}
	for range 20 {
		if err := s.Replay(t.Context(), inner); err != nil {
			t.Error(err)
		}
	}
	wg.Wait()
	if err := s.Replay(t.Context(), inner); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, p := range []string{"d:0", "d:1"} {
		l, err := inner.List(t.Context(), p, store.Query{})
		if err != nil {
			t.Fatal(err)
		}
		n += len(l)
	}
	if n != 400 || s.State().Waiting != 0 {
		t.Errorf("%d records, %+v", n, s.State())
	}
}

// A replay that has too little time goes on where it was, so that a long one ends.
func TestReplayGoesOnWhereItWas(t *testing.T) {
	s := open(t, t.TempDir(), 0)
	const n = 90
	for i := range n {
		add(t, s, i)
	}
	calls, inner := 0, memory.NewRecords(memory.Options{})
	r := &storetest.Faulty{Records: inner, OnApply: func(string, []store.Op) storetest.Fault {
		if calls++; calls%4 == 0 { // three batches a try, of thirty
			return storetest.FailBefore
		}
		return storetest.NoFault
	}}
	tries := 0
	for ; s.Pending() && tries < 100; tries++ {
		if err := s.Replay(t.Context(), r); err != nil && !errors.Is(err, store.ErrUnavailable) {
			t.Fatal(err)
		}
	}
	if s.Pending() || tries > 11 || calls > 45 {
		t.Errorf("%d tries, %d calls; it waits: %v", tries, calls, s.Pending())
	}
	add(t, s, n) // behind a file that was emptied
	if err := s.Replay(t.Context(), inner); err != nil {
		t.Fatal(err)
	}
	total := 0
	for _, p := range []string{"d:0", "d:1"} {
		l, err := inner.List(t.Context(), p, store.Query{})
		if err != nil {
			t.Fatal(err)
		}
		total += len(l)
	}
	if total != n+1 {
		t.Errorf("%d entries, want %d", total, n+1)
	}
}

// A disk that failed once and is well again is not told for ever to be broken.
func TestABrokenSpoolIsLookedAtAgain(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "not", "there"), 0)
	blocked := filepath.Dir(s.o.Dir)
	if err := os.WriteFile(blocked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Append(t.Context(), entryOf(1)); err == nil || !s.State().Broken {
		t.Fatalf("%v, %+v", err, s.State())
	}
	records := memory.NewRecords(memory.Options{})
	if !s.Pending() || s.Replay(t.Context(), records) == nil || !s.State().Broken {
		t.Errorf("while it is broken: %+v", s.State())
	}
	if err := os.Remove(blocked); err != nil {
		t.Fatal(err)
	}
	if err := s.Replay(t.Context(), records); err != nil || s.State().Broken || s.Pending() {
		t.Errorf("when it is well again: %v, %+v", err, s.State())
	}
}
