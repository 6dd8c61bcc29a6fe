package redis

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
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

// sight is one look at a master.
type sight struct {
	began  time.Time
	role   string
	id     string // replication id
	at     int64  // milliseconds, of the server
	nodes  map[string]heartbeat
	alarms map[string]Alarm
	acked  error // nil: what was read cannot be lost any more
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
		answers[i] = p.HMGet(ctx, w.o.keys.of(g, "h"), "rev", "n:"+w.o.heads.id(), "inc")
	}
	a := w.acknowledgement(waitWithin)
	wait := a.command(ctx)
	if wait != nil {
		p.Process(ctx, wait)
	}
	if _, err := p.Exec(ctx); err != nil {
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
		there, err := parseHead(answers[i].Val())
		if err != nil {
			return nil, fmt.Errorf("%w: head of group %02x: %w", store.ErrCorrupt, g, err)
		}
		w.o.heads.looked(g, before[g], there, got.acked == nil)
	}
	return got, nil
}

func parseHead(values []any) (head, error) {
	if len(values) != 3 {
		return head{}, errors.New("it is not three fields")
	}
	var n [3]int64
	for i, v := range values {
		if v == nil {
			continue
		}
		var err error
		if n[i], err = strconv.ParseInt(fmt.Sprint(v), 10, 64); err != nil {
			return head{}, err
		}
	}
	return head{n[0], n[1], n[2]}, nil
}

// shut: nobody answers for these groups.
func (w *watch) shut(s master) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, g := range s.groups {
		w.groups[g] = nil
	}
}

// report draws the conclusions of a look, and tells the other nodes.
func (w *watch) report(ctx context.Context, s master, got *sight, failed map[string]error) error {
	v := w.note(s, got)
	if w.now().Sub(v.inspected) > gateEvery {
		if err := w.inspect(ctx, s, v); err != nil {
			return err
		}
	}
	if missing := w.o.heads.rolledBack(); len(missing) > 0 {
		// With a look that failed an acceptance may have gone unseen.
		if _, raised := got.alarms[w.o.heads.id()]; raised || len(failed) > 0 {
			return nil
		}
		return w.raise(ctx, s, missing)
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
	v.addr, v.looked = s.client.Options().Addr, now
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

// say tells the other nodes that this one is alive and has found on this master all that it has seen.
func (w *watch) say(ctx context.Context, s master, has string, at int64) error {
	b := heartbeat{w.o.nonce, has, at}
	if err := s.client.HSet(ctx, w.o.keys.of(s.anchor(), "w"), w.o.heads.id(), b.String()).Err(); err != nil {
		return fmt.Errorf("%w: tell the other nodes: %w", store.ErrUnavailable, err)
	}
	w.mu.Lock()
	w.said[s.anchor()] = at
	w.mu.Unlock()
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

// pruneAfter is when a node that was not heard of is taken for removed.
const pruneAfter = 30 * 24 * time.Hour

// prune removes the witnesses of nodes that are no more. Any node does it.
func (w *watch) prune(ctx context.Context, s master, got *sight) error {
	for id, b := range got.nodes {
		if got.at-b.at < pruneAfter.Milliseconds() || id == w.o.heads.id() {
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

var errUnproven = fmt.Errorf("%w: what was read may be on the master alone", store.ErrUnavailable)

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

// Alarm is what one node found missing. It stands in Redis, on every master that the node reaches, and closes all nodes.
type Alarm struct {
	Node      string    `json:"node"` // its name
	ID        string    `json:"id"`
	Since     time.Time `json:"since"`
	Groups    int       `json:"groups"`    // in which something is missing
	Revisions int64     `json:"revisions"` // batches that are missing at least
	Own       int       `json:"own"`       // groups in which batches of this node are missing
	Example   string    `json:"example"`
}

func (a Alarm) String() string {
	return fmt.Sprintf("node %s misses at least %d batches in %d groups (its own in %d) since %s: %s",
		a.Node, a.Revisions, a.Groups, a.Own, a.Since.Format(time.RFC3339), a.Example)
}

// parseAlarm never answers that there is none: what cannot be read is an alarm still.
func parseAlarm(id, text string) Alarm {
	a := Alarm{ID: id}
	if err := json.Unmarshal([]byte(text), &a); err != nil {
		a.Example = "its alarm cannot be read"
	}
	return a
}
