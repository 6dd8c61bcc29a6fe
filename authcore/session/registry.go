package session

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"latchkey/authcore/member"
)

// Door is a live session at a door, as the API lists it.
type Door struct {
	ID             ID              `json:"id"`
	Domain         member.DomainID `json:"-"`
	Member         member.ID       `json:"-"`
	Credential     string          `json:"credential"` // id of the app password, or "account"
	CredentialName string          `json:"credential_name,omitempty"`
	Door           string          `json:"door"`
	From           string          `json:"from"` // the client's address
	Agent          string          `json:"agent,omitempty"`
	Since          time.Time       `json:"since"`
	Until          time.Time       `json:"until,omitzero"` // the credential's expiry
	Epochs         member.Epochs   `json:"-"`
	Share          string          `json:"-"`              // DAV: what makes requests one session; empty: every connection its own
	Node           string          `json:"node,omitempty"` // of a fleet: the name of the node that has it
	Seat           string          `json:"-"`              // of a fleet: SeatOf it, where it was made here
}

// ErrTooMany: the member has as many sessions at this door as he may.
var ErrTooMany = errors.New("too many sessions of this member at this door")

// ErrEnded: the session was over before it was confirmed.
var ErrEnded = errors.New("the session ended as it began")

// DefaultPerDoor is how many sessions a member may have at one door: several programs with several connections each.
const DefaultPerDoor = 20

// Idle is after how long without a request a shared (DAV) session ends.
const Idle = 15 * time.Minute

// Doors is the registry of the live door sessions of a node.
type Doors struct {
	limit int
	now   func() time.Time
	born  time.Time

	mu       sync.Mutex
	sessions map[ID]*live     // guarded by mu
	of       map[place]queue  // guarded by mu
	shared   map[string]*live // by Share; guarded by mu
	onRoom   func(Door)       // called without mu for a session that made room
}

// NewDoors makes a registry. limit 0 is DefaultPerDoor. madeRoom is told of each idle DAV session that had to go.
func NewDoors(limit int, now func() time.Time, madeRoom func(Door)) *Doors {
	if limit <= 0 {
		limit = DefaultPerDoor
	}
	return &Doors{limit: limit, now: now, born: now(), sessions: map[ID]*live{}, of: map[place]queue{}, shared: map[string]*live{}, onRoom: madeRoom}
}

// Shared is a standing session that requests belong to.
type Shared struct {
	ID        ID
	Epochs    member.Epochs // under which it was opened
	Confirmed bool          // nobody needs to wait for it
}

// Shared answers the standing session that requests with this Share belong to, and keeps it from idling.
func (r *Doors) Shared(share string) (Shared, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.shared[share]
	if share == "" || s == nil || r.idle(s) {
		return Shared{}, false
	}
	s.lastUsed = r.age()
	return Shared{ID: s.id, Epochs: s.epochs, Confirmed: s.pending == nil}, true
}

func (r *Doors) idle(d *live) bool { return d.share != "" && r.age()-d.lastUsed >= Idle }

// age is how long there has been a registry, above never.
func (r *Doors) age() time.Duration { return max(r.now().Sub(r.born), 0) + 1 }

// Open enters a session. At the limit the member's longest-idle DAV session makes room; without one it is ErrTooMany.
// For a shared session that a racing request opened first, that one is answered.
func (r *Doors) Open(d Door) (Door, error) {
	r.mu.Lock()
	gone, opened, err := r.open(d)
	r.mu.Unlock()
	if r.onRoom != nil {
		for _, g := range gone {
			r.onRoom(g)
		}
	}
	return opened, err
}

func (r *Doors) open(d Door) (gone []Door, opened Door, err error) {
	if s := r.shared[d.Share]; d.Share != "" && s != nil && !r.idle(s) {
		s.lastUsed = r.age()
		return nil, s.door(), nil
	}
	at := place{d.Member, d.Door}
	for s := range r.of[at].idling(r.idle) {
		gone = append(gone, s.door())
		r.remove(s)
	}
	if here := r.of[at]; here.n >= r.limit {
		oldest := here.longestIdle()
		if oldest == nil {
			return gone, Door{}, ErrTooMany
		}
		gone = append(gone, oldest.door())
		r.remove(oldest)
	}
	if s := r.enter(d); d.Share != "" {
		s.pending = make(chan struct{})
	}
	return gone, d, nil
}

// enter puts a session into the maps.
func (r *Doors) enter(d Door) *live {
	s := liveOf(d, r.age())
	r.sessions[s.id] = s
	q := r.of[s.place()]
	q.add(s)
	r.of[s.place()] = q
	if s.share != "" {
		r.shared[s.share] = s
	}
	return s
}

// Adopt enters a session that is there already, over the limit if need be. A shared one is nobody's to share any more.
func (r *Doors) Adopt(d Door) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sessions[d.ID] != nil {
		return
	}
	if d.Share != "" {
		d.Share = "adopted/" + string(d.ID)
	}
	r.enter(d)
}

// Confirm says that the session's beginning is recorded, so that others may share it.
func (r *Doors) Confirm(id ID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := r.sessions[id]; s != nil {
		s.settle()
	}
}

// Confirmed waits until the session is confirmed by who opened it: ErrEnded when it ended before.
func (r *Doors) Confirmed(ctx context.Context, id ID) error {
	for {
		r.mu.Lock()
		s := r.sessions[id]
		var pending chan struct{}
		if s != nil {
			pending = s.pending
		}
		r.mu.Unlock()
		if s == nil {
			return ErrEnded
		}
		if pending == nil {
			return nil
		}
		select {
		case <-pending:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (r *Doors) remove(s *live) {
	s.settle()
	delete(r.sessions, s.id)
	q := r.of[s.place()]
	if q.drop(s); q.n > 0 {
		r.of[s.place()] = q
	} else {
		delete(r.of, s.place())
	}
	if r.shared[s.share] == s {
		delete(r.shared, s.share)
	}
}

// End takes a session out; false when it was not there.
func (r *Doors) End(id ID) (Door, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.sessions[id]
	if s == nil {
		return Door{}, false
	}
	r.remove(s)
	return s.door(), true
}

// Has says whether the session is live.
func (r *Doors) Has(id ID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sessions[id] != nil
}

// List answers the live sessions of a domain, of one member when id is set, oldest first.
func (r *Doors) List(d member.DomainID, id member.ID) []Door {
	r.mu.Lock()
	defer r.mu.Unlock()
	var l []Door
	for _, s := range r.sessions {
		if s.domain == d && (id == "" || s.member == id) && !r.idle(s) {
			l = append(l, s.door())
		}
	}
	slices.SortFunc(l, func(a, b Door) int {
		if c := a.Since.Compare(b.Since); c != 0 {
			return c
		}
		if a.ID < b.ID {
			return -1
		}
		return 1
	})
	return l
}

// Limit is how many sessions a member may have at one door.
func (r *Doors) Limit() int { return r.limit }

// Tell says whether the session's seat was told longer than every ago; from now on it counts as told.
func (r *Doors) Tell(id ID, every time.Duration) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	s, now := r.sessions[id], r.age()
	if s == nil || s.untold(now) < every {
		return false
	}
	s.toldAt = now
	return true
}

// Untell has the session's seat told again.
func (r *Doors) Untell(id ID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := r.sessions[id]; s != nil {
		s.toldAt = never
	}
}

// Told answers the sessions whose seats were told longer than every ago, those used longest ago first. idling says
// whether DAV sessions are among them whose seats were told: those are told at their use, so that their order says which is
// idle.
func (r *Doors) Told(every time.Duration, idling bool) []ID {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.age()
	var l []*live
	for _, s := range r.sessions {
		if s.untold(now) >= every && (idling || s.share == "" || s.toldAt == never) {
			l = append(l, s)
		}
	}
	slices.SortFunc(l, func(a, b *live) int { return cmp.Compare(a.lastUsed, b.lastUsed) })
	ids := make([]ID, len(l))
	for i, s := range l {
		ids[i] = s.id
	}
	return ids
}

// Get answers a live session.
func (r *Doors) Get(id ID) (Door, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := r.sessions[id]; s != nil {
		return s.door(), true
	}
	return Door{}, false
}

// Domains are those with live sessions.
func (r *Doors) Domains() map[member.DomainID]bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := make(map[member.DomainID]bool)
	for _, s := range r.sessions {
		l[s.domain] = true
	}
	return l
}

// Len is the number of live sessions.
func (r *Doors) Len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.sessions)
}
