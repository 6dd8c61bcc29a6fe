package lockout

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"latchkey/authcore/store"
)

// Asks bounds how often somebody who proved nothing may ask for something to be sent. It looks at the source and at what
// was typed, never at who is behind it: so being slowed tells nothing. Like the throttle it may be lost.
type Asks struct {
	Ephemeral store.Ephemeral
}

// Bounds of Asks in AskWindow: an office behind one address, and one person who mistypes.
const (
	AskWindow   = time.Hour
	asksASource = 30
	asksAName   = 5
	asksEach    = time.Minute // between two sendings of one thing
	asksIn      = "asks"      // partition of the ephemeral keys
)

// May counts one more asking from source for what print names. wait above zero: not now, come again after that.
func (a *Asks) May(ctx context.Context, source, purpose, print string) (wait time.Duration, err error) {
	if wait, err := a.take(ctx, "source/"+source, asksASource, AskWindow); wait > 0 || err != nil {
		return wait, err
	}
	return a.take(ctx, "name/"+source+"/"+purpose+"/"+print, asksAName, AskWindow)
}

// Again counts one more sending of one thing, at most one a minute.
func (a *Asks) Again(ctx context.Context, id string) (wait time.Duration, err error) {
	return a.take(ctx, "again/"+id, 1, asksEach)
}

func (a *Asks) take(ctx context.Context, name string, limit int64, window time.Duration) (time.Duration, error) {
	k, mark := store.Key{Partition: asksIn, Name: name}, rand.Text()[:12]
	n, err := a.Ephemeral.Add(ctx, k, mark, window)
	if err != nil {
		return 0, fmt.Errorf("count what is asked for: %w", err)
	}
	if n <= limit {
		return 0, nil
	}
	if err := a.Ephemeral.Remove(ctx, k, mark); err != nil {
		return 0, fmt.Errorf("count what is asked for: %w", err)
	}
	return window / 2, nil
}
