package lockout

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"latchkey/authcore/member"
	"latchkey/authcore/store"
)

// Throttle slows guessing by source, and by source and member. It is kept in what may be lost, and never suspends.
type Throttle struct {
	Ephemeral store.Ephemeral
	Hold      time.Duration // the first step; the delay grows to 7.5 times of it
	Notes     *Notes        // of a fleet; nil: it is asked at each attempt
}

// The throttle counts distinct wrong secrets in a window: a stale password that a program repeats stays at the first step.
const (
	Window    = 10 * time.Minute
	partition = "throttle" // of the ephemeral keys
	// For a source alone the same steps come later: many people share an address.
	sourceShare = 5
)

// steps: from so many distinct failures on, so many times the hold (of which the first is 2 s: 2, 4, 8, 15 s).
var steps = [...]struct {
	from   int64
	factor float64
}{{0, 1}, {3, 2}, {6, 4}, {10, 7.5}}

// stop is how many distinct failures end in "throttled".
const stop = 15

// Source is the network that attempts are counted by: an IPv4 address, an IPv6 /64.
func Source(a netip.Addr) string {
	a = a.Unmap().WithZone("")
	if a.Is4() || !a.IsValid() {
		return a.String()
	}
	p, _ := a.Prefix(64) // never fails for a valid IPv6 address
	return p.String()
}

// Verdict is what the throttle says before an attempt is looked at.
type Verdict struct {
	Hold  time.Duration // a refusal leaves at start + Hold
	Retry time.Duration // above zero: throttled, come again after that
	Own   bool          // failures for this very name are counted, which Forgive would forget
}

func sourceKey(source string) store.Key { return store.Key{Partition: partition, Name: "s/" + source} }

func pairKey(source string, d member.DomainID, id string) store.Key {
	return store.Key{Partition: partition, Name: "p/" + source + "/" + string(d) + "/" + id}
}

// Look says how an attempt from source for a name (by its print) fares. known sources of the member are not slowed by
// others' failures. What is counted for a name is counted for its source too, so that one question is enough where
// nothing failed.
func (t *Throttle) Look(ctx context.Context, source string, d member.DomainID, name string, known bool) (Verdict, error) {
	clean, asked := t.Notes.clean(source)
	if clean {
		return Verdict{Hold: t.Hold}, nil
	}
	all, err := t.count(ctx, sourceKey(source), stop*sourceShare)
	if err != nil {
		return Verdict{Hold: t.Hold}, err
	}
	if all == 0 {
		t.Notes.keep(source, asked)
		return Verdict{Hold: t.Hold}, nil
	}
	pair, err := t.count(ctx, pairKey(source, d, name), stop)
	if err != nil {
		return Verdict{}, err
	}
	n := pair
	if !known {
		n = max(n, all/sourceShare)
	}
	if n >= stop {
		return Verdict{Hold: t.Hold, Retry: Window / 2}, nil
	}
	v := Verdict{Hold: t.Hold, Own: pair > 0}
	for _, s := range steps {
		if n >= s.from {
			v.Hold = time.Duration(s.factor * float64(t.Hold))
		}
	}
	return v, nil
}

func (t *Throttle) count(ctx context.Context, k store.Key, limit int) (int64, error) {
	m, err := t.Ephemeral.Members(ctx, k, Window, limit)
	if err != nil {
		return 0, fmt.Errorf("read throttle: %w", err)
	}
	return int64(len(m)), nil
}

// Failed counts one refused attempt: print names the secret that was tried for that name.
func (t *Throttle) Failed(ctx context.Context, source string, d member.DomainID, name, print string) error {
	var n int64
	var err error
	for _, k := range []store.Key{pairKey(source, d, name), sourceKey(source)} {
		if n, err = t.Ephemeral.Add(ctx, k, print, Window); err != nil {
			break
		}
	}
	t.Notes.failed(ctx, source, n)
	if err != nil {
		return fmt.Errorf("count in throttle: %w", err)
	}
	return nil
}

// Forgive forgets what the member himself failed from a source once he signed in from it.
func (t *Throttle) Forgive(ctx context.Context, source string, d member.DomainID, name string) error {
	if err := t.Ephemeral.Delete(ctx, pairKey(source, d, name)); err != nil {
		return fmt.Errorf("forgive in throttle: %w", err)
	}
	return nil
}

// Sources are those from which a member signed in within KnownFor, at most maxSources.
type Sources struct {
	Items []SourceSeen `json:"items"`
}

// SourceSeen is one source; At is renewed once a day.
type SourceSeen struct {
	Source string    `json:"s"`
	At     time.Time `json:"t"`
}

// KnownFor is how long a source stays known; maxSources bounds them: a traveller's month of networks.
const (
	KnownFor   = 30 * 24 * time.Hour
	renewAfter = 24 * time.Hour
	maxSources = 64
)

// SourcesKey names the record.
func SourcesKey(d member.DomainID, id member.ID) store.Key {
	return store.Key{Partition: member.Partition(d), Name: "sources/" + string(id)}
}

// Knows says whether the member signed in from source within KnownFor.
func (s *Sources) Knows(source string, now time.Time) bool {
	return s != nil && slices.ContainsFunc(s.Items, func(i SourceSeen) bool {
		return i.Source == source && now.Sub(i.At) < KnownFor
	})
}

// With is s after a sign-in from source; changed is false when nothing needs to be written.
func (s *Sources) With(source string, now time.Time) (next Sources, changed bool) {
	if s != nil {
		for _, i := range s.Items {
			if i.Source == source && now.Sub(i.At) < renewAfter {
				return *s, false
			}
			if i.Source != source && now.Sub(i.At) < KnownFor {
				next.Items = append(next.Items, i)
			}
		}
	}
	next.Items = append(next.Items, SourceSeen{Source: source, At: now.UTC().Truncate(time.Second)})
	next.Items = next.Items[max(0, len(next.Items)-maxSources):]
	return next, true
}
