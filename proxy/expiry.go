package proxy

import (
	"container/heap"
	"time"
)

// expiries is a heap of the sessions whose credential ends, the next one first.
type expiries []*Entry

func (x expiries) Len() int           { return len(x) }
func (x expiries) Less(i, j int) bool { return x[i].open.Until.Before(x[j].open.Until) }
func (x expiries) Swap(i, j int) {
	x[i], x[j] = x[j], x[i]
	x[i].index, x[j].index = i, j
}

// Push is called by container/heap.
func (x *expiries) Push(v any) {
	e := v.(*Entry)
	e.index = len(*x)
	*x = append(*x, e)
}

// Pop is called by container/heap.
func (x *expiries) Pop() any {
	last := len(*x) - 1
	e := (*x)[last]
	(*x)[last] = nil
	*x = (*x)[:last]
	e.index = -1
	return e
}

// maxNap bounds how long the timer sleeps: a clock that was set forward is noticed within a minute.
const maxNap = time.Minute

// wind sets the timer to the next expiry. It needs mu.
func (l *Live) wind() {
	if l.closed || len(l.expiring) == 0 {
		return
	}
	d := min(time.Until(l.expiring[0].open.Until), maxNap)
	if l.timer == nil {
		l.timer = time.AfterFunc(d, l.expire)
		return
	}
	l.timer.Reset(d)
}

// expire cuts what has ended. It is the timer's function.
func (l *Live) expire() {
	for _, e := range l.expired(time.Now()) {
		e.Cut(ErrExpired)
	}
}

func (l *Live) expired(now time.Time) []*Entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []*Entry
	for len(l.expiring) > 0 && !l.expiring[0].open.Until.After(now) {
		found = append(found, heap.Pop(&l.expiring).(*Entry))
	}
	l.wind()
	return found
}

// Close stops the expiry of credentials. The sessions are not touched.
func (l *Live) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	if l.timer != nil {
		l.timer.Stop()
	}
}
