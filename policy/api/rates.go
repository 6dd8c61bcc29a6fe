package api

import (
	"math"
	"sync"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/lockout"
)

// Rates bound how often the API is asked, in requests a minute. They keep a program that runs wild from taking the server
// away from others, and are no defence of passwords: authcore counts and slows those itself. What a quarter of a minute
// allows may come at once. 0 is the default, a negative one no bound.
type Rates struct {
	PerMember int // sessions and API tokens of one member together
	PerSource int // an IPv4 address or an IPv6 /64, whoever signs in there: offices share one
}

// DefaultRates are far more than pages and ordinary programs ask for.
func DefaultRates() Rates { return Rates{PerMember: 1200, PerSource: 6000} }

// maxMeters bounds the table of a rate: about 10 MB. Past it somebody is forgotten, and may ask anew.
const maxMeters = 50_000

// meters count requests by somebody's name: for each, the instant at which all that he asked will have been allowed at
// the even rate (the generic cell rate algorithm, ITU-T I.371).
type meters struct {
	each  time.Duration // between two at the even rate; 0: no bound
	burst time.Duration // how far ahead of it somebody may be

	mu sync.Mutex
	at map[string]time.Time // guarded by mu
}

func newMeters(perMinute, usual int) *meters {
	if perMinute == 0 {
		perMinute = usual
	}
	if perMinute < 0 {
		return &meters{}
	}
	return &meters{each: time.Minute / time.Duration(perMinute), burst: time.Minute / 4, at: map[string]time.Time{}}
}

// take counts a request of who, or answers how long he must wait.
func (m *meters) take(who string, now time.Time) time.Duration {
	if m.each == 0 {
		return 0
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	at, known := m.at[who]
	if at.Before(now) {
		at = now
	}
	if wait := at.Add(m.each).Sub(now) - m.burst; wait > 0 {
		return wait
	}
	if !known && len(m.at) >= maxMeters {
		m.forget(now)
	}
	m.at[who] = at.Add(m.each)
	return 0
}

// forget makes room: of those who may ask as much as anybody, or else of anyone. The caller holds mu.
func (m *meters) forget(now time.Time) {
	const look = 20 // a bound on the work of one request
	n, last := 0, ""
	for who, at := range m.at {
		if last = who; !at.After(now) {
			delete(m.at, who)
			last = ""
		}
		if n++; n == look {
			break
		}
	}
	if len(m.at) >= maxMeters && last != "" {
		delete(m.at, last)
	}
}

// overSource refuses a source that asks too often; overMember a member.
func (k *Kit) overSource(c authcore.Client) *Problem {
	return tooMany(k.perSource.take(lockout.Source(c.Addr), k.now()))
}

func (k *Kit) overMember(a authcore.Actor) *Problem {
	return tooMany(k.perMember.take(string(a.Domain)+"/"+string(a.Member), k.now()))
}

func tooMany(wait time.Duration) *Problem {
	if wait <= 0 {
		return nil
	}
	p, _ := problemFrom(&authcore.Denial{Reason: authcore.DenialReason(authcore.Throttled), Detail: "You ask too often: wait as long as Retry-After says.",
		RetryAfter: time.Duration(math.Ceil(wait.Seconds())) * time.Second})
	return p
}
