package authcore

import (
	"context"
	"errors"
	"time"

	"latchkey/authcore/audit"
	"latchkey/authcore/member"
	"latchkey/authcore/signin"
	"latchkey/authcore/store"
)

// A picture is what the audit of a domain says of its last days: sign-ins by door, refusals by reason. Nothing is written
// for it when somebody signs in. Whoever looks at it counts: a day that is over once, which is kept; a day that goes on
// each time, up to a bound. One look reads so much and no more; what is left over is counted by the next.

// PictureDays is how many days a picture shows, today among them.
const PictureDays = 30

// settledAfter is when the entries of a day change no more: the last hour's repeats are merged, and what a node kept to
// itself while the records could not be reached is in them.
const settledAfter = 6 * time.Hour

// Bounds of one look: about half a second of reading.
const (
	maxPictureKept  = 50_000 // entries of days that are over
	maxPictureToday = 20_000 // entries of each day that goes on
)

// Picture is the answer.
type Picture struct {
	Days []PictureDay // the oldest first
}

// PictureDay is one day, in UTC.
type PictureDay struct {
	Day time.Time
	audit.Tally
	Over bool // and settled; without Whole, the next look counts on
}

// Picture answers the last days of a domain.
func (c *Core) Picture(ctx context.Context, a Actor, domain string) (Picture, error) {
	t, err := c.domainFor(ctx, a, domain, readDomain)
	if err != nil {
		return Picture{}, err
	}
	v := &looking{core: c, partition: member.Partition(t.Domain.ID), left: maxPictureKept}
	p, now := Picture{Days: make([]PictureDay, PictureDays)}, c.now()
	for back := range PictureDays { // the newest first: they are looked at before the budget is spent
		d := &p.Days[PictureDays-1-back]
		d.Day = audit.Day(now).AddDate(0, 0, -back)
		if d.Over = now.Sub(d.Day.AddDate(0, 0, 1)) >= settledAfter; !d.Over {
			_, err = d.Count(ctx, c.o.Records, v.partition, d.Day, outcome, maxPictureToday)
		} else {
			err = v.kept(ctx, d)
		}
		if err != nil {
			return Picture{}, broken("count sign-ins", err)
		}
	}
	return p, v.keep(ctx)
}

// looking is one look at a picture.
type looking struct {
	core      *Core
	partition string
	left      int        // entries of days that are over that may still be read
	ops       []store.Op // what was counted; fewer than PictureDays
}

// kept answers a day that is over, and counts on where nobody has to its end.
func (v *looking) kept(ctx context.Context, d *PictureDay) error {
	key := store.Key{Partition: v.partition, Name: audit.TallyName(d.Day)}
	kept, rev, err := readDirect[audit.Tally](ctx, v.core, key)
	if err != nil {
		return err
	}
	if kept != nil {
		d.Tally = *kept
	}
	if d.Whole || v.left == 0 {
		return nil
	}
	n, err := d.Count(ctx, v.core.o.Records, v.partition, d.Day, outcome, v.left)
	v.left -= n
	v.ops = append(v.ops, expiring(member.PutOp(key, d.Tally, rev), d.Day.AddDate(0, 0, PictureDays+2)))
	return err
}

// keep writes what was counted. Who was faster counted the same entries, for what is settled does not change: then what is
// left is counted by the next look.
func (v *looking) keep(ctx context.Context) error {
	if len(v.ops) == 0 {
		return nil
	}
	if _, err := v.core.o.Records.Apply(ctx, v.partition, v.ops...); err != nil && !errors.Is(err, store.ErrConflict) {
		return broken("keep what was counted", err)
	}
	return nil
}

// outcome says what an entry is for the picture. A step on the way through a sign-in is neither let in nor refused.
func outcome(e audit.Entry) audit.Outcome {
	switch {
	case e.Action != audit.SignIn:
		return audit.NoOutcome
	case e.Reason == string(Allowed):
		return audit.AllowedSignIn
	case IsStep(e):
		return audit.NoOutcome
	}
	return audit.RefusedSignIn
}

// IsStep says that an entry is of a sign-in that went on: its reason is the step that came next.
func IsStep(e audit.Entry) bool {
	switch SignInState(e.Reason) {
	case signin.TwoStepRequired, signin.PasswordRequired, signin.EnrolmentRequired:
		return e.Door == WebDoor
	}
	return false
}
