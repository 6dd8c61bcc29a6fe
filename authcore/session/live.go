package session

import (
	"iter"
	"math"
	"net/netip"
	"time"

	"latchkey/authcore/member"
)

// live is a Door as the registry keeps it: there may be hundreds of thousands, and one is 256 bytes and its ID. All of it is
// guarded by the mu of Doors.
type live struct {
	id         ID
	domain     member.DomainID
	member     member.ID
	credential string
	name       string
	at         string // which door
	from       netip.Addr
	agent      string
	share      string
	seat       string
	epochs     member.Epochs
	since      int64 // this and the next as instant tells
	until      int64
	lastUsed   time.Duration // this and the next by the age of the registry: a clock that is set does not matter
	toldAt     time.Duration // of a fleet: when its seat was told last, or never
	pending    chan struct{} // shared ones: closed once it is confirmed or over; nil from then on

	before, behind *live // of the same place
}

// never is the instant of the zero time, and an age that no registry has.
const never = 0

// instant is a time in microseconds since 1970: nanoseconds end in 2262, and a credential may be for longer.
func instant(t time.Time) int64 {
	if t.IsZero() {
		return never
	}
	return t.UnixMicro()
}

func timeOf(i int64) time.Time {
	if i == never {
		return time.Time{}
	}
	return time.UnixMicro(i).UTC()
}

func liveOf(d Door, age time.Duration) *live {
	from, _ := netip.ParseAddr(d.From) // without one it stays none
	return &live{id: d.ID, domain: d.Domain, member: d.Member, credential: d.Credential, name: d.CredentialName, at: d.Door, from: from, agent: d.Agent,
		share: d.Share, seat: d.Seat, epochs: d.Epochs, since: instant(d.Since), until: instant(d.Until), lastUsed: age}
}

func (s *live) door() Door {
	from := ""
	if s.from.IsValid() {
		from = s.from.String()
	}
	return Door{ID: s.id, Domain: s.domain, Member: s.member, Credential: s.credential, CredentialName: s.name, Door: s.at, From: from, Agent: s.agent,
		Share: s.share, Seat: s.seat, Epochs: s.epochs, Since: timeOf(s.since), Until: timeOf(s.until)}
}

// untold is how long ago the seat was told.
func (s *live) untold(age time.Duration) time.Duration {
	if s.toldAt == never {
		return math.MaxInt64
	}
	return age - s.toldAt
}

// settle lets those go who wait for the session.
func (s *live) settle() {
	if s.pending != nil {
		close(s.pending)
		s.pending = nil
	}
}

// place is where sessions are counted.
type place struct {
	member member.ID
	door   string
}

func (s *live) place() place { return place{s.member, s.at} }

// queue are the sessions at one place, in no order. That one comes or goes costs the same however many there are.
type queue struct {
	first     *live
	n, shared int
}

func (q *queue) add(s *live) {
	if s.behind = q.first; q.first != nil {
		q.first.before = s
	}
	q.first = s
	q.n++
	if s.share != "" {
		q.shared++
	}
}

func (q *queue) drop(s *live) {
	if s.before != nil {
		s.before.behind = s.behind
	} else {
		q.first = s.behind
	}
	if s.behind != nil {
		s.behind.before = s.before
	}
	s.before, s.behind = nil, nil
	q.n--
	if s.share != "" {
		q.shared--
	}
}

// sharing yields those that DAV requests share, and may be taken out meanwhile.
func (q queue) sharing() iter.Seq[*live] {
	return func(yield func(*live) bool) {
		if q.shared == 0 {
			return
		}
		for s := q.first; s != nil; {
			next := s.behind
			if s.share != "" && !yield(s) {
				return
			}
			s = next
		}
	}
}

func (q queue) idling(idle func(*live) bool) iter.Seq[*live] {
	return func(yield func(*live) bool) {
		for s := range q.sharing() {
			if idle(s) && !yield(s) {
				return
			}
		}
	}
}

// longestIdle answers the shared session that was used longest ago; nil: there is none.
func (q queue) longestIdle() *live {
	var oldest *live
	for s := range q.sharing() {
		if oldest == nil || s.lastUsed < oldest.lastUsed {
			oldest = s
		}
	}
	return oldest
}
