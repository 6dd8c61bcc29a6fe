// Package spool keeps what is audited while the records cannot be reached: in a file of this node, each entry durable
// before Append answers, and puts it into the records in the same order once they are back. It refuses an entry that it
// could not keep: past its bound, on a disk that is full, or when another process has the file.
//
// An entry is put where there is none of its name, so that one that is replayed twice, after a crash in between, is there
// once. The file is emptied when all of it is in the records.
package spool

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"latchkey/authcore/store"
)

// MaxBytes bounds the file: about 100 000 sign-ins, which is 3 000 a second for a lease of 30 s.
const MaxBytes = 64 << 20

// What a disk that hangs may hold up: an Append for appendTime, and entries of maxBatch, which is some thousands of them.
const (
	appendTime = 2 * time.Second
	maxBatch   = 4 << 20
)

// maxEntry bounds one entry: an audit entry has under 2 KiB.
const maxEntry = 64 << 10

// FileName is the spool's in its folder. Damaged holds what was found behind the last good entry, if anything was.
const (
	FileName = "sign-ins.spool"
	Damaged  = "sign-ins.spool.damaged"
)

var (
	// ErrFull: there is no room for more until the records are back.
	ErrFull = errors.New("the spool is full")
	// ErrInUse: another process has the file: it is being replaced by this one, or two share a folder.
	// ErrSlow: a write takes longer than a client would wait.
	ErrSlow  = errors.New("the disk of the spool does not keep up")
	ErrInUse = errors.New("the spool is another process's")
)

// Entry is one record to be written once.
type Entry struct {
	Partition string    `json:"partition"`
	Name      string    `json:"name"` // unique: it tells whether the entry is in the records
	Value     []byte    `json:"value"`
	ExpiresAt time.Time `json:"expires,omitzero"`
}

// Op is the step that writes e unless it is there.
func (e Entry) Op() store.Op {
	return store.Op{Kind: store.Put, Name: e.Name, Value: e.Value, ExpiresAt: e.ExpiresAt}
}

// Options of a Spool.
type Options struct {
	Dir string       // 0700, this node's own
	Max int64        // bytes; 0: MaxBytes
	Log *slog.Logger // nil: nothing is logged
}

// Spool is a file of entries. It is opened when it is first needed.
type Spool struct {
	o    Options
	turn sync.Mutex // of who writes: held over I/O, and guards nothing but the file's end

	writers sync.WaitGroup // owned by Close

	replays sync.Mutex // one at a time
	put     int64      // up to where the entries of the file are in the records; guarded by replays

	mu    sync.Mutex
	file  *os.File // nil: not open; guarded by mu
	next  *batch   // that still takes entries; guarded by mu
	state State    // guarded by mu
}

// State is for those who look after the node.
type State struct {
	Waiting  int   // entries that are not in the records
	Bytes    int64 // of the file
	Max      int64
	Appended int64 // entries since the start
	Replayed int64
	Refused  int64 // that could not be kept
	Broken   bool  // the last write failed
}

// Full says that no further entry would be kept.
func (s State) Full() bool { return s.Bytes+maxEntry > s.Max }

// batch are entries that are written together.
type batch struct {
	bytes []byte
	n     int
	done  chan struct{}
	err   error // set before done is closed
}

// New makes a Spool; Close gives its file back.
func New(o Options) *Spool {
	if o.Max <= 0 {
		o.Max = MaxBytes
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Spool{o: o, state: State{Max: o.Max}}
}

// State answers the figures of now.
func (s *Spool) State() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}

// Append keeps e: it is on disk when the answer is nil, and may be after another one. Those who come while another writes
// are written together.
func (s *Spool) Append(ctx context.Context, e Entry) error {
	ctx, cancel := context.WithTimeoutCause(ctx, appendTime, ErrSlow)
	defer cancel()
	p, err := frame(e)
	if err != nil {
		return err
	}
	s.mu.Lock()
	b, leads := s.next, false
	if b == nil {
		b, leads = &batch{done: make(chan struct{})}, true
		s.next = b
	}
	if len(b.bytes)+len(p) > maxBatch {
		s.mu.Unlock()
		return ErrSlow
	}
	b.bytes, b.n = append(b.bytes, p...), b.n+1
	s.mu.Unlock()
	if leads {
		s.writers.Go(func() { s.write(b) }) // two at most: one that writes, one that waits for its turn
	}
	select {
	case <-b.done:
		return b.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// write closes the batch when it is its turn.
func (s *Spool) write(b *batch) {
	s.turn.Lock()
	defer s.turn.Unlock()
	s.mu.Lock()
	s.next = nil
	s.mu.Unlock()
	b.err = s.commit(b)
	s.mu.Lock()
	if b.err != nil {
		s.state.Refused += int64(b.n)
	} else {
		s.state.Waiting, s.state.Bytes = s.state.Waiting+b.n, s.state.Bytes+int64(len(b.bytes))
		s.state.Appended += int64(b.n)
	}
	s.state.Broken = b.err != nil && !errors.Is(b.err, ErrFull)
	s.mu.Unlock()
	close(b.done)
}

// commit writes a batch and syncs it, or leaves the file as it was. The caller has the turn.
func (s *Spool) commit(b *batch) error {
	f, err := s.open()
	if err != nil {
		return err
	}
	end := s.State().Bytes
	if end+int64(len(b.bytes)) > s.o.Max {
		return ErrFull
	}
	if _, err = f.WriteAt(b.bytes, end); err == nil {
		err = f.Sync()
	}
	if err == nil {
		return nil
	}
	// What was written may or may not be there: nobody was told, and it is taken away. A file that cannot be cut is read
	// anew before anything is written behind it.
	if cut := errors.Join(f.Truncate(end), f.Sync()); cut != nil {
		err = errors.Join(err, cut, s.shut())
	}
	return fmt.Errorf("write the spool: %w", err)
}

// open answers the file, locked and read; the caller has the turn.
func (s *Spool) open() (*os.File, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file != nil {
		return s.file, nil
	}
	if err := os.MkdirAll(s.o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("open the spool: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(s.o.Dir, FileName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the spool: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(ErrInUse, f.Close())
	}
	n, end, err := s.mend(f)
	if err == nil {
		err = syncDir(s.o.Dir) // the name must last as long as what is in it
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open the spool: %w", err), f.Close())
	}
	s.file, s.state.Waiting, s.state.Bytes = f, n, end
	return f, nil
}

// mend finds the end of the good entries and cuts off what is behind it: what a process was writing when it died. That is
// kept aside, for on a broken disk it may be more.
func (s *Spool) mend(f *os.File) (n int, end int64, err error) {
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return 0, 0, err
	}
	end, err = each(f, 0, size, func(Entry, int64) error { n++; return nil })
	if err != nil || size == end {
		return n, end, err
	}
	rest := make([]byte, size-end)
	if _, err := f.ReadAt(rest, end); err != nil {
		return 0, 0, err
	}
	aside := filepath.Join(s.o.Dir, Damaged)
	s.o.Log.Warn("the spool ends in something that is no entry: a process died while it wrote, or the disk is broken", "bytes", len(rest), "kept", aside)
	if err := os.WriteFile(aside, rest, 0o600); err != nil {
		return 0, 0, err
	}
	return n, end, errors.Join(f.Truncate(end), f.Sync())
}

// shut closes the file; it is opened anew when it is needed. The caller has the turn.
func (s *Spool) shut() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil {
		return nil
	}
	// By word and not by closing alone: a child that was forked at this moment has the descriptor until it executes its program.
	err := errors.Join(syscall.Flock(int(s.file.Fd()), syscall.LOCK_UN), s.file.Close())
	s.file = nil
	return err
}

// Close gives the file back, when what is being written is.
func (s *Spool) Close() error {
	s.writers.Wait()
	s.turn.Lock()
	defer s.turn.Unlock()
	return s.shut()
}

// An entry in the file: its length and the CRC-32C of its JSON, four bytes each, little endian, and the JSON.
const header = 8

func castagnoli(p []byte) uint32 { return crc32.Checksum(p, crc32.MakeTable(crc32.Castagnoli)) }

func frame(e Entry) ([]byte, error) {
	j, err := json.Marshal(e)
	if err != nil || len(j) > maxEntry-header {
		return nil, errors.Join(fmt.Errorf("an entry of %d bytes cannot be kept", len(j)), err)
	}
	p := binary.LittleEndian.AppendUint32(make([]byte, 0, header+len(j)), uint32(len(j)))
	return append(binary.LittleEndian.AppendUint32(p, castagnoli(j)), j...), nil
}

// each reads the good entries between two places in the file, and answers where they end.
func each(f *os.File, from, end int64, do func(e Entry, ends int64) error) (int64, error) {
	var head [header]byte
	for from+header <= end {
		if _, err := f.ReadAt(head[:], from); err != nil {
			return from, err
		}
		n := int64(binary.LittleEndian.Uint32(head[:]))
		if n > maxEntry-header || from+header+n > end {
			break
		}
		j := make([]byte, n)
		if _, err := f.ReadAt(j, from+header); err != nil {
			return from, err
		}
		var e Entry
		if castagnoli(j) != binary.LittleEndian.Uint32(head[4:]) || json.Unmarshal(j, &e) != nil {
			break
		}
		if err := do(e, from+header+n); err != nil {
			return from, err
		}
		from += header + n
	}
	return from, nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
