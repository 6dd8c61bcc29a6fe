package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"runtime/debug"
	"time"
)

// loopback is the only place where anything is listened or loaded.
const loopback = "127.0.0.1"

// Bounds of one load. They are twice to ten times what any row asks for: a mistake must not become a flood.
const (
	maxSessions    = 20_000
	maxConcurrency = 1_000
	maxGuessers    = 6_000
	maxSeconds     = 60
	maxMegabytes   = 2_048 // of one FETCH
	maxInAll       = 32 << 10
	maxOperations  = 2_000_000
	maxMistakes    = 20 // then there is no point in going on
	loadMemory     = 2 << 30
	unmeasuredGC   = 400              // clients and servers behind take less time from those that are measured
	exchangeTime   = 20 * time.Second // one step of a dialogue, at a server that has much to do
	settleTime     = 6 * time.Second  // before memory is read, where nothing is shortened: servers tidy up for some seconds
)

// A job is what a load process is told to do: one measurement of one server.
type job struct {
	Kind        string           `json:"kind"` // of loads
	Door        door             `json:"door"`
	Logins      []login          `json:"logins"` // taken in turn
	Concurrency int              `json:"concurrency,omitempty"`
	Seconds     float64          `json:"seconds,omitempty"`
	Sessions    int              `json:"sessions,omitempty"`
	Megabytes   int              `json:"megabytes,omitempty"` // of one FETCH
	Times       int              `json:"times,omitempty"`     // FETCHes of a connection
	Settle      float64          `json:"settle,omitempty"`    // seconds before memory is read
	Path        string           `json:"path,omitempty"`      // of a request
	Rate        int              `json:"rate,omitempty"`      // wrong sign-ins a second
	Victims     []string         `json:"victims,omitempty"`   // whose passwords are guessed
	Close       *apiCall         `json:"close,omitempty"`     // ends all sessions
	Trees       map[string][]int `json:"trees"`               // whose processor time and memory is measured
	Others      []int            `json:"others,omitempty"`    // processes of ours that are not
}

// login is somebody who may come in.
type login struct {
	User     string `json:"user"`
	Password string `json:"password"`
}

// A measurement is what a job came to.
type measurement struct {
	Figures    map[string]float64 `json:"figures,omitempty"`
	Operations int64              `json:"operations"`
	Errors     int64              `json:"errors"`
	Problem    string             `json:"problem,omitempty"` // the first error
}

// loads are the kinds of jobs.
var loads = map[string]func(context.Context, job) (measurement, error){
	"signin":   signinLoad,
	"pop3":     pop3Load,
	"noop":     noopLoad,
	"message":  messageLoad,
	"propfind": propfindLoad,
	"bulk":     bulkLoad,
	"idle":     idleLoad,
	"keep":     keepLoad,
	"revoke":   revokeLoad,
	"flood":    floodLoad,
}

var errOutOfBounds = errors.New("out of bounds")

// check refuses what is not loopback, or too much.
func (j job) check() error {
	addresses := []string{j.Door.Address}
	if j.Close != nil {
		addresses = append(addresses, j.Close.Address)
	}
	for _, address := range addresses {
		at, err := netip.ParseAddrPort(address)
		if err != nil || !at.Addr().IsLoopback() {
			return fmt.Errorf("%q is not an address of loopback, and nothing else is loaded", address)
		}
	}
	switch {
	case loads[j.Kind] == nil:
		return fmt.Errorf("no load %q", j.Kind)
	case len(j.Logins) == 0:
		return errors.New("nobody to sign in")
	case j.Concurrency > maxConcurrency, j.Sessions > maxSessions, j.Megabytes > maxMegabytes, j.Rate > maxGuessers,
		j.Concurrency < 0, j.Sessions < 0, j.Megabytes < 0, j.Times < 0, j.Rate < 0,
		max(1, j.Concurrency)*j.Times*j.Megabytes > maxInAll,
		!(j.Seconds >= 0 && j.Seconds <= maxSeconds), !(j.Settle >= 0 && j.Settle <= maxSeconds):
		return errOutOfBounds
	}
	return nil
}

// loadRole does one job and answers a measurement. It ends when its standard input does, for then nobody wants to know.
func loadRole(ctx context.Context, s streams, _ []string) error {
	debug.SetMemoryLimit(loadMemory)
	debug.SetGCPercent(unmeasuredGC)
	words := json.NewDecoder(s.in)
	var j job
	if err := words.Decode(&j); err != nil {
		return fmt.Errorf("read the job: %w", err)
	}
	if err := j.check(); err != nil {
		return err
	}
	go func() {
		_, _ = io.Copy(io.Discard, s.in) // whatever ends it
		os.Exit(1)
	}()
	m, err := loads[j.Kind](ctx, j)
	if err != nil {
		m.Errors, m.Problem = max(1, m.Errors), err.Error()
	}
	return json.NewEncoder(s.out).Encode(m)
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// pause waits, and answers whether to go on.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
