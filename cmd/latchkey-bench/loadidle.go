package main

import (
	"context"
	"fmt"
	"sync"
)

// idle is a sign-in, and then IDLE, as phones do all day.
func (j job) idle(l *line, i int) error {
	if err := l.signIn(j.one(i)); err != nil {
		return err
	}
	return l.ask("i IDLE\r\n", "+ ", "+ ")
}

// idleLoad: the memory of idle sessions, and, with j.Megabytes, of the same after so much went through each of them.
func idleLoad(ctx context.Context, j job) (measurement, error) {
	crowd, err := gather(ctx, j, j.idle)
	defer crowd.leave()
	if err == nil {
		err = crowd.weigh(ctx, "kib")
	}
	if err == nil && j.Megabytes > 0 {
		err = crowd.each(func(l *line, _ int) error {
			if err := l.ask("DONE\r\n", "i ", "i OK"); err != nil {
				return err
			}
			if err := l.fetch(j.Megabytes); err != nil {
				return err
			}
			return l.ask("i IDLE\r\n", "+ ", "+ ")
		})
		if err == nil {
			err = crowd.weigh(ctx, "kib_after")
		}
	}
	if err == nil { // all are still there, and answer
		err = crowd.each(func(l *line, _ int) error { return l.ask("DONE\r\n", "i ", "i OK") })
	}
	return crowd.measured(), err
}

// fetch takes a message of so many MiB, every octet of it.
func (l *line) fetch(mib int) error {
	if err := l.say(fmt.Sprintf("f FETCH %d BODY[]\r\n", mib)); err != nil {
		return err
	}
	if err := l.expect("* ", fmt.Sprintf("* 1 FETCH (BODY[] {%d}", mib<<20)); err != nil {
		return err
	}
	if err := l.discard(mib << 20); err != nil {
		return err
	}
	return l.expect("f ", "f OK")
}

// discards are buffers that are larger than a socket has at once: a client that reads by the page would be what is measured.
var discards = sync.Pool{New: func() any { return new([64 << 10]byte) }}

func (l *line) discard(octets int) error {
	buffer := discards.Get().(*[64 << 10]byte)
	defer discards.Put(buffer)
	for octets > 0 {
		n, err := l.r.Read(buffer[:min(octets, len(buffer))])
		if octets -= n; err != nil {
			return err
		}
	}
	return nil
}

// bulkLoad: large messages in a few sessions.
func bulkLoad(ctx context.Context, j job) (measurement, error) {
	crowd := newCrowd(j, j.Concurrency)
	defer crowd.leave()
	if err := crowd.connect(func(l *line, i int) error { return l.signIn(j.one(i)) }); err != nil {
		return crowd.measured(), err
	}
	m := startMeter(j)
	err := crowd.each(func(l *line, _ int) error {
		for range j.Times {
			l.extend()
			if err := l.fetch(j.Megabytes); err != nil {
				return err
			}
		}
		return nil
	})
	spent := m.stop()
	gigabytes := float64(j.Concurrency*j.Times*j.Megabytes<<20) / 1e9
	spent.into(crowd.figures, gigabytes, "gb")
	crowd.figures["mb_per_second"] = gigabytes * 1000 / spent.wall
	return crowd.measured(), err
}
