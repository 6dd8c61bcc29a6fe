package redis

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"latchkey/authcore/store"
)

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

// findings are what a round has proven to be missing: of a group that could not be asked, or whose acceptance was read
// and not yet acknowledged, nobody knows.
type findings struct {
	lost   map[int]lost
	raised bool // the alarm stands on some master
}

func (w *watch) findings(sights []*sight) findings {
	all, f := w.o.heads.rolledBack(), findings{lost: map[int]lost{}}
	for _, got := range sights {
		if got == nil {
			continue
		}
		if _, raised := got.alarms[w.o.heads.id()]; raised {
			f.raised = true
		}
		for _, g := range got.asked {
			if l, missing := all[g]; missing {
				f.lost[g] = l
			}
		}
	}
	return f
}

// toldTo reports whether a master without this node's alarm shall have it: all of them at first, and then those that miss
// something. The others may have been accepted a moment ago, by one that goes from master to master.
func (f findings) toldTo(s master) bool {
	if !f.raised {
		return len(f.lost) > 0
	}
	return slices.ContainsFunc(s.groups, func(g int) bool { _, missing := f.lost[g]; return missing })
}

// raise writes this node's alarm to a master: into every group, for groups move between the masters of a Cluster. The
// anchor's comes last: the others look there.
func (w *watch) raise(ctx context.Context, s master, missing map[int]lost) error {
	text, err := json.Marshal(w.alarm(missing))
	if err != nil {
		return fmt.Errorf("raise the alarm: %w", err)
	}
	p := s.client.Pipeline()
	if slices.Contains(s.groups, metaGroup) {
		p.HSetNX(ctx, w.o.keys.meta(), "id", w.o.heads.store()) // an emptied store stays the one it was
	}
	for _, g := range slices.Backward(s.groups) {
		p.HSet(ctx, w.o.keys.of(g, "a"), w.o.heads.id(), text)
	}
	if _, err := p.Exec(ctx); err != nil {
		return fmt.Errorf("%w: raise the alarm: %w", store.ErrUnavailable, err)
	}
	return nil
}

// alarm sums up what is missing.
func (w *watch) alarm(missing map[int]lost) Alarm {
	a := Alarm{Node: w.o.node, ID: w.o.heads.id(), Groups: len(missing)}
	for g, l := range missing {
		if a.Since.IsZero() || l.Since.Before(a.Since) {
			a.Since = l.Since
			a.Example = fmt.Sprintf("group %02x stood at %d (last batch of this node %d), now at %d (%d)",
				g, l.Seen.Revision, l.Seen.Witness, l.There.Revision, l.There.Witness)
		}
		a.Revisions += max(l.Seen.Revision-l.There.Revision, 1)
		if l.There.Witness < l.Seen.Witness {
			a.Own++
		}
	}
	return a
}

// accept gives all nodes the leave to take what is there for the highest, if an alarm was raised. It first tells what
// is missing. To repeat it is safe: a group whose alarm is gone is left alone.
func (w *watch) accept(ctx context.Context) error {
	if err := w.round(ctx); err != nil { // also raises our own, if that was not done
		return fmt.Errorf("look before a rollback is accepted: %w", err)
	}
	if err := w.round(ctx); err != nil { // and sees it
		return fmt.Errorf("look before a rollback is accepted: %w", err)
	}
	for _, a := range w.alarmsNow() {
		w.o.log.Warn("rollback accepted: this is lost", "missing", a.String())
	}
	shards, err := w.masters(ctx)
	if err != nil {
		return err
	}
	for _, s := range shards {
		if err := w.acceptAt(ctx, s); err != nil {
			return fmt.Errorf("%w: accept the rollback at %s, which may be repeated: %w", store.ErrUnavailable, s.client.Options().Addr, err)
		}
	}
	if err := w.round(ctx); err != nil {
		return fmt.Errorf("look after the rollback was accepted: %w", err)
	}
	if err := w.closed(); err != nil && !errors.Is(err, errTwin) {
		return fmt.Errorf("the rollback was accepted, and something is missing again: %w", err)
	}
	return nil
}

// acceptGroup: KEYS head, alarms. The incarnation is the server's time, so it rises also when the head itself is gone.
const acceptGroup = `if redis.call('EXISTS', KEYS[2]) == 0 then return 0 end
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local was = tonumber(redis.call('HGET', KEYS[1], 'inc') or '0')
redis.call('HSET', KEYS[1], 'inc', string.format('%.0f', math.max(now, was + 1)))
redis.call('DEL', KEYS[2])
return 1`

// acceptAt goes through the groups of a master, the anchor last: see look.
func (w *watch) acceptAt(ctx context.Context, s master) error {
	p := s.client.Pipeline()
	for _, g := range slices.Backward(s.groups) {
		p.Eval(ctx, acceptGroup, []string{w.o.keys.of(g, "h"), w.o.keys.of(g, "a")})
	}
	a := w.acknowledgement(ackLimit)
	wait := a.command(ctx)
	if wait != nil {
		p.Process(ctx, wait)
	}
	if _, err := p.Exec(ctx); err != nil && !errors.Is(err, goredis.Nil) {
		return err
	}
	return a.enough(wait)
}
