package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/member"
	"latchkey/authcore/store"
	"latchkey/configs"
)

// What doctor asks of a fleet's store is asked by the process that has this node's folder: the running server, or doctor
// itself. Each finding is a line that begins with ok, warning or error.

// The clocks: an expiry is judged by Redis's clock, a code and a heartbeat by the node's. A node whose clock is a
// heartbeat's death away (authcore.DefaultDead) is dead to the others.
const (
	clockWarns = time.Second
	clockFails = authcore.DefaultDead / 2
)

// slowTrip is a twentieth of what a sign-in has, which asks several times.
const slowTrip = 100 * time.Millisecond

func doctorFleet(ctx context.Context, p program, cfg *configs.Config) (failures int) {
	if err := wayToRedis(ctx, cfg); err != nil {
		for _, line := range strings.Split(err.Error(), "\n") {
			fmt.Fprintf(p.out, "error    store: %s\n", line)
		}
		return 1
	}
	var told strings.Builder
	if err := inStore(ctx, cfg, p, storeWork{"doctor", doctorWork}, nil, nil, io.MultiWriter(p.out, &told)); err != nil {
		fmt.Fprintf(p.out, "error    store: %v\n", err)
		failures++
	}
	for line := range strings.Lines(told.String()) {
		if strings.HasPrefix(line, "error") {
			failures++
		}
	}
	return failures
}

// findings are the lines.
type findings struct{ out io.Writer }

func (f findings) say(level, format string, args ...any) {
	fmt.Fprintf(f.out, "%-8s store: %s\n", level, fmt.Sprintf(format, args...))
}

func doctorWork(ctx context.Context, w works, _ []string, _ io.Reader, out io.Writer) error {
	f := findings{out}
	f.say("ok", "Redis is reached; it is store %s", w.db.ID())
	if !w.cfg.Fleet() {
		return nil
	}
	f.durability(w)
	f.clock(ctx, w)
	f.roundTrip(ctx, w)
	f.nodes(ctx, w)
	f.sameKeys(ctx, w)
	return nil
}

// durability tells what the servers may lose, and have lost.
func (f findings) durability(w works) {
	e, ok := w.db.(mayRollBack)
	if !ok {
		return
	}
	d := e.State().Durability
	for _, a := range d.RolledBack {
		f.say("error", "what was acknowledged is lost: %v; latchkey doctor -accept-rollback says more, and lets all nodes go on", a)
	}
	level, why := "error", ""
	if w.cfg.Store.Redis.AllowLossy {
		level, why = "warning", " (store.redis.allow_lossy is true)"
	}
	for _, text := range d.Lossy {
		f.say(level, "it may lose what it acknowledged%s: %s", why, text)
	}
	for _, text := range d.Windows {
		f.say("warning", "%s", text)
	}
	for _, text := range d.Failing {
		f.say("error", "a server could not be looked at: %s", text)
	}
	if d.Copied {
		f.say("error", "another process runs with a copy of this node's data folder: stop one of the two, empty its %s, start it", w.cfg.Data)
	}
	if d.Unwritten != nil {
		f.say("error", "this node cannot write down what it has seen of the store, and after a crash would not notice a rollback; look at the disk of %s: %v", w.cfg.Data, d.Unwritten)
	}
	if len(d.RolledBack)+len(d.Lossy)+len(d.Windows)+len(d.Failing) == 0 && !d.Copied {
		f.say("ok", "nothing that was acknowledged can be lost by one server: a write is on its disk, and on %s, first", count(w.cfg.Store.Redis.Replicas, "replica"))
	}
	f.say("ok", "WAITAOF (a Redis from 7.2 on) is %s", d.WaitAOF)
}

// clock compares this node's clock with Redis's, as well as the way there allows.
func (f findings) clock(ctx context.Context, w works) {
	way, err := newRedisWay(w.cfg)
	if err == nil {
		err = way.walk(ctx)
	}
	if err != nil {
		f.say("error", "%v", err)
		return
	}
	c := way.dial(way.at, way.own(), way.r.Database)
	defer c.Close()
	began := time.Now()
	_, err = c.Time(ctx).Result() // the connection is made
	if err == nil {
		began = time.Now()
	}
	there, err := c.Time(ctx).Result()
	trip := time.Since(began)
	if err != nil {
		f.say("error", "ask %s for the time: %v", way.at, err)
		return
	}
	ahead := began.Add(trip / 2).Sub(there).Round(time.Millisecond)
	level := "ok"
	switch {
	case ahead.Abs() > clockFails:
		level = "error"
	case ahead.Abs() > clockWarns:
		level = "warning"
	}
	f.say(level, "this node's clock is %v ahead of %s (error beyond %v: let both follow the same time servers)", ahead, way.at, clockFails)
}

// roundTrip writes a record as durably as every other, reads it and takes it away.
func (f findings) roundTrip(ctx context.Context, w works) {
	k := store.Key{Partition: member.Root, Name: "doctor"}
	began := time.Now()
	_, err := w.db.Apply(ctx, k.Partition, store.Op{Kind: store.Put, Name: k.Name, Value: []byte("a trial"), IfRevision: store.AnyRevision, ExpiresAt: began.Add(time.Minute)})
	took := time.Since(began)
	if err == nil {
		_, err = w.db.Get(ctx, k)
	}
	if err == nil {
		_, err = w.db.Apply(ctx, k.Partition, store.Op{Kind: store.Delete, Name: k.Name, IfRevision: store.AnyRevision})
	}
	switch {
	case err != nil:
		f.say("error", "a record could not be written and read: %v", err)
	case took > slowTrip:
		f.say("warning", "a record was written in %v, acknowledged by %d replicas: sign-ins wait for several such ways", took.Round(time.Millisecond), w.cfg.Store.Redis.Replicas)
	default:
		f.say("ok", "a record was written in %v, acknowledged by %d replicas, and read", took.Round(100*time.Microsecond), w.cfg.Store.Redis.Replicas)
	}
}

func (f findings) nodes(ctx context.Context, w works) {
	l, err := w.core.Nodes(ctx, authcore.CommandActor("doctor"))
	if err != nil {
		f.say("error", "list the nodes: %v", err)
		return
	}
	if len(l) == 0 {
		f.say("warning", "no node runs")
	}
	for _, n := range l {
		state := "serves"
		if n.Draining {
			state = "drains"
		}
		f.say("ok", "node %s %s since %s, %d sessions", n.Name, state, n.Started.UTC().Format("2006-01-02 15:04"), n.Sessions)
	}
}

func (f findings) sameKeys(ctx context.Context, w works) {
	lack, err := w.core.Lacking(ctx)
	if err != nil {
		f.say("error", "compare the keys: %v", err)
		return
	}
	for _, id := range slices.Sorted(maps.Keys(lack)) {
		f.say("error", "key %s is not on %s: copy this node's %s there and reload", id, strings.Join(lack[id], ", "), w.keysFile)
	}
	if len(lack) == 0 {
		f.say("ok", "every running node has this node's keys")
	}
}
