package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
)

// A crowd is many connections at once, and what the servers' memory grew by.
type crowd struct {
	j       job
	base    int64 // octets, before the first of them
	lines   []*line
	figures map[string]float64
	errors  atomic.Int64
}

// gatherers is how many connect at the same time.
const gatherers = 64

func newCrowd(j job, n int) *crowd {
	return &crowd{j: j, lines: make([]*line, n), figures: map[string]float64{}}
}

// gather has j.Sessions connect and begin. Twice as many come and go before, so that what a server makes once, like the
// pages of its records that it keeps in memory, is not counted as theirs.
func gather(ctx context.Context, j job, begin func(l *line, i int) error) (*crowd, error) {
	c := newCrowd(j, 0)
	for range max(2, 2*j.Sessions/gatherers) {
		c.lines = make([]*line, gatherers)
		if err := c.connect(begin); err != nil {
			return c, fmt.Errorf("warm-up: %w", err)
		}
		c.leave()
	}
	if !pause(ctx, seconds(j.Settle)) {
		return c, ctx.Err()
	}
	var err error
	if c.base, err = c.weight(); err != nil {
		return c, err
	}
	c.lines = make([]*line, j.Sessions)
	return c, c.connect(begin)
}

func (c *crowd) connect(begin func(*line, int) error) error {
	return c.sideBySide(func(i int) error {
		l, err := c.j.Door.knock(i)
		if err != nil {
			return err
		}
		c.lines[i] = l
		return begin(l, i)
	})
}

// each does something on each connection.
func (c *crowd) each(do func(l *line, i int) error) error {
	return c.sideBySide(func(i int) error {
		c.lines[i].extend()
		return do(c.lines[i], i)
	})
}

// sideBySide does something for each connection and answers the first error; after a few more it gives up.
func (c *crowd) sideBySide(do func(i int) error) error {
	var all sync.WaitGroup
	var next atomic.Int64
	first := make(chan error, 1)
	for range gatherers {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(c.lines) && c.errors.Load() < maxMistakes; i = int(next.Add(1)) - 1 {
				if err := do(i); err != nil {
					c.errors.Add(1)
					select {
					case first <- err:
					default:
					}
				}
			}
		})
	}
	all.Wait()
	select {
	case err := <-first:
		return err
	default:
		return nil
	}
}

func (c *crowd) weight() (sum int64, err error) {
	for _, roots := range c.j.Trees {
		n, err := proportional(roots)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}

// weigh waits until all is quiet and writes the figure: KiB for each connection.
func (c *crowd) weigh(ctx context.Context, figure string) error {
	if !pause(ctx, seconds(c.j.Settle)) {
		return ctx.Err()
	}
	now, err := c.weight()
	if err != nil {
		return err
	}
	c.figures[figure] = float64(now-c.base) / 1024 / float64(len(c.lines))
	return nil
}

func (c *crowd) leave() {
	for _, l := range c.lines {
		if l != nil {
			l.leave()
		}
	}
	c.lines = nil
}

func (c *crowd) measured() measurement {
	return measurement{Figures: c.figures, Operations: int64(len(c.lines)), Errors: c.errors.Load()}
}
