package redis

import (
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"latchkey/authcore/store"
)

// Rules of the rollback alarm. A node takes what it knows of a group (seen) before it sends a command, and compares the
// answer with that (check): answers of concurrent commands may overtake each other, and an older one is no rollback.
// Only what cannot be lost any more raises what is known: a write of this node when it was acknowledged (wrote), and
// what a round of the watch has read when a WAIT behind it was acknowledged. What has only been read may still be on
// the master alone, and to lose that in a fail-over is no rollback, for nobody was told that it was written.

// ErrRolledBack: the server holds less than this node, or another one, has seen there. Nothing is answered from the
// store until an operator has taken the leave to go on with what is there (DB.AcceptRollback).
var ErrRolledBack = fmt.Errorf("%w: it was rolled back: %w", store.ErrUnavailable, store.ErrDistrusted)

// head is where a group stands: its highest revision, the revision of the last batch that this node wrote into it (its
// witness), and how often a rollback of it was accepted (as milliseconds since 1970 of the last time).
type head struct {
	Revision    int64 `json:"r"`
	Witness     int64 `json:"w,omitempty"`
	Incarnation int64 `json:"i,omitempty"`
}

// below reports whether a group that answered h has lost something that was there when it stood at seen.
func (h head) below(seen head) bool {
	return h.Incarnation == seen.Incarnation && (h.Revision < seen.Revision || h.Witness < seen.Witness) ||
		h.Incarnation < seen.Incarnation
}

// lost is a group whose head is below what was seen of it. It stays lost until a rollback is accepted, even if others
// write past what was seen.
type lost struct {
	Seen  head      `json:"seen"`
	There head      `json:"there"`
	Since time.Time `json:"since"`
}

// heads is what this node has seen of every group.
type heads struct {
	notes   *notesFile
	atOnce  bool // no replica acknowledges: what was read is all the durability there is
	log     *slog.Logger
	now     func() time.Time
	changed chan struct{} // tells the keeper; holds one
	poke    chan struct{} // tells the watch of a loss; holds one
	closing chan struct{}
	keeper  sync.WaitGroup

	mu      sync.Mutex
	node    string       // guarded by mu, as all below
	storeID string       // empty until it was heard
	known   [groups]head // what has been seen
	lost    map[int]lost
	failing error // why the notes cannot be kept now: a crash of this node would forget what it has seen since
}

// openHeads reads the notes in dir and keeps them there until close. The folder is this node's own: a lock in it
// refuses a second process.
func openHeads(dir string, atOnce bool, log *slog.Logger) (*heads, error) {
	file, n, err := openNotes(dir)
	if err != nil {
		return nil, err
	}
	h := &heads{
		notes: file, atOnce: atOnce, log: log, now: time.Now,
		changed: make(chan struct{}, 1), poke: make(chan struct{}, 1), closing: make(chan struct{}),
		node: n.Node, storeID: n.Store, lost: map[int]lost{},
	}
	for g, seen := range n.Heads {
		h.known[g] = seen
	}
	maps.Copy(h.lost, n.Lost)
	h.keeper.Go(h.keep)
	return h, nil
}

// seen is what to hand to a script or to compare an answer with: to be taken before the command is sent.
func (h *heads) seen(group int) head {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.known[group]
}

// all are what has been seen of every group.
func (h *heads) all() [groups]head {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.known
}

// lookNow wakes the watch.
func (h *heads) lookNow() {
	select {
	case h.poke <- struct{}{}:
	default:
	}
}

// check compares what a command answered of a group with what was known before it was sent. It answers ErrRolledBack,
// and closes this node, when something is missing.
func (h *heads) check(group int, before head, revision, witness int64) error {
	there := head{revision, witness, before.Incarnation}
	h.mu.Lock()
	defer h.mu.Unlock()
	if there.below(before) {
		if h.known[group].Incarnation != before.Incarnation {
			return errAskAgain
		}
		return h.lose(group, before, there)
	}
	if h.atOnce && h.known[group].Incarnation == before.Incarnation {
		h.raise(group, head{revision, witness, before.Incarnation})
	}
	return nil
}

var errAskAgain = fmt.Errorf("%w: the rollback of this group was accepted while it was asked", store.ErrUnavailable)

// wrote raises what is known by a batch of this node that was acknowledged as asked.
func (h *heads) wrote(group int, before head, revision int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.known[group].Incarnation == before.Incarnation {
		h.raise(group, head{revision, revision, before.Incarnation})
	}
}

// looked compares and raises after a round of the watch: durable says that what was read cannot be lost any more.
// A higher incarnation is the leave to take what is there.
func (h *heads) looked(group int, before, there head, durable bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.known[group].Incarnation != before.Incarnation: // something newer is known
	case there.Incarnation > before.Incarnation:
		if durable {
			h.known[group] = there
			h.storeID = "" // an emptied store has another one: the next Open learns it
			delete(h.lost, group)
			h.touched()
		}
	case there.below(before):
		h.lose(group, before, there)
	case durable:
		h.raise(group, there)
	}
}

// raise needs mu.
func (h *heads) raise(group int, to head) {
	g := &h.known[group]
	if to.Revision <= g.Revision && to.Witness <= g.Witness {
		return
	}
	g.Revision, g.Witness = max(g.Revision, to.Revision), max(g.Witness, to.Witness)
	h.touched()
}

// lose needs mu.
func (h *heads) lose(group int, seen, there head) error {
	if _, known := h.lost[group]; !known {
		h.lost[group] = lost{seen, there, h.now().UTC()}
		h.touched()
		if len(h.lost) == 1 {
			h.log.Error("the store was rolled back: this node refuses every record until an operator decides (latchkey doctor -accept-rollback)",
				"group", group, "seen", seen.Revision, "there", there.Revision, "own_seen", seen.Witness, "own_there", there.Witness)
		}
	}
	h.lookNow()
	return fmt.Errorf("%w: group %02x stood at %d (this node's last batch %d), now at %d (%d)",
		ErrRolledBack, group, seen.Revision, seen.Witness, there.Revision, there.Witness)
}

// rolledBack answers what this node has found missing; empty: nothing.
func (h *heads) rolledBack() map[int]lost {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.lost) == 0 {
		return nil
	}
	return maps.Clone(h.lost)
}

// closed answers ErrRolledBack while something is missing. It is asked before every command.
func (h *heads) closed() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.lost) > 0 {
		return fmt.Errorf("%w: %d groups are below what this node has seen", ErrRolledBack, len(h.lost))
	}
	return nil
}

// belongs ties the notes to the store of this id, or answers the id of the other one that they are of.
func (h *heads) belongs(id string) (other string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.storeID != "" && h.storeID != id {
		return h.storeID
	}
	if h.storeID != id {
		h.storeID = id
		h.touched()
	}
	return ""
}

// adopt ties the notes to the store that is there now.
func (h *heads) adopt(id string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.storeID = id
	h.touched()
}

// store is the id of the store that this node knows, or a new one.
func (h *heads) store() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.storeID == "" {
		return randomID()
	}
	return h.storeID
}

// id is this node's, made when its folder was empty.
func (h *heads) id() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.node
}
