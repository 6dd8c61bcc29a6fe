package otp

import (
	"context"
	"crypto/rand"
	"fmt"
	mathrand "math/rand/v2"
	"strconv"
	"strings"
	"time"

	"latchkey/authcore/store"
)

// Limits bound how many codes leave the house in an hour, whoever asks. They cost money and annoy people; guessing is
// bounded by the day of each member. The zero value of a field is its default.
type Limits struct {
	Source  int // for one source (an IPv4 address, an IPv6 /64); default 30: an office behind one address at nine o'clock
	Address int // to one number or e-mail address, whoever asks; default 5: more is a nuisance, not a sign-in
	Prefix  int // to the numbers of one country, the aim of those who earn by expensive numbers; default 300
	All     int // out of the whole installation, by each channel; default 1000: 30 000 members with sessions of 30 days
}

// Defaults and bounds of Limits.
const (
	DefaultSource  = 30
	DefaultAddress = 5
	DefaultPrefix  = 300
	DefaultAll     = 1000
	MaxLimit       = 1_000_000
)

const anHour = time.Hour

// exact is the largest count that is kept one by one; of more every n-th is kept.
const exact = store.MaxListLimit

// Throttle keeps Limits, in what may be lost.
type Throttle struct {
	Ephemeral store.Ephemeral
	Now       func() time.Time
	Limits    Limits
}

// Going is a code on its way, as far as it is throttled.
type Going struct {
	Ticket  Ticket
	Source  string
	To      string // fingerprint of where it goes; that of a shadow when it goes nowhere
	Country string // calling code of a number, or the fingerprint of a shadow; of an e-mail "email"
	Channel string
}

// Go counts a code against every limit, or against none: wait above zero refuses. taken gives the counts back when the
// code did not leave.
func (t *Throttle) Go(ctx context.Context, g Going) (taken Taken, wait time.Duration, err error) {
	l := t.Limits
	taken = Taken{throttle: t}
	for _, w := range []window{
		{g.Ticket.key("resend"), 1, ResendAfter},
		{sendKey("source/" + g.Source), orDefault(l.Source, DefaultSource), anHour},
		{sendKey("to/" + g.To), orDefault(l.Address, DefaultAddress), anHour},
		{sendKey("prefix/" + g.Country), t.prefixLimit(g), anHour},
		{sendKey("all/" + g.Channel), orDefault(l.All, DefaultAll), anHour},
	} {
		wait, err := t.take(ctx, w, &taken)
		if err != nil || wait > 0 {
			return Taken{}, wait, orFirst(err, taken.Back(ctx))
		}
	}
	return taken, 0, nil
}

// prefixLimit: e-mail has no prefix that costs more than another; it takes the same steps.
func (t *Throttle) prefixLimit(g Going) int {
	if g.Country == NoCountry {
		return MaxLimit
	}
	return orDefault(t.Limits.Prefix, DefaultPrefix)
}

// NoCountry is the Country of an e-mail address.
const NoCountry = "email"

func sendKey(name string) store.Key { return store.Key{Partition: "code-throttle", Name: name} }

func orDefault(n, d int) int {
	if n == 0 {
		return d
	}
	return min(n, MaxLimit)
}

func orFirst(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// window is one limit: so many in so much time.
type window struct {
	key   store.Key
	limit int
	of    time.Duration
}

// take counts one more in w. A limit above exact is kept by every n-th, chosen at random: 3 in 100 more or less.
func (t *Throttle) take(ctx context.Context, w window, taken *Taken) (wait time.Duration, err error) {
	every := (w.limit + exact - 1) / exact
	limit := w.limit / every
	now := t.Now()
	name := strconv.FormatInt(now.UnixMilli(), 16) + "-" + rand.Text()[:10]
	n, err := t.Ephemeral.Add(ctx, w.key, name, w.of)
	if err != nil {
		return 0, fmt.Errorf("count in throttle: %w", err)
	}
	if n <= int64(limit) && mathrand.IntN(every) == 0 {
		taken.counts = append(taken.counts, count{w.key, name})
		return 0, nil
	}
	if err := t.Ephemeral.Remove(ctx, w.key, name); err != nil || n <= int64(limit) {
		return 0, err
	}
	return t.wait(ctx, w, limit, now)
}

// wait is how long until the oldest of the last limit ones is out of the window.
func (t *Throttle) wait(ctx context.Context, w window, limit int, now time.Time) (time.Duration, error) {
	l, err := t.Ephemeral.Members(ctx, w.key, w.of, limit)
	if err != nil {
		return 0, fmt.Errorf("read throttle: %w", err)
	}
	if len(l) < limit {
		return time.Second, nil // those that raced us took theirs back
	}
	ms, _, _ := strings.Cut(l[len(l)-1], "-")
	at, err := strconv.ParseInt(ms, 16, 64)
	if err != nil {
		return 0, fmt.Errorf("read throttle: %w", err)
	}
	return max(time.Second, time.UnixMilli(at).Add(w.of).Sub(now)), nil
}

// Taken is what a code took of the limits.
type Taken struct {
	throttle *Throttle
	counts   []count
}

type count struct {
	key  store.Key
	name string
}

// Back gives it back.
func (t Taken) Back(ctx context.Context) error {
	for _, c := range t.counts {
		if err := t.throttle.Ephemeral.Remove(ctx, c.key, c.name); err != nil {
			return fmt.Errorf("give back to throttle: %w", err)
		}
	}
	return nil
}
