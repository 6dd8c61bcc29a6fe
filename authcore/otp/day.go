package otp

import (
	"cmp"
	"crypto/rand"
	"slices"
	"time"

	"latchkey/authcore/member"
	"latchkey/authcore/store"
)

// Limits of a day: of one member, over all his tickets and methods. Six digits and ten guesses a day let somebody who has
// the first factor in once in 270 years on average.
const (
	SentADay  = 10
	WrongADay = 10
	ADay      = 24 * time.Hour
	// maxAhead is how far ahead of now a mark still counts. One further ahead is of a clock that was far off, and would count
	// until then. It is as long as the day: with less, nodes whose clocks are hours apart would drop each other's marks, and who
	// goes to them in turn could guess without an end.
	maxAhead = ADay
)

// Day is what is durable about the codes of one member, or of a shadow: what was sent and what was wrong in the last 24
// hours. A try is counted as wrong before it is compared, and taken back when it was right: racing guesses never exceed.
type Day struct {
	Sent  []Mark `json:"sent,omitempty"`  // oldest first, at most SentADay
	Wrong []Mark `json:"wrong,omitempty"` // oldest first, at most WrongADay
}

// Mark is one of them.
type Mark struct {
	ID string `json:"i"`
	At int64  `json:"t"` // Unix milliseconds
}

// DayKey names the Day of a member or shadow.
func DayKey(d member.DomainID, id member.ID) store.Key {
	return store.Key{Partition: member.Partition(d), Name: "codes/" + string(id)}
}

// Send counts one more code that is sent. wait above zero refuses: come again after that.
func (y *Day) Send(now time.Time) (next Day, wait time.Duration) {
	next = y.at(now)
	if wait := full(next.Sent, SentADay, now); wait > 0 {
		return next, wait
	}
	next.Sent = append(next.Sent, mark(now))
	return next, 0
}

// Try counts one more try as wrong, under the id that it is taken back by. wait above zero refuses.
func (y *Day) Try(now time.Time) (next Day, id string, wait time.Duration) {
	next = y.at(now)
	if wait := full(next.Wrong, WrongADay, now); wait > 0 {
		return next, "", wait
	}
	m := mark(now)
	next.Wrong = append(next.Wrong, m)
	return next, m.ID, 0
}

// Right takes a try back that was right.
func (y *Day) Right(id string, now time.Time) Day {
	next := y.at(now)
	next.Wrong = slices.DeleteFunc(next.Wrong, func(m Mark) bool { return m.ID == id })
	return next
}

// Op writes the day, which is over 24 hours after the last mark.
func (y Day) Op(d member.DomainID, id member.ID, ifRevision int64, now time.Time) store.Op {
	op := member.PutOp(DayKey(d, id), y, ifRevision)
	op.ExpiresAt = now.Add(ADay)
	return op
}

// at is a copy of the day as it counts now; y may be nil.
func (y *Day) at(now time.Time) Day {
	if y == nil {
		return Day{}
	}
	return Day{Sent: young(y.Sent, now), Wrong: young(y.Wrong, now)}
}

func young(l []Mark, now time.Time) []Mark {
	after, until := now.Add(-ADay).UnixMilli(), now.Add(maxAhead).UnixMilli()
	l = slices.DeleteFunc(slices.Clone(l), func(m Mark) bool { return m.At <= after || m.At > until })
	slices.SortStableFunc(l, func(a, b Mark) int { return cmp.Compare(a.At, b.At) }) // the clocks of nodes differ
	return l
}

func full(l []Mark, limit int, now time.Time) time.Duration {
	if len(l) < limit {
		return 0
	}
	return max(time.Second, time.UnixMilli(l[len(l)-limit].At).Add(ADay).Sub(now))
}

func mark(now time.Time) Mark { return Mark{ID: rand.Text()[:8], At: now.UnixMilli()} }
