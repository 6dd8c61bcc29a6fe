package upstream

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"latchkey/authcore"
	"latchkey/proxy"
	"latchkey/proxy/wire"
)

// A sign-in spends most of its time on the way to its upstream: TCP, TLS, and the wait for the greeting. Where that server
// need not hear of the client before it greets, this can be done ahead. A warm connection is nobody's: nothing of a member
// has been said on it, and it becomes the first one's who takes it, and no other's ever.
//
// It may be stale, and no sign-in may fail for that:
//   - it is used within warmAge, long before servers hang up on who does not sign in;
//   - who takes it looks first whether it still is silent: a BYE, an end and a reset are seen without waiting;
//   - a server that vanished without a word is noticed when it does not acknowledge what it is sent, within warmPatience;
//   - and a sign-in that is hung up on before its first answer is begun again on a new connection, once (proxy.Leg.Again).

const (
	// maxWarm bounds them for one address: each holds a process or a slot of the server.
	maxWarm = 64
	// warmAge is how old one may be when it is used. Dovecot hangs up after 3 minutes without a sign-in, Postfix after 5.
	warmAge = time.Minute
	// warmPatience is how long a server may take to acknowledge what it is sent on one, in its kernel, not in its program.
	warmPatience = time.Second
	// warmGather is how long it waits for more to be taken, and leaves the processors to those sign-ins.
	warmGather = 5 * time.Millisecond
	// warmAtOnce are dialled at the same time.
	warmAtOnce = 8
	// warmLook is how often those that wait are looked at; with jitter.
	warmLook = time.Second
	// warmRetry is the pause after one that could not be made; it doubles up to warmRetryMost.
	warmRetry     = time.Second
	warmRetryMost = 30 * time.Second
)

// warm are the connections that wait at one address.
type warm struct {
	taken chan struct{} // told when there are fewer than before

	mu     sync.Mutex
	closed bool     // guarded by mu
	idle   []warmed // oldest first; guarded by mu
}

type warmed struct {
	conn *wire.Conn
	born time.Time
}

// close ends it for good: those that wait are closed, and none is taken in any more.
func (w *warm) close() {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.drop(func(warmed) bool { return true })
}

func (w *warm) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.idle)
}

// put answers false where it is too late.
func (w *warm) put(c warmed) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.closed {
		w.idle = append(w.idle, c)
	}
	return !w.closed
}

// pop answers the oldest; the zero value: there is none.
func (w *warm) pop() (c warmed) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.idle) == 0 {
		return warmed{}
	}
	c, w.idle[0] = w.idle[0], warmed{}
	w.idle = w.idle[1:]
	select {
	case w.taken <- struct{}{}:
	default: // told already
	}
	return c
}

// drop closes those that which names.
func (w *warm) drop(which func(warmed) bool) {
	w.mu.Lock()
	var gone, stay []warmed
	for _, c := range w.idle {
		if which(c) {
			gone = append(gone, c)
		} else {
			stay = append(stay, c)
		}
	}
	w.idle = stay
	w.mu.Unlock()
	for _, c := range gone {
		_ = c.conn.Close() // nothing was said
	}
}

// take answers one that is good; nil: there is none.
func (w *warm) take(now time.Time) *wire.Conn {
	for {
		c := w.pop()
		switch {
		case c.conn == nil:
			return nil
		case c.good(now):
			return c.conn
		}
		_ = c.conn.Close() // nothing was said
	}
}

// good says whether the server waits for us.
func (c warmed) good(now time.Time) bool {
	return now.Sub(c.born) < warmAge && silent(c.conn)
}

// warmed answers the addresses of an upstream at which connections shall wait.
func (p *Pool) warmed(name string) []*address {
	if s := p.servers[name]; canWarm && s.Warm > 0 {
		return s.addresses
	}
	return nil
}

// keepWarm fills up what waits at a, as long as a is well, until ctx ends or the Pool is closed. When more sign-ins come
// than wait, they dial themselves.
func (p *Pool) keepWarm(ctx context.Context, s *server, a *address) {
	defer a.warm.drop(func(warmed) bool { return true })
	retry := warmRetry
	for ctx.Err() == nil && p.life.Err() == nil {
		now := time.Now()
		a.warm.drop(func(c warmed) bool { return !c.good(now) || !a.isWell() })
		err := p.fillWarm(ctx, s, a)
		pause := jittered(warmLook)
		taken := a.warm.taken
		if err != nil { // nobody hurries it
			pause, taken = jittered(retry), nil
			retry = min(2*retry, warmRetryMost)
		} else {
			retry = warmRetry
		}
		select {
		case <-ctx.Done():
		case <-taken:
			time.Sleep(warmGather)
		case <-time.After(pause):
		}
	}
}

// fillWarm dials as many as are missing.
func (p *Pool) fillWarm(ctx context.Context, s *server, a *address) error {
	if !a.isWell() {
		return nil
	}
	var dials errgroup.Group
	dials.SetLimit(warmAtOnce)
	for range s.Warm - a.warm.count() {
		dials.Go(func() error { return p.addWarm(ctx, s, a) })
	}
	return dials.Wait()
}

func (p *Pool) addWarm(ctx context.Context, s *server, a *address) error {
	conn, err := p.dialWarm(ctx, s, a)
	if err != nil {
		return err
	}
	if !a.warm.put(warmed{conn, time.Now()}) {
		return conn.Close()
	}
	return nil
}

// dialWarm leads to the greeting, which stays to be read.
func (p *Pool) dialWarm(parent context.Context, s *server, a *address) (*wire.Conn, error) {
	ctx, cancel := context.WithTimeout(parent, p.o.SignInTimeout)
	defer cancel()
	conn, err := s.connectOne(ctx, a, 1)
	if err != nil {
		return nil, err
	}
	deadline, _ := ctx.Deadline()
	w := wire.New(conn, wire.Options{Deadline: deadline})
	stop := w.CloseOn(ctx)
	if s.TLS.Mode == TLSOn {
		err = w.ClientTLS(ctx, s.tls, p.o.SignInTimeout)
	}
	if err == nil {
		err = w.Await(greeted(s.Protocol))
	}
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		_ = w.Close()
		return nil, err
	}
	return w, nil
}

// greeted says of what has arrived whether it is a greeting that lets us begin. A refusal stays with who hears it: warm
// connections are not for a server that has no room.
func greeted(protocol string) func(ahead []byte) bool {
	begins := map[string]string{IMAP: "* OK", POP3: "+OK", SMTP: "220"}[protocol]
	return func(ahead []byte) bool {
		lines := bytes.SplitAfter(ahead, []byte("\r\n"))
		if len(lines[len(lines)-1]) > 0 {
			return false // a line has no end yet
		}
		last := lines[max(0, len(lines)-2)]
		if protocol == SMTP && len(last) > 3 && last[3] == '-' { // RFC 5321 section 4.2.1
			return false
		}
		return bytes.HasPrefix(last, []byte(begins))
	}
}

// takeWarm answers one that waits at the member's own address; never at another, for his caches are there. Nil: there is none.
func (s *server) takeWarm(ctx context.Context, order []*address, may bool) (*wire.Conn, *address) {
	if !may || len(order) == 0 {
		return nil, nil
	}
	at := order[0]
	conn := at.warm.take(time.Now())
	if conn == nil {
		return nil, nil
	}
	deadline, _ := ctx.Deadline()
	conn.SetDialogueDeadline(deadline)
	hurry(conn, warmPatience)
	return conn, at
}

// mayGoAgain lets a warm leg be replaced where its server had gone.
func (p *Pool) mayGoAgain(leg *proxy.Leg, u authcore.Upstream, c authcore.ConnInfo) {
	came := leg.Came
	leg.Came = func(err error) {
		if err == nil {
			hurry(leg.Conn, 0) // a session may be patient
		}
		came(err)
	}
	leg.Again = func(ctx context.Context, err error) (*proxy.Leg, error) {
		if !gone(leg, err) {
			return nil, err
		}
		return p.dial(ctx, u, c, false)
	}
}

// gone says that the server had gone from a connection on which it has not answered anything.
func gone(leg *proxy.Leg, err error) bool {
	if errors.Is(err, proxy.ErrBye) { // it says so
		return true
	}
	return !leg.Heard() && slices.ContainsFunc([]error{io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.EPIPE, syscall.ETIMEDOUT,
		syscall.EHOSTUNREACH, syscall.ENETUNREACH}, func(e error) bool { return errors.Is(err, e) })
}
