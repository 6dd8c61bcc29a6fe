// Package lockout slows and stops guessing: a throttle by source that never suspends, a lease that lets one account
// password be verified at a time for a name, and the settling of its result: the N-th distinct wrong password in a row
// suspends, repeats never count. It refuses to decide with anything that may be lost: counts are records.
package lockout

import (
	"cmp"
	"slices"
	"time"

	"latchkey/authcore/member"
	"latchkey/authcore/store"
)

// Failures is what is durable about wrong account passwords of one member, or of a shadow.
type Failures struct {
	Count    int       `json:"count,omitempty"`    // distinct wrong passwords in a row
	Password int64     `json:"password,omitempty"` // number of the password that they were not
	Seen     []string  `json:"seen,omitempty"`     // keyed fingerprints of those counted, newest last
	Day      []Mark    `json:"day,omitempty"`      // distinct ones of the last 24 hours from sources not known, oldest first
	Known    time.Time `json:"known,omitzero"`     // slowed members: last verification granted to known sources
	Other    time.Time `json:"other,omitzero"`     // and to all others
}

// Mark is one wrong password of the day.
type Mark struct {
	Print string `json:"p"`
	At    int64  `json:"t"` // Unix seconds
}

// Bounds of Failures.
const (
	maxSeen    = 20  // the largest N, and what is remembered without a limit
	DayLimit   = 100 // distinct wrong passwords in 24 hours over sources from which the member did not sign in before
	day        = 24 * time.Hour
	EveryKnown = time.Minute      // slowed members: one verification for sources known for 30 days
	EveryOther = 15 * time.Minute // and one for all others together
	// maxAhead is how far ahead of now a time still counts. What lies further ahead a clock wrote that was far off, and it would
	// hold the member until then. It is as long as the day: with less, nodes whose clocks are hours apart, by a wrong zone say,
	// would forget what the others counted, and who goes to them in turn could guess without an end.
	maxAhead = day
)

// Key names the Failures of a member or shadow.
func Key(d member.DomainID, id member.ID) store.Key {
	return store.Key{Partition: member.Partition(d), Name: "failures/" + string(id)}
}

// Case is what a verdict depends on beside the record.
type Case struct {
	Limit    int   // N of the policy; 0: nothing suspends
	Password int64 // number of the password that is verified; 0: none
	Known    bool  // the member signed in from this source within 30 days
	Slowed   bool  // never suspended: the last active administrator, operators
	Now      time.Time
}

// of answers f as it counts for the password at hand: a new password begins anew.
func (f Failures) of(c Case) Failures {
	if f.Password != c.Password {
		f.Count, f.Seen = 0, nil
	}
	f.Password = c.Password
	after, until := c.Now.Add(-day).Unix(), c.Now.Add(maxAhead).Unix()
	f.Day = slices.DeleteFunc(slices.Clone(f.Day), func(m Mark) bool { return m.At <= after || m.At > until })
	slices.SortStableFunc(f.Day, func(a, b Mark) int { return cmp.Compare(a.At, b.At) }) // the clocks of nodes differ
	return f
}

// May says whether a verification is granted now, and if not, when to come again. The answer's record remembers a grant
// to a slowed member and must be written before the verification.
func (f Failures) May(c Case) (next Failures, changed bool, wait time.Duration) {
	f = f.of(c)
	if !c.Known && len(f.Day) >= DayLimit {
		return f, false, max(time.Second, time.Unix(f.Day[0].At, 0).Add(day).Sub(c.Now))
	}
	if !c.Slowed || c.Limit == 0 || f.Count < c.Limit {
		return f, false, 0
	}
	last, every := &f.Other, EveryOther
	if c.Known {
		last, every = &f.Known, EveryKnown
	}
	if wait := last.Add(every).Sub(c.Now); wait > 0 && wait <= every+maxAhead {
		return f, false, wait
	}
	*last = c.Now.UTC()
	return f, true, 0
}

// Wrong settles a wrong password with this fingerprint. suspend says that it was the N-th.
func (f Failures) Wrong(print string, c Case) (next Failures, counted, suspend bool) {
	f = f.of(c)
	if !c.Known && !slices.ContainsFunc(f.Day, func(m Mark) bool { return m.Print == print }) && len(f.Day) < DayLimit {
		f.Day = append(f.Day, Mark{Print: print, At: c.Now.Unix()})
	}
	if slices.Contains(f.Seen, print) {
		return f, false, false
	}
	f.Count++
	keep := maxSeen
	if c.Limit > 0 {
		keep = c.Limit
	}
	f.Seen = append(slices.Clone(f.Seen), print)
	f.Seen = f.Seen[max(0, len(f.Seen)-keep):]
	return f, true, c.Limit > 0 && f.Count >= c.Limit && !c.Slowed
}

// Right settles a right password: the count begins anew, the day's does not. changed is false when there is nothing to
// write.
func (f Failures) Right(c Case) (next Failures, changed bool) {
	changed = f.Count > 0 || len(f.Seen) > 0
	f = f.of(c)
	f.Count, f.Seen, f.Known, f.Other = 0, nil, time.Time{}, time.Time{}
	return f, changed
}
