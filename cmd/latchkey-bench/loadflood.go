package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// A flood is wrong sign-ins at a rate, three to a connection, each guesser from an address of his own by the PROXY header, and
// somebody who knows his password all the while. A guesser waits for his turn; when a turn comes and all are held back, one
// more comes, up to maxGuessers.
type flood struct {
	j        job
	turns    chan struct{}
	guessers atomic.Int64
	answered atomic.Int64
	broken   atomic.Int64
	first    atomic.Pointer[error]
}

// floodBefore is how long it goes on before anything is measured: its connections are there by then.
const floodBefore = 3 * time.Second

func floodLoad(ctx context.Context, j job) (measurement, error) {
	f := &flood{j: j, turns: make(chan struct{})}
	flooding, stop := context.WithCancel(ctx) // it lasts as long as what is measured
	defer stop()
	var all sync.WaitGroup
	all.Go(func() { f.run(flooding) })
	defer all.Wait()
	if !pause(flooding, floodBefore) {
		return measurement{}, context.Cause(ctx)
	}
	before := f.answered.Load()
	good := j
	good.Concurrency = 1
	m, err := signinLoad(ctx, good)
	if len(m.Figures) > 0 {
		m.Figures["refused_per_second"] = float64(f.answered.Load()-before) / j.Seconds
	}
	stop()
	all.Wait()
	var top int64
	for _, roots := range j.Trees {
		n, perr := peak(roots)
		top, err = top+n, errors.Join(err, perr)
	}
	if len(m.Figures) > 0 {
		m.Figures["peak_mib"] = float64(top) / (1 << 20)
	}
	if first := f.first.Load(); first != nil {
		m.Errors += f.broken.Load()
		err = errors.Join(err, *first)
	}
	return m, err
}

// run gives j.Rate turns a second.
func (f *flood) run(ctx context.Context) {
	var all sync.WaitGroup
	defer all.Wait()
	began := time.Now()
	for given := 0; pause(ctx, 5*time.Millisecond); {
		for due := int(time.Since(began).Seconds() * float64(f.j.Rate)); given < due; given++ {
			select {
			case f.turns <- struct{}{}:
			default:
				if n := int(f.guessers.Load()); n < maxGuessers {
					f.guessers.Add(1)
					all.Go(func() { f.guess(ctx, n) })
				}
			}
		}
	}
}

// guess is one guesser: his first turn is now.
func (f *flood) guess(ctx context.Context, n int) {
	for round := 0; ; round++ {
		if err := f.threeGuesses(ctx, n, round); err != nil && ctx.Err() == nil {
			f.broken.Add(1)
			f.first.CompareAndSwap(nil, &err)
			return
		}
		select {
		case <-f.turns:
		case <-ctx.Done():
			return
		}
	}
}

// threeGuesses is one connection. Half of the guesses are at somebody.
func (f *flood) threeGuesses(ctx context.Context, n, round int) error {
	l, err := f.j.Door.knock(round*maxGuessers + n)
	if err != nil {
		return err
	}
	defer l.leave()
	defer context.AfterFunc(ctx, func() { _ = l.Close() })()
	if err := l.expect("* ", "* OK"); err != nil {
		return err
	}
	for i := range 3 {
		if i > 0 {
			select {
			case <-f.turns:
			case <-ctx.Done():
				return nil
			}
		}
		l.extend()
		who := f.j.Victims[(n+i)%len(f.j.Victims)]
		if err := l.ask(fmt.Sprintf("a LOGIN %s wrong-%d-%d-%d\r\n", who, n, round, i), "a ", "a NO"); err != nil {
			return err
		}
		f.answered.Add(1)
	}
	return nil
}
