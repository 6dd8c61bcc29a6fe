package authcore

import (
	"context"
	"sync"

	"latchkey/authcore/audit"
	"latchkey/authcore/member"
	"latchkey/authcore/session"
	"latchkey/authcore/store"
)

// A door that asks Stands before its client hears OK (Attempt.StandsFollows) need not wait for the audit record of an
// allowed attempt twice: the record is written while the upstream is dialled, and Stands waits for what is left of that.
// An allow that could not be audited, or of which nobody knows, never stands.
//
// Those that are on their way at the same time share a commit, which costs ten times what one more record in it does. So the
// more there are, the longer the first waits for others; where there are many, the processors are what all wait for.
const (
	fewAllows  = 3  // up to so many on their way a record is written at once: the disk is faster than the upstream
	manyAllows = 12 // up to so many it is written when the first is waited for, and beyond when the engine thinks fit
)

// allows are sessions between their decision and the moment when their client may hear OK.
type allows struct {
	mu      sync.Mutex
	of      map[session.ID]*allow // guarded by mu
	writing int                   // guarded by mu
	idle    chan struct{}         // closed when nothing is being written; nil: nobody waits for that; guarded by mu
}

// allow is one of them, guarded by the mu of allows. It is there until Stands has found it recorded, or the session is over.
type allow struct {
	hurry func()        // nil: not known yet
	over  bool          // err says what became of it
	err   error         // of the write
	done  chan struct{} // closed when it is over; nil: nobody waits for that
}

// enter answers whether there are few on their way.
func (l *allows) enter(id session.ID, a *allow) (few bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.of == nil {
		l.of = map[session.ID]*allow{}
	}
	l.of[id] = a
	l.writing++
	return len(l.of) <= fewAllows
}

// begun says how to hurry what is being written, and answers whether somebody waits for it.
func (l *allows) begun(a *allow, hurry func()) (waited bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a.hurry = hurry
	return a.done != nil
}

// written says what became of the record.
func (l *allows) written(a *allow, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a.over, a.err = true, err
	if a.done != nil {
		close(a.done)
	}
	if l.writing--; l.writing == 0 && l.idle != nil {
		close(l.idle)
		l.idle = nil
	}
}

// left comes after the end in the registry: else who asks in between would take a record for durable that is not.
func (l *allows) left(id session.ID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.of, id)
}

// hurried has the record of a session written soon, because Stands waits for it; nil: it is durable.
func (l *allows) hurried(id session.ID) *allow {
	l.mu.Lock()
	a := l.of[id]
	if a == nil || a.over {
		l.mu.Unlock()
		return a
	}
	if a.done == nil {
		a.done = make(chan struct{})
	}
	hurry, many := a.hurry, len(l.of) > manyAllows
	l.mu.Unlock()
	if hurry != nil && !many {
		hurry()
	}
	return a
}

// settled waits until the record of a session is durable; an error says that it is not, or that nobody knows.
func (l *allows) settled(ctx context.Context, id session.ID, a *allow) error {
	if a == nil {
		return nil
	}
	l.mu.Lock()
	done, over := a.done, a.over
	l.mu.Unlock()
	if !over {
		select {
		case <-done:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if a.err == nil && l.of[id] == a {
		delete(l.of, id)
	}
	return a.err
}

// wait waits until nothing is being written.
func (l *allows) wait() {
	l.mu.Lock()
	if l.writing > 0 && l.idle == nil {
		l.idle = make(chan struct{})
	}
	idle := l.idle
	l.mu.Unlock()
	if idle != nil {
		<-idle
	}
}

// maySoon: what else a sign-in leaves to do, it does before it goes on.
func (c *Core) maySoon(t *trial) bool {
	return t.a.StandsFollows && !t.failed && !c.o.ServeCached
}

// recordSoon is recordAllow for a door that asks Stands before its client hears OK.
func (c *Core) recordSoon(ctx context.Context, t *trial, d Decision, e audit.Entry) {
	a := &allow{}
	few := c.allows.enter(d.Session, a)
	hurry := store.ApplySoon(ctx, c.records.Direct(), member.Partition(d.Domain), []store.Op{audit.Op(e)}, func(_ int64, err error) {
		if err == nil {
			c.markUse(t, d)
		}
		c.allows.written(a, err)
	})
	if c.allows.begun(a, hurry) || few {
		hurry()
	}
}
