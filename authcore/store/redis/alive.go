package redis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"latchkey/authcore/store"
)

// heartbeat is what a node writes at the anchor of each master: who it is, and which master has all that it has seen.
type heartbeat struct {
	nonce string // of the process
	has   string // replication id of the master that was found whole; left: the node has ended
	at    int64  // milliseconds, of the server
}

const left = "left"

func (b heartbeat) String() string { return fmt.Sprintf("%s %s %d", b.nonce, b.has, b.at) }

func parseHeartbeat(text string) (b heartbeat, ok bool) {
	f := strings.Fields(text)
	if len(f) != 3 {
		return b, false
	}
	at, err := strconv.ParseInt(f[2], 10, 64)
	return heartbeat{f[0], f[1], at}, err == nil
}

// say tells the other nodes that this one is alive and has found on this master all that it has seen.
func (w *watch) say(ctx context.Context, s master, has string, at int64) error {
	b := heartbeat{w.o.nonce, has, at}
	if err := w.follow(ctx, s.client.HSet(ctx, w.o.keys.of(s.anchor(), "w"), w.o.heads.id(), b.String())); err != nil {
		return fmt.Errorf("%w: tell the other nodes: %w", store.ErrUnavailable, err)
	}
	w.mu.Lock()
	w.said[s.anchor()] = at
	w.mu.Unlock()
	return nil
}

// A node that was not heard of for pruneAfter, by the server's clock, is taken for removed. A clock that was put right may
// have jumped by years: what decides is that this process has seen it silent for pruneWatch too.
const (
	pruneAfter = 30 * 24 * time.Hour
	pruneWatch = time.Hour
)

// silence is a heartbeat that does not change.
type silence struct {
	at    int64
	since time.Time // by this process's clock
}

// isGone reports whether a node's witnesses may be removed.
func (w *watch) isGone(s master, got *sight, id string, b heartbeat) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	key := fmt.Sprint(s.anchor(), " ", id)
	if got.at-b.at < pruneAfter.Milliseconds() || id == w.o.heads.id() {
		delete(w.silent, key)
		return false
	}
	if w.silent[key].at != b.at || w.silent[key].since.IsZero() {
		w.silent[key] = silence{b.at, w.now()}
	}
	return w.now().Sub(w.silent[key].since) >= pruneWatch
}

// prune removes the witnesses of nodes that are no more. Any node does it.
func (w *watch) prune(ctx context.Context, s master, got *sight) error {
	for id, b := range got.nodes {
		if !w.isGone(s, got, id, b) {
			continue
		}
		p := s.client.Pipeline()
		for _, g := range slices.Backward(s.groups) {
			p.HDel(ctx, w.o.keys.of(g, "h"), "n:"+id)
		}
		p.HDel(ctx, w.o.keys.of(s.anchor(), "w"), id)
		if _, err := p.Exec(ctx); err != nil {
			return fmt.Errorf("%w: remove the witnesses of a node that is gone: %w", store.ErrUnavailable, err)
		}
	}
	return nil
}

var errTwin = errors.New("another process writes under this node's id: its state folder was copied")

// isTwin reports whether another process has written our heartbeat since we did. A promoted replica may have one of an
// earlier process of this node: that one is older.
func (w *watch) isTwin(s master, got *sight) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	b, there := got.nodes[w.o.heads.id()]
	if said, before := w.said[s.anchor()]; before && there && b.nonce != w.o.nonce && b.at > said && !w.twin {
		w.twin = true
		w.o.log.Error("this node stops answering", "err", errTwin)
	}
	return w.twin
}

// refuseTwin looks whether a process with a copy of our folder is alive: its heartbeat goes on.
func (w *watch) refuseTwin(ctx context.Context) error {
	first, err := w.ownHeartbeats(ctx)
	if err != nil || len(first) == 0 {
		return err
	}
	select {
	case <-time.After(2*lookEvery + lookEvery/2):
	case <-ctx.Done():
		return ctx.Err()
	}
	second, err := w.ownHeartbeats(ctx)
	if err != nil {
		return err
	}
	for key, b := range second {
		if old, ok := first[key]; ok && b.at > old.at {
			return errTwin
		}
	}
	return nil
}

// ownHeartbeats are those under our id that are not older than a crash a moment ago would leave.
func (w *watch) ownHeartbeats(ctx context.Context) (map[string]heartbeat, error) {
	shards, err := w.masters(ctx)
	if err != nil {
		return nil, err
	}
	l := map[string]heartbeat{}
	for _, s := range shards {
		key := w.o.keys.of(s.anchor(), "w")
		text, err := s.client.HGet(ctx, key, w.o.heads.id()).Result()
		if err != nil && !errors.Is(err, goredis.Nil) {
			return nil, fmt.Errorf("%w: look for another process of this node: %w", store.ErrUnavailable, err)
		}
		clock, err := s.client.Time(ctx).Result()
		if err != nil {
			return nil, fmt.Errorf("%w: look for another process of this node: %w", store.ErrUnavailable, err)
		}
		if b, ok := parseHeartbeat(text); ok && clock.UnixMilli()-b.at < 2*staleAfter.Milliseconds() && b.has != left {
			l[key] = b
		}
	}
	return l, nil
}
