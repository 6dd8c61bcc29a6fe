package redis

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"latchkey/authcore/store"
)

// sight is one look at a master.
type sight struct {
	began  time.Time
	role   string
	id     string // replication id
	at     int64  // milliseconds, of the server
	nodes  map[string]heartbeat
	alarms map[string]Alarm
	acked  error // nil: what was read cannot be lost any more
	asked  []int // groups whose heads were compared, and surely not accepted meanwhile
}

// look reads everything of a master in one pipeline and compares the heads. The alarms are read before the heads: an
// acceptance raises the heads' incarnations first of all and removes the anchor's alarms last, so no alarm here means
// that every accepted head is seen as such.
func (w *watch) look(ctx context.Context, s master) (*sight, error) {
	ctx, cancel := context.WithTimeout(ctx, lookWithin+w.acknowledgement(waitWithin).within)
	defer cancel()
	before := w.o.heads.all()
	began := w.now()
	p := s.client.Pipeline()
	info := p.Info(ctx, "replication")
	clock := p.Time(ctx)
	nodes := p.HGetAll(ctx, w.o.keys.of(s.anchor(), "w"))
	alarms := p.HGetAll(ctx, w.o.keys.of(s.anchor(), "a"))
	answers := make([]*goredis.SliceCmd, len(s.groups))
	for i, g := range s.groups {
		answers[i] = p.HMGet(ctx, w.o.keys.of(g, "h"), "rev", "n:"+w.o.heads.id(), "inc", "restoring")
	}
	a := w.acknowledgement(waitWithin)
	wait := a.command(ctx)
	if wait != nil {
		p.Process(ctx, wait)
	}
	_, err := p.Exec(ctx)
	if _, moving := goredis.IsAskError(err); moving {
		err = errors.Join(w.follow(ctx, nodes), w.follow(ctx, alarms))
	}
	if err != nil {
		if c, isCluster := w.o.client.(*goredis.ClusterClient); isCluster {
			c.ReloadState(ctx)
		}
		return nil, fmt.Errorf("%w: look at the master %s: %w", store.ErrUnavailable, s.client.Options().Addr, err)
	}
	fields := infoFields(info.Val())
	got := &sight{
		began: began, role: fields["role"], id: fields["master_replid"], at: clock.Val().UnixMilli(),
		nodes: map[string]heartbeat{}, alarms: map[string]Alarm{}, acked: a.enough(wait),
	}
	if got.role != "master" {
		w.shut(s)
		return nil, fmt.Errorf("%w: %s is a %s, not a master", store.ErrUnavailable, s.client.Options().Addr, got.role)
	}
	for id, text := range nodes.Val() {
		if b, ok := parseHeartbeat(text); ok {
			got.nodes[id] = b
		}
	}
	for id, text := range alarms.Val() {
		got.alarms[id] = parseAlarm(id, text)
	}
	for i, g := range s.groups {
		if err := w.compare(ctx, g, before[g], answers[i], got); err != nil {
			return nil, err
		}
	}
	return got, nil
}

// follow asks elsewhere what a master answered with ASK, for the slot is on its way to another one.
func (w *watch) follow(ctx context.Context, cmd goredis.Cmder) error {
	if _, moving := goredis.IsAskError(cmd.Err()); !moving {
		return cmd.Err()
	}
	return w.o.client.Process(ctx, cmd)
}

// compare takes what a master answered of a group's head. What is on its way to another master, or written by a restore
// that may still be undone, is compared and not remembered.
func (w *watch) compare(ctx context.Context, group int, before head, answer *goredis.SliceCmd, got *sight) error {
	here := answer.Err() == nil
	if err := w.follow(ctx, answer); err != nil {
		return fmt.Errorf("%w: head of group %02x: %w", store.ErrUnavailable, group, err)
	}
	there, restoring, err := parseHead(answer.Val())
	if err != nil {
		return fmt.Errorf("%w: head of group %02x: %w", store.ErrCorrupt, group, err)
	}
	durable := got.acked == nil && here && !restoring
	w.o.heads.looked(group, before, there, durable)
	if durable || there.Incarnation <= before.Incarnation {
		got.asked = append(got.asked, group)
	}
	return nil
}

// parseHead reads a head, and whether a restore has claimed it.
func parseHead(values []any) (h head, restoring bool, err error) {
	if len(values) != 4 {
		return head{}, false, errors.New("it is not four fields")
	}
	var n [3]int64
	for i := range n {
		if values[i] == nil {
			continue
		}
		if n[i], err = strconv.ParseInt(fmt.Sprint(values[i]), 10, 64); err != nil {
			return head{}, false, err
		}
	}
	return head{n[0], n[1], n[2]}, values[3] != nil, nil
}

// shut: nobody answers for these groups.
func (w *watch) shut(s master) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, g := range s.groups {
		w.groups[g] = nil
	}
}

// report draws the conclusions of a look, and tells the other nodes. missing is what this round has proven to be.
func (w *watch) report(ctx context.Context, s master, got *sight, missing findings) error {
	v := w.note(s, got)
	if w.now().Sub(v.inspected) > gateEvery {
		if err := w.inspect(ctx, s, v); err != nil {
			return err
		}
	}
	if w.o.heads.closed() != nil {
		if _, raised := got.alarms[w.o.heads.id()]; raised || !missing.toldTo(s) {
			return nil
		}
		return w.raise(ctx, s, missing.lost)
	}
	if got.acked != nil && !w.o.allowLossy {
		return fmt.Errorf("%w: look at the master %s: %w", errUnproven, v.addr, got.acked)
	}
	if w.isTwin(s, got) {
		return errTwin
	}
	if err := w.say(ctx, s, got.id, got.at); err != nil && !w.o.allowLossy {
		return err
	}
	if err := w.prune(ctx, s, got); err != nil {
		return err
	}
	w.open(v, got)
	return nil
}

// note makes or renews the view of a master. A new one starts closed, and waits for all nodes that were alive.
func (w *watch) note(s master, got *sight) *view {
	now := w.now()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.alarms[s.anchor()] = got.alarms
	if len(got.alarms) == 0 {
		delete(w.alarms, s.anchor())
	}
	v := w.views[got.id]
	if v == nil {
		v = &view{id: got.id, first: now, waiting: w.others(got)}
		w.forget(now)
		w.views[got.id] = v
	}
	v.addr, v.looked, v.ahead = s.client.Options().Addr, now, ahead(got.began, now, got.at)
	for id, b := range got.nodes {
		if b.has == got.id || b.has == left {
			delete(v.waiting, id)
		}
	}
	w.known[s.anchor()] = map[string]bool{}
	for id, b := range got.nodes {
		if b.has != left && got.at-b.at < aliveFor.Milliseconds() {
			w.known[s.anchor()][id] = true
		}
	}
	for _, g := range s.groups {
		old := w.groups[g]
		w.groups[g] = v
		if old != nil && !slices.Contains(w.groups[:], old) {
			old.open = false // a master whose groups another one has is none any more
			delete(w.views, old.id)
		}
	}
	return v
}

// ahead is by how much our clock is ahead of a server's at least, or behind if negative: the server said its time, in
// milliseconds, between asked and answered.
func ahead(asked, answered time.Time, there int64) time.Duration {
	said := time.UnixMilli(there)
	return max(asked.Sub(said), 0) + min(answered.Sub(said), 0)
}

// others are the nodes that were alive before this master was seen; it needs mu.
func (w *watch) others(got *sight) map[string]bool {
	l := map[string]bool{}
	for _, known := range w.known {
		maps.Copy(l, known)
	}
	for id, b := range got.nodes {
		if b.has != left && got.at-b.at < recalledFor.Milliseconds() {
			l[id] = true
		}
	}
	delete(l, w.o.heads.id())
	return l
}

// forget drops what was not looked at for long; it needs mu.
func (w *watch) forget(now time.Time) {
	if len(w.views) < viewsLimit {
		return
	}
	maps.DeleteFunc(w.views, func(_ string, v *view) bool { return now.Sub(v.looked) > recalledFor })
}

// inspect asks the gate again: a server that turned lossy takes no writes, for none could be promised.
func (w *watch) inspect(ctx context.Context, s master, v *view) error {
	found, err := w.o.gate.inspect(ctx, s.client)
	if err != nil {
		return err
	}
	w.mu.Lock()
	turned := len(found.Lossy) > 0 && len(v.verdict.Lossy) == 0
	v.verdict, v.inspected = found, w.now()
	w.aof = w.aof && found.WaitAOF
	w.mu.Unlock()
	if turned {
		w.o.log.Warn("the store is not durable", "server", v.addr, "why", found.err(), "writes", map[bool]string{true: "taken", false: "refused"}[w.o.allowLossy])
	}
	return nil
}

// open lets commands through once nobody is waited for any more.
func (w *watch) open(v *view, got *sight) {
	now := w.now()
	w.mu.Lock()
	defer w.mu.Unlock()
	v.acked = got.began
	if v.open {
		return
	}
	if len(v.waiting) > 0 && now.Sub(v.first) < silentFor {
		return
	}
	if len(v.waiting) > 0 {
		w.o.log.Warn("a master is used though nodes have not looked at it: what they alone wrote may be missing", "server", v.addr, "silent", len(v.waiting))
	}
	v.open, v.waiting = true, nil
}

var errUnproven = fmt.Errorf("%w: what was read may be on the master alone", store.ErrUnavailable)
