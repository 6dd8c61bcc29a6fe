package relay

import (
	"container/heap"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	eventsAtOnce = 64
	// readSize is what is read of a socket at once: some TLS records, and about what it has ready in a bulk transfer.
	readSize = 64 << 10
	// plainSize holds what becomes of it, and of a record of which a part had come before.
	plainSize = readSize + 17<<10
)

// shards carry the parked sessions of a Relay: as many as there are processors, from the first session on.
type shards struct {
	all  []*shard
	next int
}

// shard owns a part of the sessions: one goroutine moves all their octets, so they have no locks, and its buffers serve
// them all. It waits in the runtime's poller for an epoll descriptor of its own, until its alarm.
type shard struct {
	relay *Relay
	fd    int      // of the epoll
	epoll *os.File // of the same; its read deadline is the alarm
	raw   syscall.RawConn
	done  chan struct{} // closed when run has ended

	mu   sync.Mutex
	mail []func() // what it shall do; guarded by mu
	shut bool     // no more mail is taken; guarded by mu

	// Owned by run.
	now      time.Duration // since the birth of the relay, as of the present round
	alarm    time.Duration // what the read deadline is; noAlarm, or unknownAlarm
	events   [eventsAtOnce]unix.EpollEvent
	ready    int   // how many of them wait has brought
	failed   error // how wait failed
	read     []func()
	sessions []*parked // by slot; nil: a free slot
	free     []uint32  // slots
	lives    uint32    // how many sessions there have been: their generations
	timeline timeline
	in       []byte  // what has come from a socket
	plain    []byte  // what TLS made of it
	out      []byte  // records that are gathered for a socket
	feeds    *socket // whose TLS reads what has come
	feed     []byte  // the rest of it
	feedEnd  error   // and what follows; nil: more may come
	gathers  *socket // whose TLS writes into out
	pipes    []*pipe // free ones
	lent     int     // how many others there are

	began     time.Time  // the turn of the one who has it
	leftovers []leftover // whose turn was too short
}

const (
	noAlarm      time.Duration = -1
	unknownAlarm time.Duration = -2
)

// shard answers the next one in turn; nil: sessions cannot be parked, or no more.
func (r *Relay) shard() *shard {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed != nil || r.settings.Goroutines {
		return nil
	}
	h := &r.shards
	if len(h.all) == 0 && !h.start(r) {
		return nil
	}
	h.next = (h.next + 1) % len(h.all)
	return h.all[h.next]
}

// start is false if there can be no shard now.
func (h *shards) start(r *Relay) bool {
	for range runtime.GOMAXPROCS(0) {
		s, err := newShard(r)
		if err != nil { // descriptors are short: sessions run, or fewer shards serve
			break
		}
		h.all = append(h.all, s)
		go s.run()
	}
	return len(h.all) > 0
}

// withdraw has a shard that cannot wait for octets any more carry no further session.
func (r *Relay) withdraw(s *shard) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.shards.all = slices.DeleteFunc(slices.Clone(r.shards.all), func(one *shard) bool { return one == s })
}

// stopShards ends the shards of a closed relay that has no session left.
func (r *Relay) stopShards() {
	r.mu.Lock()
	all := r.shards.all
	r.mu.Unlock()
	for _, s := range all {
		s.stop()
	}
}

func newShard(r *Relay) (*shard, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	s := &shard{relay: r, fd: fd, done: make(chan struct{}), alarm: noAlarm}
	if err := unix.SetNonblock(fd, true); err != nil { // for the runtime's poller
		_ = unix.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	s.epoll = os.NewFile(uintptr(fd), "epoll")
	if s.raw, err = s.epoll.SyscallConn(); err == nil {
		err = s.epoll.SetReadDeadline(time.Time{}) // fails without the poller
	}
	if err != nil {
		_ = s.epoll.Close()
		return nil, err
	}
	s.in, s.plain = make([]byte, readSize), make([]byte, plainSize)
	return s, nil
}

// post lets the shard do f soon. It does not wait. A shard that has stopped forgets f and answers an error.
func (s *shard) post(f func()) error {
	s.mu.Lock()
	if s.shut {
		s.mu.Unlock()
		return ErrClosed
	}
	first := len(s.mail) == 0
	s.mail = append(s.mail, f)
	s.mu.Unlock()
	if first {
		s.wake()
	}
	return nil
}

// wake ends the present or next wait.
func (s *shard) wake() { _ = s.epoll.SetReadDeadline(longAgo) } // only fails when there is nothing to wake any more

func (s *shard) stop() {
	s.mu.Lock()
	s.shut = true
	s.mu.Unlock()
	s.wake()
	<-s.done
}

func (s *shard) run() {
	defer close(s.done)
	defer s.epoll.Close()
	for s.round() {
	}
	for _, p := range s.pipes {
		p.close()
	}
}

// round does what there is to do, or waits. The alarm is set before the mail is read: who posts something after that
// wakes the wait, whose alarm is not set again before it has ended. It is false when the shard shall stop.
func (s *shard) round() bool {
	s.setAlarm()
	if some, shut := s.letters(); some || shut {
		return some
	}
	if err := s.await(); err != nil {
		s.fail(err)
		return false
	}
	s.look()
	for i := range s.events[:s.ready] {
		s.event(&s.events[i])
		s.letters() // a cut does not wait for the others, each of which may be costly
	}
	s.takeLeftovers()
	s.ring()
	return true
}

// await waits for events, or only looks for them if there is something to do.
func (s *shard) await() error {
	s.ready, s.failed = 0, nil
	if len(s.leftovers) > 0 {
		s.wait(0)
		return s.failed
	}
	err := s.raw.Read(s.wait)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		s.alarm = unknownAlarm
		return nil
	}
	return errors.Join(err, s.failed)
}

// letters does what the mail says, and answers whether there was some.
func (s *shard) letters() (some, shut bool) {
	mail, shut := s.collect()
	if len(mail) > 0 {
		s.look()
	}
	for i, f := range mail {
		f()
		mail[i] = nil
	}
	return len(mail) > 0, shut
}

// collect takes the mail.
func (s *shard) collect() (mail []func(), shut bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mail, s.read = s.read[:0], s.mail
	return s.read, s.shut
}

// wait looks for events; false: there are none.
func (s *shard) wait(uintptr) bool {
	for {
		n, err := unix.EpollWait(s.fd, s.events[:], 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			s.failed = os.NewSyscallError("epoll_wait", err)
			return true
		}
		s.ready = n
		return n > 0
	}
}

// fail ends every session: the shard cannot go on.
func (s *shard) fail(err error) {
	s.relay.withdraw(s)
	s.mu.Lock()
	s.shut = true
	late := s.mail // who has not begun ends, too
	s.mu.Unlock()
	for _, f := range late {
		f()
	}
	for _, p := range s.sessions {
		if p != nil {
			p.blame("", fmt.Errorf("wait for octets: %w", err))
			p.end()
		}
	}
}

// look reads the clock.
func (s *shard) look() { s.now = time.Since(s.relay.born) }

// setAlarm lets the next wait end when a session's time comes.
func (s *shard) setAlarm() {
	due := noAlarm
	if len(s.timeline) > 0 {
		due = s.timeline[0].due
	}
	if due == s.alarm {
		return
	}
	s.alarm = due
	at := time.Time{}
	if due != noAlarm {
		at = s.relay.born.Add(due)
	}
	_ = s.epoll.SetReadDeadline(at) // it worked when the shard was made
}

// ring looks at the sessions whose time has come.
func (s *shard) ring() {
	for len(s.timeline) > 0 && s.timeline[0].due <= s.now {
		s.timeline[0].ring()
	}
}

// event tells a session what has happened to one of its sockets. Of a session that has ended in this round, events may
// still be among those at hand, and its slot may be another's.
func (s *shard) event(e *unix.EpollEvent) {
	p := s.sessions[uint32(e.Fd)>>1]
	if p == nil || p.generation != uint32(e.Pad) {
		return
	}
	if e.Fd&1 == 0 {
		p.event(&p.client, e.Events)
	} else {
		p.event(&p.upstream, e.Events)
	}
}

// admit gives a session its slot and its place in the timeline.
func (s *shard) admit(p *parked) {
	s.lives++
	p.generation = s.lives
	if n := len(s.free); n > 0 {
		p.slot, s.free = s.free[n-1], s.free[:n-1]
	} else {
		p.slot = uint32(len(s.sessions))
		s.sessions = append(s.sessions, nil)
	}
	s.sessions[p.slot] = p
	p.due = s.now + p.next()
	heap.Push(&s.timeline, p)
}

func (s *shard) dismiss(p *parked) {
	s.sessions[p.slot] = nil
	s.free = append(s.free, p.slot)
	heap.Remove(&s.timeline, int(p.place))
}

// timeline is a heap of the sessions, by when they are to be looked at. What lets a session's time come later is noted
// when that time has come.
type timeline []*parked

func (t timeline) Len() int           { return len(t) }
func (t timeline) Less(i, j int) bool { return t[i].due < t[j].due }

func (t timeline) Swap(i, j int) {
	t[i], t[j] = t[j], t[i]
	t[i].place, t[j].place = int32(i), int32(j)
}

// Push and Pop are for package heap.
func (t *timeline) Push(p any) {
	s := p.(*parked)
	s.place = int32(len(*t))
	*t = append(*t, s)
}

func (t *timeline) Pop() any {
	last := len(*t) - 1
	p := (*t)[last]
	(*t)[last] = nil
	*t = (*t)[:last]
	return p
}
