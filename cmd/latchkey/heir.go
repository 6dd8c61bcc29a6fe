package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"latchkey/authcore"
	"latchkey/authcore/session"
	"latchkey/proxy"
)

// The old process's side of a hand-over.

// heir is the process that takes over.
type heir struct {
	conversation
	pid int
}

// handOver answers a new process. One at a time is listened to.
func (s *service) handOver(w http.ResponseWriter, r *http.Request) {
	if !s.h.handing.TryLock() {
		http.Error(w, "another process is taking over", http.StatusConflict)
		return
	}
	defer s.h.handing.Unlock()
	x, err := hijack(w)
	if err != nil {
		s.h.log.Error("hand-over", "error", err)
		return
	}
	defer x.close()
	log := s.h.log.With("pid", x.pid)
	log.Info("a new process asks for the listening sockets")
	s.h.renewal.asked.Store(true)
	if err := s.offer(r.Context(), x); err != nil {
		log.Error("the new process is not ready: this one serves on", "error", err)
		_ = x.say(note{Say: sayFailed, Error: err.Error()}) // it may be gone
		return
	}
	log.Info("the new process is ready")
	done := make(chan struct{})
	select {
	case s.heirs <- bequest{x, done}:
		<-done
	case <-r.Context().Done(): // a stop came first
	}
}

// bequest is an heir that is ready; done is closed when the hand-over is over, one way or the other.
type bequest struct {
	*heir
	done chan struct{}
}

func hijack(w http.ResponseWriter) (*heir, error) {
	c, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, err
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		return nil, errors.Join(fmt.Errorf("a hand-over over %T", c), c.Close())
	}
	cred, err := peerOf(u)
	if err != nil {
		return nil, errors.Join(err, u.Close())
	}
	if _, err := u.Write([]byte("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: latchkey\r\n\r\n")); err != nil {
		return nil, errors.Join(err, u.Close())
	}
	return &heir{conversation{c: u, r: bufio.NewReaderSize(rw.Reader, maxNote)}, int(cred.Pid)}, nil
}

// offer shows the sockets and waits until the new process could serve at them.
func (s *service) offer(ctx context.Context, x *heir) error {
	if _, err := x.want(sayHello); err != nil {
		return err
	}
	used, _, err := authcore.ReadUsedKeys(ctx, s.h.db)
	if err != nil {
		return err
	}
	n := note{Say: sayOffer, Keys: used.IDs}
	var fds []int
	defer func() { closeAll(fds) }()
	for _, l := range places(s.h.first) {
		fd, err := descriptor(s.socks[l.Name])
		if err != nil {
			return fmt.Errorf("listener %s: %w", l.Name, err)
		}
		fds = append(fds, fd)
		n.Sockets = append(n.Sockets, handedOver(l.Name, l.Address))
	}
	if len(fds) > maxSockets {
		return fmt.Errorf("%d listeners are more than can be handed over", len(fds))
	}
	if err := x.pass(fds); err != nil {
		return fmt.Errorf("pass the sockets: %w", err)
	}
	if err := x.say(n); err != nil {
		return err
	}
	_, err = x.want(sayReady)
	return err
}

func closeAll(fds []int) {
	for _, fd := range fds {
		_ = unix.Close(fd)
	}
}

// end ends an heir that has been silent for as long as it may be. It hangs, perhaps with the store in its hand.
func (x *heir) end(err error) {
	if errors.Is(err, os.ErrDeadlineExceeded) && x.pid > 1 { // 0 is the pid of one whom this process cannot see
		_ = unix.Kill(x.pid, unix.SIGKILL) // its end of the socket is open, so that it is this one
	}
}

// desk is where the doors ask: the core, until the store is another process's. Then nobody signs in here any more, no session
// stands that is asked about, and the heir is told of ends.
type desk struct {
	proxy.Authenticator
	heir atomic.Pointer[heir]
}

var errHandedOver = errors.New("another process has taken over")

func (d *desk) Authenticate(ctx context.Context, a authcore.Attempt) (authcore.Decision, error) {
	if d.heir.Load() != nil {
		return authcore.Decision{}, errHandedOver
	}
	return d.Authenticator.Authenticate(ctx, a)
}

func (d *desk) Stands(ctx context.Context, s authcore.Standing) (bool, error) {
	if d.heir.Load() != nil {
		return false, nil
	}
	return d.Authenticator.Stands(ctx, s)
}

func (d *desk) Ended(ctx context.Context, id session.ID, e authcore.End) {
	if x := d.heir.Load(); x != nil {
		_ = x.say(note{Say: sayEnded, Session: id, End: &e}) // gone: it knows nothing of the session
		return
	}
	d.Authenticator.Ended(ctx, id, e)
}
