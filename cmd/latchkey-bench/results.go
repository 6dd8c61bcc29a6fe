package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"
)

// resultsFormat is that of the file; it changes when what was written cannot be read any more.
const resultsFormat = 1

// results are every figure of every round of a run.
type results struct {
	Format  int         `json:"format"`
	Began   time.Time   `json:"began"`
	Seconds float64     `json:"seconds"`
	Machine machine     `json:"machine"`
	Rounds  int         `json:"rounds"`
	Short   bool        `json:"short,omitempty"`
	Missing []string    `json:"missing,omitempty"`
	Rows    []rowResult `json:"rows"`
}

type rowResult struct {
	Name    string        `json:"name"`
	Entries []entryResult `json:"entries"`
}

type entryResult struct {
	Who     string        `json:"who"`
	Rounds  []measurement `json:"rounds"`
	Problem string        `json:"problem,omitempty"` // why there are no more rounds, and no figures
}

var errFormat = errors.New("not a file that this version has written")

func readResults(file string) (r results, err error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(text, &r); err != nil || r.Format != resultsFormat {
		return r, errors.Join(fmt.Errorf("read %s: %w", file, errFormat), err)
	}
	return r, nil
}

// A spread is a median with the lowest and highest of the rounds.
type spread struct{ median, lowest, highest float64 }

// spreadOf takes at least one.
func spreadOf(l []float64) (spread, bool) {
	if len(l) == 0 {
		return spread{}, false
	}
	l = slices.Sorted(slices.Values(l))
	half := len(l) / 2
	median := l[half]
	if len(l)%2 == 0 {
		median = (l[half-1] + l[half]) / 2
	}
	return spread{median, l[0], l[len(l)-1]}, true
}

func (r results) row(name string) rowResult {
	for _, row := range r.Rows {
		if row.Name == name {
			return row
		}
	}
	return rowResult{}
}

func (r rowResult) entry(who string) entryResult {
	for _, e := range r.Entries {
		if e.Who == who {
			return e
		}
	}
	return entryResult{}
}

// figures of an entry, round by round; none of one that failed.
func (e entryResult) figures(key string) (l []float64) {
	if e.Problem != "" {
		return nil
	}
	for _, m := range e.Rounds {
		if v, ok := m.Figures[key]; ok {
			l = append(l, v)
		}
	}
	return l
}

// ratio is ours to theirs: of the medians, with the lowest and highest of a round.
func ratio(ours, theirs []float64) (spread, bool) {
	a, ok := spreadOf(ours)
	b, also := spreadOf(theirs)
	if !ok || !also || b.median <= 0 {
		return spread{}, false
	}
	var rounds []float64
	for i := range min(len(ours), len(theirs)) {
		if theirs[i] > 0 {
			rounds = append(rounds, ours[i]/theirs[i])
		}
	}
	s, ok := spreadOf(rounds)
	s.median = a.median / b.median
	return s, ok
}

// best is the name of the other server that is ahead in a figure, and the ratio of ours to it.
func (r rowResult) best(known row, f figure) (string, spread, bool) {
	name, ahead := "", 0.0
	for _, e := range known.entries {
		s, ok := spreadOf(r.entry(e.who()).figures(f.key))
		if !ok || e.server == latchkeyName || e.information {
			continue
		}
		if name == "" || f.more == (s.median > ahead) {
			name, ahead = e.who(), s.median
		}
	}
	to, ok := ratio(r.entry(latchkeyName).figures(f.key), r.entry(name).figures(f.key))
	return name, to, ok
}

// A verdict is what became of a target.
type verdict struct {
	target
	got     spread
	known   bool // else something is missing or failed
	reached bool
}

func (r results) verdicts() (l []verdict) {
	for _, t := range targets {
		v := verdict{target: t}
		if r.row(t.row).Name == "" {
			continue // it was not asked for
		}
		ours := r.row(t.row).entry(latchkeyName).figures(t.figure)
		if t.of == "" {
			v.got, v.known = spreadOf(ours)
		} else {
			key := t.figure
			if t.ofFigure != "" {
				key = t.ofFigure
			}
			v.got, v.known = ratio(ours, r.row(t.row).entry(t.of).figures(key))
		}
		v.reached = v.known && (t.atLeast && v.got.median >= t.limit || !t.atLeast && v.got.median <= t.limit)
		l = append(l, v)
	}
	return l
}

// failed names the entries of rows that failed.
func (r results) failed() (l []string) {
	for _, row := range r.Rows {
		for _, e := range row.Entries {
			if e.Problem != "" {
				l = append(l, row.Name+" of "+e.Who)
			}
		}
	}
	return l
}

// strangers is the most that other work took of the machine in any round, in processors.
func (r results) strangers() (most float64) {
	for _, row := range r.Rows {
		for _, e := range row.Entries {
			for _, m := range e.Rounds {
				most = max(most, m.Figures["other_processors"])
			}
		}
	}
	return most
}
