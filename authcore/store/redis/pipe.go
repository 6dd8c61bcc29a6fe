package redis

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"latchkey/authcore/store"
)

// Calls of many goroutines share pipelines, as batches share a commit of the embedded engine: a lane's workers take the
// callers that wait and send their commands together. Nobody waits for company. Reads have a lane of their own, for
// they need not wait for an fsync.
const (
	laneWorkers  = 2 // pipelines of a lane under way: while one is answered the next is gathered
	ackLimit     = time.Second
	firstPause   = 5 * time.Millisecond // before a repeat; doubles up to the longest
	longestPause = 100 * time.Millisecond
)

// do sends the commands of one call to the server that keeps the group, and answers when each of them has a reply: its
// value, goredis.Nil or a WRONGTYPE, which the caller reads from the command. Anything else is store.ErrUnavailable or
// the context's error. Behind writes it waits until the replicas have acknowledged. Commands may be sent twice.
func (db *DB) do(ctx context.Context, group int, write bool, cmds ...goredis.Cmder) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	before := db.router.breaker(group, write)
	if err := before.allow(); err != nil {
		return err
	}
	ctx, until, own := untilWhen(ctx, db.options.limits.call)
	err, end := db.try(ctx, until, group, write, cmds), answered
	switch over := err != nil && !time.Now().Before(until); {
	case err == nil:
	case ctx.Err() != nil:
		err, end = fmt.Errorf("redis, perhaps done: %w", ctx.Err()), deserted
	case over && own:
		err, end = fmt.Errorf("redis, perhaps done: %w", context.DeadlineExceeded), deserted
	case over:
		end = unanswered
	}
	before.done(end, err)
	return err
}

// untilWhen answers when a call ends that begins now, and whether that is its caller's own limit, which tells nothing of
// the server. ctx is what is beneath that limit, so that no call has a timer but its request's.
func untilWhen(ctx context.Context, limit time.Duration) (beneath context.Context, until time.Time, own bool) {
	until = time.Now().Add(limit)
	beneath, theirs := store.Until(ctx)
	if theirs.IsZero() || theirs.After(until) {
		return beneath, until, false
	}
	return beneath, theirs, true
}

// doSoon sends one write with the next pipeline, and tells done what became of it. Nothing is mended or repeated, and
// what went wrong tells nothing of the server: those who wait do.
func (db *DB) doSoon(group int, cmd goredis.Cmder, done func(error)) {
	err := db.watch.answering(group, true)
	s := db.router.owner(group)
	if err == nil && s == nil {
		err = errNoOwner
	}
	if err == nil {
		err = s.writes.allow()
	}
	if err != nil {
		done(unavailable(err))
		return
	}
	cmds := []goredis.Cmder{cmd}
	after := func(err error) {
		if err = cmp.Or(because(cmds, err), failure(cmd)); err != nil {
			s.writes.done(deserted, nil)
			done(unavailable(err))
			return
		}
		s.writes.done(answered, nil)
		done(nil)
	}
	if err := s.writes.put(&request{cmds: cmds, size: size(cmds), after: after}); err != nil {
		after(err)
	}
}

// try repeats until every command has its reply, ctx ends, it is until, or repeating cannot help.
func (db *DB) try(ctx context.Context, until time.Time, group int, write bool, cmds []goredis.Cmder) error {
	cmds, err := db.sendOnce(ctx, until, group, write, cmds)
	if err == nil {
		return nil
	}
	ctx, cancel := context.WithDeadline(ctx, until) // only now, for a context with a time of its own costs more than a command
	defer cancel()
	for pause := firstPause; ; {
		wait, again := db.mend(ctx, group, cmds, err)
		if !again {
			return unavailable(err)
		}
		if wait {
			if !sleep(ctx, pause/2+rand.N(pause)) {
				return unavailable(err)
			}
			pause = min(2*pause, longestPause)
		}
		if cmds, err = db.sendOnce(ctx, until, group, write, cmds); err == nil {
			return nil
		}
	}
}

// sendOnce answers the commands that have no reply yet, and why.
func (db *DB) sendOnce(ctx context.Context, until time.Time, group int, write bool, cmds []goredis.Cmder) ([]goredis.Cmder, error) {
	if err := db.watch.answering(group, write); err != nil {
		return cmds, err
	}
	err := errNoOwner
	if s := db.router.owner(group); s != nil {
		err = s.lane(write).send(ctx, until, cmds)
	}
	return db.follow(ctx, write, cmds, err)
}

var (
	errNoOwner         = errors.New("no node of the cluster keeps the slot")
	errGone            = errors.New("the node keeps no slot any more")
	errNotSent         = errors.New("the command was not sent")
	errNotAcknowledged = errors.New("too few replicas acknowledged the write")
)

// mend prepares a repeat after err, the first of cmds': at once or after a pause.
func (db *DB) mend(ctx context.Context, group int, cmds []goredis.Cmder, err error) (wait, again bool) {
	if errors.Is(err, ErrRolledBack) || errors.Is(err, errClosed) || errors.Is(err, errNotAcknowledged) || ctx.Err() != nil {
		return false, false
	}
	if errors.Is(err, errNotYet) {
		return true, true
	}
	if errors.Is(err, errRefused) {
		return false, false
	}
	if addr, is := goredis.IsMovedError(err); is {
		db.router.moved(group, addr)
		return false, true
	}
	switch {
	case strings.HasPrefix(err.Error(), "NOSCRIPT"):
		sendSources(cmds)
		return false, true
	case !isReply(err), goredis.IsClusterDownError(err), goredis.IsReadOnlyError(err):
		_ = db.router.refresh(ctx) // the repeat tells whether that helped
		return true, true
	}
	return true, goredis.IsLoadingError(err) || goredis.IsTryAgainError(err) || goredis.IsMasterDownError(err) || isMoving(err)
}

// isMoving: a script met a key whose slot is on its way to another node. Scripts read all they may write before they
// write, so that nothing was written.
func isMoving(err error) bool { return strings.Contains(err.Error(), "non local key") }

// follow passes over the commands that have their replies, and takes one that is asked for elsewhere (ASK, while a slot
// moves) there. It answers the rest, from the first without a reply on, and that one's error.
func (db *DB) follow(ctx context.Context, write bool, cmds []goredis.Cmder, err error) ([]goredis.Cmder, error) {
	if err != nil { // none of them is acknowledged, whatever it was answered: all are sent again
		return cmds, because(cmds, err)
	}
	for len(cmds) > 0 {
		e := failure(cmds[0])
		if addr, is := goredis.IsAskError(e); e != nil && is {
			e = db.router.shard(addr).exec(ctx, write, []goredis.Cmder{goredis.NewStatusCmd(ctx, "asking"), cmds[0]})
			if e == nil {
				e = failure(cmds[0])
			}
		}
		if e != nil {
			return cmds, e
		}
		cmds = cmds[1:]
	}
	return nil, nil
}

// because is what a server said to one of cmds, if that is why err came to be.
func because(cmds []goredis.Cmder, err error) error {
	if errors.Is(err, errNotSent) {
		for _, cmd := range cmds {
			if e := failure(cmd); e != nil {
				return e
			}
		}
	}
	return err
}

// failure answers why a command has no reply that its caller could use.
func failure(cmd goredis.Cmder) error {
	err := cmd.Err()
	if err == nil || errors.Is(err, goredis.Nil) || isWrongType(err) {
		return nil
	}
	return err
}

// isWrongType: there is something else under a key of ours.
func isWrongType(err error) bool { return err != nil && strings.HasPrefix(err.Error(), "WRONGTYPE") }

// isReply tells what the server said from what happened on the way.
func isReply(err error) bool {
	var e goredis.Error
	return errors.As(err, &e)
}

// size answers how many bytes the arguments have, and large answers may have, about.
func size(cmds []goredis.Cmder) int {
	n := 0
	for _, cmd := range cmds {
		if c, is := cmd.(*scriptCall); is {
			n += c.script.answers
		}
		for _, arg := range cmd.Args() {
			switch a := arg.(type) {
			case string:
				n += len(a)
			case *string:
				n += len(*a)
			case *word:
				n += len(*a)
			case []byte:
				n += len(a)
			}
		}
	}
	return n
}

// reads counts the commands that each answer a value: of unknown size, up to a megabyte.
func reads(cmds []goredis.Cmder) int {
	n := 0
	for _, cmd := range cmds {
		if _, is := cmd.(*goredis.StringCmd); is {
			n++
		}
	}
	return n
}

// work serves a lane until the store closes or the shard is gone; what it has taken it answers.
func (s *shard) work(l *lane, write bool) {
	var taken []*request
	var cmds []goredis.Cmder
	for {
		select {
		case <-l.wake:
		case <-s.db.closing:
			s.rest(l, errClosed)
			return
		case <-s.gone:
			s.rest(l, errGone)
			return
		}
		runtime.Gosched() // those whom the last pipeline woke get in line
		if taken = l.take(taken[:0]); len(taken) == 0 {
			continue
		}
		for _, req := range taken {
			cmds = append(cmds, req.cmds...)
		}
		err := s.pipeline(write, cmds)
		l.learn(cmds)
		for _, req := range taken {
			req.end(err)
		}
		clear(taken)
		clear(cmds)
		cmds = cmds[:0]
	}
}

func (s *shard) pipeline(write bool, cmds []goredis.Cmder) error {
	ctx, cancel := context.WithTimeout(context.Background(), s.db.options.limits.call)
	defer cancel()
	return s.exec(ctx, write, cmds)
}

// exec sends cmds on one connection. Its error says that the writes were not acknowledged; what became of each command
// is in the command.
func (s *shard) exec(ctx context.Context, write bool, cmds []goredis.Cmder) error {
	pipe := s.client.Pipeline()
	for _, cmd := range cmds {
		cmd.SetErr(errNotSent)
	}
	_ = pipe.BatchProcess(ctx, cmds...) // only queues
	ack := s.db.watch.acknowledgement(ackLimit)
	var wait *goredis.Cmd
	if write {
		wait = ack.command(ctx)
	}
	if wait != nil {
		wait.SetErr(errNotSent)
		_ = pipe.Process(ctx, wait)
	}
	if _, err := pipe.Exec(ctx); err != nil {
		tell(cmds, err)
	}
	if wait == nil {
		return nil
	}
	if err := wait.Err(); err != nil {
		return fmt.Errorf("wait for replicas: %w", err)
	}
	if err := ack.enough(wait); err != nil {
		return fmt.Errorf("%w: %w", errNotAcknowledged, err)
	}
	return nil
}

// tell gives err to the commands that were not sent: where a server refuses a new connection (a wrong password, LOADING),
// the client leaves them as if they had been answered with nothing.
func tell(cmds []goredis.Cmder, err error) {
	for _, cmd := range cmds {
		if cmd.Err() == errNotSent {
			cmd.SetErr(err)
		}
	}
}

// sleep answers whether ctx still holds after d.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// unavailable says why in words that hold no value: a server repeats arguments in some of its errors.
func unavailable(err error) error {
	if errors.Is(err, store.ErrUnavailable) {
		return err
	}
	return fmt.Errorf("%w: redis: %s", store.ErrUnavailable, plain(err))
}

// plain is err without what a server may have repeated of a command.
func plain(err error) string {
	if !isReply(err) {
		return err.Error()
	}
	code, _, _ := strings.Cut(err.Error(), " ")
	if why, known := codes[code]; known {
		return code + ": " + why
	}
	return "the server answered " + code
}

// codes are the answers that an operator can do something about.
var codes = map[string]string{
	"NOAUTH":      "the server asks for a password",
	"WRONGPASS":   "the user or the password is not accepted",
	"NOPERM":      "the user may not do this: see the ACL in the manual",
	"OOM":         "the server has no memory left (maxmemory)",
	"MISCONF":     "the server cannot save to its disk",
	"READONLY":    "the server is a replica",
	"NOREPLICAS":  "too few replicas are connected (min-replicas-to-write)",
	"LOADING":     "the server is loading its data",
	"CLUSTERDOWN": "the cluster is down",
	"MASTERDOWN":  "the link to the master is down",
	"TRYAGAIN":    "a slot is on its way to another node",
	"BUSY":        "the server runs a slow script",
}
