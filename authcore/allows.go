package authcore

import (
	"context"
	"sync"

	"latchkey/authcore/audit"
	"latchkey/authcore/member"
	"latchkey/authcore/session"
	"latchkey/authcore/store"
)

// allows are sessions between their decision and the moment when their client may hear OK. A door that asks Stands before
// that (Attempt.StandsFollows) need not wait for the audit record of an allowed attempt twice: the record is written while the
// upstream is dialled, and Stands waits for what is left of that. An allow that could not be audited, or of which nobody
// knows, never stands.
type allows struct {
	mu      sync.Mutex
	of      map[session.ID]*allow // guarded by mu
	writing int                   // guarded by mu
	idle    chan struct{}         // closed when nothing is being written; nil: nobody waits for that; guarded by mu
}

// allow is one of them, guarded by the mu of allows. It is there until Stands has found it recorded, or the session is over.
type allow struct {
	over bool          // err says what became of it
	err  error         // of the write
	done chan struct{} // closed when it is over; nil: nobody waits for that
}

func (l *allows) enter(id session.ID, a *allow) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.of == nil {
		l.of = map[session.ID]*allow{}
	}
	l.of[id] = a
	l.writing++
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

// awaited answers what Stands will wait for; nil: it is durable.
func (l *allows) awaited(id session.ID) *allow {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.of[id]
	if a != nil && !a.over && a.done == nil {
		a.done = make(chan struct{})
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
	c.allows.enter(d.Session, a)
	store.ApplySoon(ctx, c.records.Direct(), member.Partition(d.Domain), []store.Op{audit.Op(e)}, func(_ int64, err error) {
		if err == nil {
			c.markUse(t, d)
		}
		c.allows.written(a, err)
	})
}
