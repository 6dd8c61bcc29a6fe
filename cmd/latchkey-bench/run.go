package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"time"
)

// warmUp is how long a server is loaded before its first round.
const warmUp = 0.5

// jobTime is what one measurement may take in all; the longest takes a third of it here.
const jobTime = 3 * time.Minute

// row goes through one row. What fails is told in its place, and the other entries go on.
func (b *bench) row(ctx context.Context, r row) rowResult {
	out := rowResult{Name: r.name}
	var there []entry
	for _, e := range r.entries {
		if b.servers[e.server] != nil {
			there = append(there, e)
			out.Entries = append(out.Entries, entryResult{Who: e.who()})
		}
	}
	for round := range b.o.rounds {
		for turn := range there {
			i := (round + turn) % len(there) // so that nobody is always first
			if out.Entries[i].Problem != "" || ctx.Err() != nil {
				continue
			}
			m, err := b.safely(ctx, r, there[i], round == 0)
			out.Entries[i].Rounds = append(out.Entries[i].Rounds, m)
			if err != nil {
				out.Entries[i].Problem = err.Error()
				fmt.Fprintf(b.err, "        FAILED  %s: %v\n", there[i].who(), err)
			}
		}
	}
	return out
}

// safely turns a bug in a row into its failure.
func (b *bench) safely(ctx context.Context, r row, e entry, first bool) (m measurement, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return b.measurement(ctx, r, e, first)
}

var errWithMistakes = errors.New("not every exchange was as it must be")

// measurement is one entry's turn.
func (b *bench) measurement(ctx context.Context, r row, e entry, first bool) (measurement, error) {
	s := b.servers[e.server]
	if r.fresh {
		if err := b.afresh(ctx, s); err != nil {
			return measurement{}, err
		}
	}
	j := b.job(r, e, s)
	if first && !r.fresh {
		warm := j
		warm.Seconds, warm.Times = min(warmUp, j.Seconds), min(1, j.Times)
		if m, err := b.load(ctx, warm); err != nil {
			return m, fmt.Errorf("warm-up: %w\n%s", err, lastLines(b.log(s.name)))
		}
	}
	m, err := b.load(ctx, j)
	if err != nil {
		err = fmt.Errorf("%w\n%s", err, lastLines(b.log(s.name)))
	}
	if j.Kind == "revoke" {
		err = errors.Join(err, b.closeDomain(false).do(ctx, b.certificate.raw)) // the next row needs them
	}
	return m, err
}

// job fills in what a row leaves to the entry.
func (b *bench) job(r row, e entry, s *server) job {
	j := r.job(b.o.scale())
	j.Door.Address, j.Door.Certificate, j.Logins = s.at[e.service], b.certificate.raw, b.everybody()
	j.Door.TLS = e.service != "imap" && e.service != "imap64"
	j.Others = []int{os.Getpid(), b.backendsPID}
	j.Trees = map[string][]int{e.server: {s.child.pid()}}
	if e.server == nginxName && !r.fresh {
		j.Trees["auth_service"] = []int{b.authPID}
	}
	if j.Kind == "revoke" {
		j.Close = b.closeDomain(true)
	}
	if e.change != nil {
		e.change(&j)
	}
	return j
}

// closeDomain closes the domain of all members, or opens it again.
func (b *bench) closeDomain(closed bool) *apiCall {
	return &apiCall{
		Address: b.servers[latchkeyName].at["api"], Token: b.people.operator,
		Method: "PATCH", Path: "/api/v1/domains/" + benchDomain, Body: fmt.Sprintf(`{"closed":%v}`, closed),
	}
}

// load has a process of its own do a job, and takes any error in it for its failure.
func (b *bench) load(ctx context.Context, j job) (m measurement, err error) {
	ctx, cancel := context.WithTimeout(ctx, jobTime)
	defer cancel()
	c, err := b.nursery.ourselves("load", b.log("load"))
	if err != nil {
		return m, err
	}
	defer b.nursery.over(c)
	if err := c.tell(j); err != nil {
		return m, err
	}
	if err := c.hear(ctx, &m); err != nil {
		return m, fmt.Errorf("%w\n%s", err, lastLines(b.log("load")))
	}
	if m.Errors > 0 || m.Problem != "" {
		return m, fmt.Errorf("%w: %d errors, %s", errWithMistakes, m.Errors, m.Problem)
	}
	return m, nil
}
