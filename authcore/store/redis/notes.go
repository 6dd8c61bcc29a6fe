package redis

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// The notes of a node are one small file: a first line with their CRC-32C, then JSON. It is written aside, synced and
// renamed, so that there is always a whole one. A damaged file is refused, never taken for an empty one: without it a
// rollback would go unnoticed.

const (
	notesName  = "heads"
	notesLock  = "heads.lock"
	notesMagic = "latchkey heads 1"
	notesLimit = 1 << 20 // bytes; 256 heads and as many losses are far below

	// keepEvery bounds what a crash of this node forgets, and is no more than what the disk bears.
	keepEvery = 500 * time.Millisecond
	// keepAnyway dates the notes of a node that writes nothing.
	keepAnyway = 6 * time.Hour
	// renameAfter is when a node that was away takes a new id: others remove its witnesses after pruneAfter (alive.go),
	// and it must not take that for a rollback.
	renameAfter = 20 * 24 * time.Hour
)

type notes struct {
	Saved time.Time    `json:"saved"`
	Node  string       `json:"node"`
	Store string       `json:"store,omitempty"`
	Heads map[int]head `json:"heads"`
	Lost  map[int]lost `json:"lost,omitempty"`
}

func notesSum(body []byte) uint32 { return crc32.Checksum(body, castagnoli) }

// notesFile owns the folder, by a lock that the kernel gives back when the process ends.
type notesFile struct {
	dir  string
	lock *os.File
}

func openNotes(dir string) (*notesFile, notes, error) {
	if err := prepareStateDir(dir); err != nil {
		return nil, notes{}, err
	}
	lock, err := os.OpenFile(filepath.Join(dir, notesLock), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, notes{}, fmt.Errorf("open the lock of the state folder: %w", err)
	}
	f := &notesFile{dir, lock}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		lock.Close()
		return nil, notes{}, fmt.Errorf("lock the state folder %s (another process uses it): %w", dir, err)
	}
	n, err := f.read()
	if errors.Is(err, os.ErrNotExist) {
		n = notes{Node: rand.Text()}
		err = f.write(n)
	}
	if err == nil && time.Since(n.Saved) > renameAfter && !n.Saved.IsZero() {
		n.rename()
		err = f.write(n)
	}
	if err != nil {
		lock.Close()
		return nil, notes{}, err
	}
	return f, n, nil
}

func (n *notes) rename() {
	n.Node = rand.Text()
	for g, seen := range n.Heads {
		seen.Witness = 0
		n.Heads[g] = seen
	}
}

// prepareStateDir makes the folder for its owner alone. An empty one is closed to others; one that holds files and is
// open to others is refused, for it may be something else altogether.
func prepareStateDir(dir string) error {
	if dir == "" {
		return errors.New("no state folder is set: a node must keep what it has seen")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the state folder: %w", err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("look at the state folder: %w", err)
	}
	if info.Mode().Perm()&0o077 == 0 {
		return nil
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("look into the state folder: %w", err)
	}
	if len(files) > 0 {
		return fmt.Errorf("state folder %s is open to other users (mode %04o): close it with chmod 700", dir, info.Mode().Perm())
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return fmt.Errorf("close the state folder to others: %w", err)
	}
	return nil
}

func (f *notesFile) path() string { return filepath.Join(f.dir, notesName) }

func (f *notesFile) read() (notes, error) {
	file, err := os.Open(f.path())
	if err != nil {
		return notes{}, err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, notesLimit))
	if err != nil {
		return notes{}, fmt.Errorf("read what this node has seen: %w", err)
	}
	n, err := parseNotes(text)
	if err != nil {
		return notes{}, fmt.Errorf("%s is damaged (%w): this node no longer knows what it has seen; if the other nodes are well, remove the file, and it joins as a new one", f.path(), err)
	}
	return n, nil
}

func parseNotes(text []byte) (notes, error) {
	first, body, _ := bytes.Cut(text, []byte("\n"))
	if string(first) != fmt.Sprintf("%s %08x", notesMagic, notesSum(body)) {
		return notes{}, errors.New("its checksum does not hold")
	}
	var n notes
	if err := json.Unmarshal(body, &n); err != nil {
		return notes{}, err
	}
	if n.Node == "" {
		return notes{}, errors.New("it names no node")
	}
	for g := range n.Heads {
		if g < 0 || g >= groups {
			return notes{}, fmt.Errorf("there is no group %d", g)
		}
	}
	return n, nil
}

// write dates the notes and puts them in place of those before.
func (f *notesFile) write(n notes) error {
	n.Saved = time.Now().UTC()
	return f.put(n)
}

func (f *notesFile) put(n notes) error {
	body, err := json.Marshal(n)
	if err != nil {
		return fmt.Errorf("write what this node has seen: %w", err)
	}
	text := append(fmt.Appendf(nil, "%s %08x\n", notesMagic, notesSum(body)), body...)
	if err := writeSynced(f.path()+".new", text); err != nil {
		return fmt.Errorf("write what this node has seen: %w", err)
	}
	if err := os.Rename(f.path()+".new", f.path()); err != nil {
		return fmt.Errorf("write what this node has seen: %w", err)
	}
	return syncDir(f.dir)
}

func writeSynced(path string, text []byte) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(text)
	if err == nil {
		err = file.Sync()
	}
	return errors.Join(err, file.Close())
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("open the state folder: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("sync the state folder: %w", err)
	}
	return nil
}

// close unlocks by word and not by closing alone: a child that was forked at this moment has the descriptor until it
// executes its program, and would hold the lock so long.
func (f *notesFile) close() error {
	return errors.Join(unix.Flock(int(f.lock.Fd()), unix.LOCK_UN), f.lock.Close())
}

// touched asks the keeper to write; it needs mu.
func (h *heads) touched() {
	select {
	case h.changed <- struct{}{}:
	default:
	}
}

// keep writes the notes soon after each change, at most every keepEvery.
func (h *heads) keep() {
	for {
		select {
		case <-h.changed:
			_ = h.save() // told in State, and tried again
		case <-time.After(keepAnyway):
			_ = h.save()
		case <-h.closing:
			return
		}
		select {
		case <-time.After(keepEvery):
		case <-h.closing:
			return
		}
	}
}

// save tries again while the notes cannot be kept. That closes nothing, for what this process has seen is exact in its
// memory: State tells it.
func (h *heads) save() error {
	err := h.notes.write(h.snapshot())
	h.mu.Lock()
	defer h.mu.Unlock()
	if err != nil && h.failing == nil {
		h.log.Error("what this node has seen of the store cannot be kept: a crash would forget it", "err", err)
	}
	h.failing = err
	if err != nil {
		h.touched()
	}
	return err
}

func (h *heads) snapshot() notes {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := notes{Node: h.node, Store: h.storeID, Heads: map[int]head{}, Lost: map[int]lost{}}
	for g, seen := range h.known {
		if seen != (head{}) {
			n.Heads[g] = seen
		}
	}
	for g, l := range h.lost {
		n.Lost[g] = l
	}
	return n
}

// close writes the notes once more and gives the folder free.
func (h *heads) close() error {
	close(h.closing)
	h.keeper.Wait()
	return errors.Join(h.save(), h.notes.close())
}
