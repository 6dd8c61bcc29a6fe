package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"latchkey/proxy"
)

// shift is what a run of a house is given.
type shift struct {
	socks  sockets
	elder  *elder // who served before and still drains; nil: nobody
	hangup <-chan os.Signal
	renew  <-chan os.Signal // start the process that takes over
	ready  func()           // called once every socket accepts; may be nil
	rest   *sync.WaitGroup  // of what still drains after a run; nil: run waits for it
}

// service is one run of a house. Its crews end in the order that they stand in, each when nobody needs it any more.
type service struct {
	h *house
	shift
	front   *crew // the doors and the API
	private *crew // the private listener, which tells of the drain
	back    *crew // what live sessions need: those of DAV, probes
	old     *crew // the sessions of the process before
	store   *crew // the core, revocations, the control socket
	heirs   chan bequest
	failed  chan error
}

// crew is goroutines that are told together to end.
type crew struct {
	ctx  context.Context
	stop context.CancelFunc
	wg   sync.WaitGroup
}

func newCrew(ctx context.Context) *crew {
	c := &crew{}
	c.ctx, c.stop = context.WithCancel(context.WithoutCancel(ctx)) // a signal ends nothing at once
	return c
}

func (c *crew) add(f func(ctx context.Context)) { c.wg.Go(func() { f(c.ctx) }) }

func (c *crew) end() {
	c.stop()
	c.wg.Wait()
}

// endBy lets them end by themselves until ctx does.
func (c *crew) endBy(ctx context.Context) {
	defer context.AfterFunc(ctx, c.stop)()
	c.wg.Wait()
	c.stop()
}

// run serves until ctx ends, then drains; or until another process serves at the same sockets. again: such a process failed
// after this one had given the store up, and the caller is to build the house anew. Else the sockets are closed.
func (h *house) run(ctx context.Context, w shift) (again bool, err error) {
	s := &service{h: h, shift: w, front: newCrew(ctx), private: newCrew(ctx), back: newCrew(ctx), old: newCrew(ctx), store: newCrew(ctx),
		heirs: make(chan bequest), failed: make(chan error, len(w.socks))}
	s.begin()
	if err := s.open(); err != nil {
		s.elder.failed(err)
		return false, s.leave(err)
	}
	b, err := s.attend(ctx)
	if b.heir == nil {
		return false, s.stop(err)
	}
	return s.bequeath(ctx, b)
}

// begin starts what the doors need.
func (s *service) begin() {
	h := s.h
	if s.elder != nil {
		s.old.add(h.adopt(s.elder).attend)
	}
	s.store.add(func(ctx context.Context) { h.report("core", h.core.Run(ctx)) })
	s.store.add(giveSpareBack)
	s.store.add(h.tickets.Run)
	s.store.add(func(ctx context.Context) { h.live.Watch(ctx, h.core, h.core.Revocations(ctx)) })
	s.back.add(h.door.Run)
	s.back.add(h.probe)
}

// command listens for commands and for the next process that takes over.
func (s *service) command() {
	h := s.h
	control, err := h.listenControl()
	if err != nil {
		h.log.Warn("commands cannot talk to this server", "error", err)
		return
	}
	s.store.add(func(ctx context.Context) { h.report("control socket", serveControl(ctx, h, control, s.handOver)) })
}

// open accepts at every socket.
func (s *service) open() error {
	h := s.h
	accepting, err := s.socks.copies()
	if err != nil {
		return err
	}
	if s.elder != nil {
		s.elder.serving()
	}
	s.command()
	for name, ln := range accepting {
		of := s.front
		if name == opsSocket {
			of = s.private
		}
		of.add(func(ctx context.Context) { s.accept(ctx, name, ln) })
		h.log.Info("listening", "listener", name, "address", ln.Addr().String())
	}
	h.log.Info("latchkey serves", "listeners", len(s.socks), "data", h.snapshot().cfg.Data, "pid", os.Getpid())
	if s.ready != nil {
		s.ready()
	}
	return nil
}

func (s *service) accept(ctx context.Context, name string, ln net.Listener) {
	if err := s.h.serve(ctx, name, ln); err != nil && ctx.Err() == nil {
		s.failed <- fmt.Errorf("listener %s: %w", name, err)
	}
}

// attend reloads on hang-ups until ctx ends, a listener fails or another process is ready to take over.
func (s *service) attend(ctx context.Context) (bequest, error) {
	for {
		select {
		case <-s.hangup:
			s.h.reload()
		case <-s.renew:
			s.h.renewal.start(s.h)
		case err := <-s.failed:
			return bequest{}, err
		case b := <-s.heirs:
			return b, nil
		case <-ctx.Done():
			return bequest{}, nil
		}
	}
}

// stop ends the service for good.
func (s *service) stop(err error) error {
	s.h.draining.Store(true)
	s.h.core.Draining()
	_, _ = daemon.SdNotify(false, daemon.SdNotifyStopping)
	if notice := s.h.snapshot().cfg.Limits.DrainNotice; err == nil && notice > 0 {
		s.h.log.Info("telling load balancers", "for", notice)
		pause(context.Background(), notice)
	}
	return s.leave(err)
}

// leave stops accepting, lets what is in flight finish, cuts what is left at the deadline, and closes everything.
func (s *service) leave(err error) error {
	h := s.h
	s.socks.close()
	s.front.stop()
	ctx, cancel := s.drainTime()
	defer cancel()
	h.log.Info("draining", "sessions", h.live.Len())
	s.drain(ctx)
	s.private.end()
	s.store.end()
	return errors.Join(err, h.close())
}

func (s *service) drainTime() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), s.h.snapshot().cfg.Limits.DrainTimeout)
}

// drain ends the sessions and everything that stands before them.
func (s *service) drain(ctx context.Context) {
	if err := s.h.server.Shutdown(ctx); err != nil {
		s.h.log.Warn("some sessions were cut", "error", err)
	}
	s.front.end()
	s.back.end()
	s.old.endBy(ctx)
}

// let lets the heir serve, and says whether it does.
func (s *service) let(ctx context.Context, x *heir) bool {
	defer context.AfterFunc(ctx, x.close)()
	log := s.h.log.With("pid", x.pid)
	if err := x.say(note{Say: sayReleased}); err != nil {
		log.Error("the new process is gone: this one serves on", "error", err)
		return false
	}
	if _, err := x.want(sayServing); err != nil {
		log.Error("the new process failed: this one serves on", "error", err)
		x.end(err)
		return false
	}
	log.Info("the new process serves")
	_, _ = daemon.SdNotify(false, "MAINPID="+strconv.Itoa(x.pid)) // from now on systemd watches it
	return true
}

// handGrace is what sign-ins and requests get to finish before the store is given up.
const handGrace = 2 * time.Second

// bequeath gives sockets and store to the heir. Clients that come meanwhile wait in the kernel's queue.
func (s *service) bequeath(parent context.Context, b bequest) (again bool, err error) {
	h := s.h
	h.draining.Store(true)
	ctx, cancel := s.drainTime()
	grace, late := context.WithTimeout(ctx, handGrace)
	defer late()
	s.front.stop()
	s.private.stop()
	h.server.Finish(ctx)
	h.ebb.Settled(grace)
	h.desk.heir.Store(b.heir)
	_ = h.tellSessions(b.heir) // if it is gone, let finds it out
	s.store.end()
	err = h.db.Close()
	again = err != nil || !s.let(parent, b.heir)
	if again {
		b.close()
		return s.rested(again, err, func() { defer cancel(); s.part(ctx, b) })
	}
	s.socks.close()
	defer cancel()
	s.part(ctx, b)
	return false, nil
}

// rested lets f go on beside the next run.
func (s *service) rested(again bool, err error, f func()) (bool, error) {
	if s.rest == nil {
		f()
		return again, err
	}
	s.rest.Go(f)
	return again, err
}

// part drains the sessions of a process that has no store any more. The heir says which to cut.
func (s *service) part(ctx context.Context, b bequest) {
	defer close(b.done)
	h := s.h
	h.log.Info("draining", "sessions", h.live.Len())
	watch := newCrew(ctx)
	watch.add(func(ctx context.Context) { b.hearCuts(ctx, h.live) })
	s.drain(ctx)
	s.private.end()
	watch.end()
	h.report("close", h.close())
}

func (h *house) close() error {
	h.relay.Close(proxy.ErrDrain)
	h.snapshot().pool.Close()
	return errors.Join(h.closeSpool(), h.db.Close())
}
