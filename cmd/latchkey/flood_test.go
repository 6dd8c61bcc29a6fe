package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A flood of wrong sign-ins, half over kept HTTP connections, half three to a connection at the doors, from thousands of
// addresses, does not keep those with app passwords out, and takes no more memory than there is.

// floodMemory is what the process may take; the Go runtime is told of less, so that it collects in time.
const (
	floodMemory = 256 << 20
	goMemory    = "GOMEMLIMIT=150MiB"
)

// floodPlan is how hard and long the flood is.
type floodPlan struct {
	rate int // wrong sign-ins a second
	long time.Duration
	p99  time.Duration // of good sign-ins
}

func planOfFlood() floodPlan {
	if drillsAreLong() {
		return floodPlan{rate: 1000, long: time.Minute, p99: 250 * time.Millisecond}
	}
	return floodPlan{rate: 150, long: 5 * time.Second, p99: 500 * time.Millisecond} // beside the other tests
}

// floodEvery is longer than the hold: a worker tries once in it.
const floodEvery = 2500 * time.Millisecond

func TestDrillFlood(t *testing.T) {
	s := bareStage(t)
	s.configure(func(text string) string { // everything as it is by default
		return regexp.MustCompile(`limits: \{[^}]*\}`).ReplaceAllString(text, "limits: {hold: 2s}")
	})
	s.seed()
	p := start{args: []string{"serve", "-config", s.file}, sockets: s.sockets, env: []string{goMemory}}.begin(t)
	p.says("latchkey serves")
	plan := planOfFlood()
	ctx, cancel := context.WithTimeout(t.Context(), plan.long)
	defer cancel()
	f := &flood{s: s, from: &addresses{}}
	var all sync.WaitGroup
	f.start(ctx, &all, plan.rate)
	all.Go(func() { f.watch(ctx, t) })
	good := f.goodOnes(ctx, t)
	all.Wait()
	f.tell(t, plan, p, good)
}

// flood is who floods and what is seen of it.
type flood struct {
	s        *stage
	mu       sync.Mutex
	from     *addresses // guarded by mu
	tried    atomic.Int64
	broken   atomic.Int64
	maxSlots atomic.Int64
}

func (f *flood) address() *addresses {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.from.n++
	return &addresses{n: f.from.n - 1}
}

// start begins the workers: each tries once in floodEvery, so that together they keep the rate.
func (f *flood) start(ctx context.Context, all *sync.WaitGroup, rate int) {
	n := rate * int(floodEvery/time.Millisecond) / 1000
	doors := []string{"imap", "smtp", "pop3"}
	for i := range n {
		all.Go(func() {
			if !idle(ctx, floodEvery*time.Duration(i)/time.Duration(n)) {
				return
			}
			for ctx.Err() == nil {
				var err error
				if i%2 == 0 {
					err = f.overHTTP(ctx, i)
				} else {
					err = f.atDoor(ctx, doors[i/2%len(doors)], i)
				}
				if err != nil && ctx.Err() == nil {
					f.broken.Add(1)
					idle(ctx, time.Second)
				}
			}
		})
	}
}

func idle(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// login is somebody's every other time, and else nobody's.
func (f *flood) login(i int) string {
	if i%4 < 2 {
		return f.s.people["account"].Address
	}
	return fmt.Sprintf("nobody-%d@old.example", i)
}

// overHTTP guesses over one connection until it breaks.
func (f *flood) overHTTP(ctx context.Context, i int) error {
	k, err := f.s.dialFrom("api", f.address().next())
	if err != nil {
		return err
	}
	defer k.Close()
	r := bufio.NewReader(k)
	for ctx.Err() == nil {
		next := time.Now().Add(floodEvery)
		_ = k.SetDeadline(time.Now().Add(patience))
		body, _ := json.Marshal(map[string]string{"login": f.login(i), "password": neverRight + itoa(i)})
		req, err := http.NewRequest("POST", "https://localhost/api/v1/sign-in", bytes.NewReader(body))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/json")
		if err := req.Write(k); err != nil {
			return err
		}
		res, err := http.ReadResponse(r, req)
		if err != nil {
			return err
		}
		_, _ = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
		f.tried.Add(1)
		if !idle(ctx, time.Until(next)) {
			return nil
		}
	}
	return nil
}

// atDoor guesses three times over one connection.
func (f *flood) atDoor(ctx context.Context, protocol string, i int) error {
	k, err := f.s.dialFrom(protocol, f.address().next())
	if err != nil {
		return err
	}
	defer k.Close()
	for attempt := range 3 {
		next := time.Now().Add(floodEvery)
		_ = k.SetDeadline(time.Now().Add(patience))
		if attempt == 0 {
			_, _, err = k.guess(protocol, f.login(i))
		} else {
			_, _, err = k.guessAgain(protocol, f.login(i))
		}
		if err != nil {
			return err
		}
		f.tried.Add(1)
		if !idle(ctx, time.Until(next)) {
			return nil
		}
	}
	return nil
}

var slotsLine = regexp.MustCompile(`(?m)^latchkey_hash_slots_taken (\d+)`)

// watch looks how many slots are taken.
func (f *flood) watch(ctx context.Context, t *testing.T) {
	for idle(ctx, 100*time.Millisecond) {
		res, err := http.Get("http://" + f.s.addr["ops"] + "/metrics")
		if err != nil {
			t.Error(err)
			return
		}
		p, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		m := slotsLine.FindSubmatch(p)
		if m == nil {
			t.Error("no metric tells of the slots")
			return
		}
		n, _ := strconv.ParseInt(string(m[1]), 10, 64)
		f.maxSlots.Store(max(f.maxSlots.Load(), n))
	}
}

// goodOnes sign in with an app password, again and again, and answer how long each took.
func (f *flood) goodOnes(ctx context.Context, t *testing.T) (took []time.Duration) {
	p := f.s.people["app-only"]
	for i := 0; idle(ctx, 50*time.Millisecond); i++ {
		protocol := []string{"imap", "smtp", "pop3"}[i%3]
		began := time.Now()
		got, err := f.s.door(protocol).signIn(f.s.tls, p.Address, p.AppPasswords[0].Secret.Reveal())
		if err != nil || !bytes.HasPrefix([]byte(got), []byte(good[protocol])) {
			t.Errorf("a good one at %s: %q, %v", protocol, got, err)
		}
		took = append(took, time.Since(began))
	}
	return took
}

var peakLine = regexp.MustCompile(`(?m)^VmHWM:\s+(\d+) kB$`)

// tell prints the figures and judges them.
func (f *flood) tell(t *testing.T, plan floodPlan, p *process, good []time.Duration) {
	t.Helper()
	status, err := os.ReadFile("/proc/" + itoa(p.cmd.Process.Pid) + "/status")
	if err != nil {
		t.Fatal(err)
	}
	m := peakLine.FindSubmatch(status)
	if m == nil || len(good) == 0 {
		t.Fatalf("nothing to judge: %d good sign-ins, %s", len(good), status)
	}
	peak, _ := strconv.Atoi(string(m[1]))
	slices.Sort(good)
	p99, slots := good[len(good)*99/100], runtime.NumCPU()
	t.Logf("%d wrong sign-ins in %v (%.0f a second; %d connections broke), %d good ones: median %v, p99 %v; at most %d of %d slots; peak RSS %d MiB",
		f.tried.Load(), plan.long, float64(f.tried.Load())/plan.long.Seconds(), f.broken.Load(), len(good), good[len(good)/2], p99, f.maxSlots.Load(), slots, peak>>10)
	if f.tried.Load() < int64(plan.rate)*int64(plan.long/time.Second)/2 {
		t.Errorf("%d wrong sign-ins: not half the flood that is asked for", f.tried.Load())
	}
	if peak<<10 >= floodMemory {
		t.Errorf("peak RSS %d MiB, want less than %d", peak>>10, floodMemory>>20)
	}
	if p99 >= plan.p99 {
		t.Errorf("p99 of good sign-ins %v, want less than %v", p99, plan.p99)
	}
	if f.maxSlots.Load() > int64(slots) || f.maxSlots.Load() == 0 {
		t.Errorf("%d slots were taken, want at most %d, and some", f.maxSlots.Load(), slots)
	}
}
