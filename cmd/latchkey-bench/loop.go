package main

import (
	"context"
	"os"
	"slices"
	"sync"
	"time"
)

// A worker does one operation after the other. Its connection, if it keeps one, is there before the measurement begins.
type worker struct {
	once func() error
	end  func()
}

// loop runs workers side by side for the job's time; hire makes the i-th. Each begins anew as soon as it is done.
func loop(ctx context.Context, j job, hire func(i int) (worker, error)) (measurement, error) {
	workers := make([]worker, 0, j.Concurrency)
	defer func() {
		for _, w := range workers {
			w.end()
		}
	}()
	for i := range j.Concurrency {
		w, err := hire(i)
		if err != nil {
			return measurement{}, err
		}
		workers = append(workers, w)
	}
	var t tally
	m := startMeter(j)
	until := time.Now().Add(seconds(j.Seconds))
	var all sync.WaitGroup
	for _, w := range workers {
		all.Go(func() { t.work(ctx, w, until) })
	}
	all.Wait()
	spent := m.stop()
	return t.measured(spent, 1000, "1000"), ctx.Err()
}

// A tally counts what workers did.
type tally struct {
	mu     sync.Mutex
	took   []time.Duration // guarded by mu
	errors int64           // guarded by mu
	first  error           // guarded by mu
}

// work is one worker's time. He does one operation at least, however late he begins.
func (t *tally) work(ctx context.Context, w worker, until time.Time) {
	var took []time.Duration
	for first := true; len(took) < maxOperations && ctx.Err() == nil; first = false {
		began := time.Now()
		if !first && began.After(until) {
			break
		}
		if err := w.once(); err != nil {
			if t.mistake(err) {
				break
			}
			continue
		}
		took = append(took, time.Since(began))
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.took = append(t.took, took...)
}

// mistake counts one, and says whether to give up.
func (t *tally) mistake(err error) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.errors++
	if t.first == nil {
		t.first = err
	}
	return t.errors >= maxMistakes
}

// measured answers figures for so many operations, which is called per.
func (t *tally) measured(spent spending, unit float64, per string) measurement {
	t.mu.Lock()
	defer t.mu.Unlock()
	m := measurement{Operations: int64(len(t.took)), Errors: t.errors, Figures: map[string]float64{}}
	if t.first != nil {
		m.Problem = t.first.Error()
	}
	if len(t.took) == 0 {
		return m
	}
	slices.Sort(t.took)
	n := float64(len(t.took))
	m.Figures["per_second"] = n / spent.wall
	m.Figures["p50_ms"] = milliseconds(quantile(t.took, 0.5))
	m.Figures["p99_ms"] = milliseconds(quantile(t.took, 0.99))
	spent.into(m.Figures, n/unit, per)
	return m
}

// quantile of what is sorted and not empty.
func quantile(sorted []time.Duration, q float64) time.Duration {
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// A meter measures what a job costs the servers' process trees.
type meter struct {
	j       job
	began   time.Time
	trees   map[string]float64
	known   float64 // the load itself and what else is ours
	machine float64
}

// spending is what was spent between start and stop of a meter, in seconds.
type spending struct {
	wall, cpu float64
	trees     map[string]float64
	others    float64 // processors that were busy with what we do not know
}

func startMeter(j job) meter {
	m := meter{j: j, trees: map[string]float64{}, machine: busy(), known: cpuOf(j.ours())}
	for name, roots := range j.Trees {
		m.trees[name] = cpuOf(roots)
	}
	m.began = time.Now()
	return m
}

func (j job) ours() []int { return append([]int{os.Getpid()}, j.Others...) }

func (m meter) stop() spending {
	s := spending{wall: time.Since(m.began).Seconds(), trees: map[string]float64{}}
	for name, roots := range m.j.Trees {
		s.trees[name] = cpuOf(roots) - m.trees[name]
		s.cpu += s.trees[name]
	}
	s.others = max(0, busy()-m.machine-s.cpu-(cpuOf(m.j.ours())-m.known)) / s.wall
	return s
}

// enoughWall is how long must be looked at to tell who else is at work: the clocks of processes tick every hundredth of a second.
const enoughWall = 1.0

// into writes the figures for so many units.
func (s spending) into(figures map[string]float64, units float64, per string) {
	figures["cpu_"+per] = s.cpu / units
	for name, spent := range s.trees {
		figures["cpu_"+per+"_"+name] = spent / units
	}
	if s.wall >= enoughWall {
		figures["other_processors"] = s.others
	}
}
