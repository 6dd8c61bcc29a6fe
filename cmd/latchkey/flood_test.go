package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"latchkey/authcore/sample"
)

// A flood of wrong sign-ins, half over kept HTTP connections, half three to a connection at the doors, from thousands of
// addresses, does not keep those with app passwords out, and takes no more memory than there is.

// floodMemory is what the process may take; the Go runtime is told of less, so that it collects in time.
const (
	floodMemory = 256 << 20
	goMemory    = "GOMEMLIMIT=190MiB"
)

// floodPlan is how hard and long the flood is.
type floodPlan struct {
	rate  int     // wrong sign-ins a second
	share float64 // of them that must be answered, or it was no flood
	long  time.Duration
	p99   time.Duration // of good sign-ins
}

func planOfFlood() floodPlan {
	if drillsAreLong() {
		return floodPlan{rate: 1000, share: 0.9, long: time.Minute, p99: 250 * time.Millisecond}
	}
	// Beside the other tests a bound on time is one on starvation alone.
	return floodPlan{rate: 150, share: 0.25, long: 5 * time.Second, p99: 4 * time.Second}
}

// floodBefore is how long the flood goes on before the good ones are measured: its connections are there by then.
const floodBefore = 3 * time.Second

func TestDrillFlood(t *testing.T) {
	s := bareStage(t)
	s.configure(func(text string) string { // everything as it is by default
		text = regexp.MustCompile(`limits: \{[^}]*\}`).ReplaceAllString(text, "limits: {hold: 2s}")
		return strings.Replace(text, "log: {level: debug}", "log: {level: info}", 1)
	})
	s.seed()
	p := start{args: []string{"serve", "-config", s.file}, sockets: s.sockets, env: []string{goMemory}, binary: s.floodBinary()}.begin(t)
	p.says("latchkey serves")
	plan := planOfFlood()
	ctx, cancel := context.WithTimeout(t.Context(), floodBefore+plan.long)
	defer cancel()
	f := newFlood(s)
	var all sync.WaitGroup
	all.Go(func() { f.run(ctx, plan.rate) })
	all.Go(func() { f.watch(ctx, t) })
	idle(ctx, floodBefore)
	f.tried.Store(0)
	good := f.goodOnes(ctx, t)
	all.Wait()
	f.tell(t, plan, p, good)
}

// floodBinary is the program itself, at full length; else the test plays it, which is larger by what the tests link.
func (s *stage) floodBinary() string {
	if !drillsAreLong() {
		return ""
	}
	to := s.path("latchkey")
	if out, err := exec.Command(cmp.Or(os.Getenv("GO"), "go"), "build", "-o", to, ".").CombinedOutput(); err != nil {
		s.t.Fatalf("build the program: %v\n%s", err, out)
	}
	return to
}

// flood is who floods and what is seen of it. A guesser waits for his turn; when a turn comes and all are held back, one
// more comes. So there are as many connections as the rate and the hold ask for.
type flood struct {
	s        *stage
	tls      *tls.Config
	turns    [2]chan struct{} // over HTTP, at a door
	from     atomic.Uint32    // addresses so far
	guessers atomic.Int64
	tried    atomic.Int64
	broken   atomic.Int64
	maxSlots atomic.Int64
}

// maxGuessers bounds them: a hold of two seconds and a second on the way.
const maxGuessers = 3000

func newFlood(s *stage) *flood {
	// The certificate is not looked at and the key exchange is a small one: who guesses saves himself what he can.
	conf := &tls.Config{InsecureSkipVerify: true, CurvePreferences: []tls.CurveID{tls.X25519}}
	return &flood{s: s, tls: conf, turns: [2]chan struct{}{make(chan struct{}), make(chan struct{})}}
}

// run gives rate turns a second, half of them over HTTP.
func (f *flood) run(ctx context.Context, rate int) {
	var all sync.WaitGroup
	defer all.Wait()
	began := time.Now()
	for given := 0; idle(ctx, 5*time.Millisecond); {
		for due := int(time.Since(began).Seconds() * float64(rate)); given < due; given++ {
			select {
			case f.turns[given%2] <- struct{}{}:
			default:
				if n := int(f.guessers.Load()); n < maxGuessers {
					f.guessers.Add(1)
					all.Go(func() { f.guess(ctx, n, given%2) })
				}
			}
		}
	}
}

// guess is one guesser: his first turn is now.
func (f *flood) guess(ctx context.Context, n, where int) {
	doors := []string{"imap", "smtp", "pop3"}
	for mine := true; mine || f.turn(ctx, where); mine = false {
		var err error
		if where == 0 {
			err = f.overHTTP(ctx, n)
		} else {
			err = f.atDoor(ctx, doors[n%len(doors)], n)
		}
		if err != nil && ctx.Err() == nil {
			f.broken.Add(1)
		}
	}
}

func (f *flood) turn(ctx context.Context, where int) bool {
	select {
	case <-f.turns[where]:
		return true
	case <-ctx.Done():
		return false
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
func (f *flood) login(n int, somebody, domain string) string {
	if n/2%2 == 0 {
		return f.s.people[somebody].Address
	}
	return fmt.Sprintf("nobody-%d@%s", n, domain)
}

// atDoors is whose door: where a guess costs a hash, or where it is refused without one and only held back. There none
// suspends the member, who goes on signing in.
func (f *flood) atDoors(n int) string {
	if n/4%2 == 0 {
		return f.login(n, "account", sample.Old)
	}
	return f.login(n, "app-only", sample.New)
}

// dial comes from an address that nobody had before.
func (f *flood) dial(ctx context.Context, listener string) (*talk, error) {
	from := &addresses{n: f.from.Add(1)}
	d := &net.Dialer{Timeout: patience, LocalAddr: from.next()}
	c, err := d.DialContext(ctx, "tcp", f.s.addr[listener])
	if err != nil {
		return nil, err
	}
	_ = c.SetDeadline(time.Now().Add(patience)) // a connection that is broken says so when it is used
	return &talk{Conn: tls.Client(c, f.tls), r: bufio.NewReaderSize(nil, 512)}, nil
}

// overHTTP guesses over one connection, a turn each, until it breaks.
func (f *flood) overHTTP(ctx context.Context, n int) error {
	k, err := f.dial(ctx, "api")
	if err != nil {
		return err
	}
	defer k.Close()
	k.r.Reset(k.Conn)
	body := fmt.Sprintf(`{"login":%q,"password":%q}`, f.login(n, "account", sample.Old), neverRight+itoa(n))
	request := []byte("POST /api/v1/sign-in HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: " + itoa(len(body)) + "\r\n\r\n" + body)
	for mine := true; mine || f.turn(ctx, 0); mine = false {
		_ = k.SetDeadline(time.Now().Add(patience))
		if _, err := k.Write(request); err != nil {
			return err
		}
		res, err := http.ReadResponse(k.r, nil)
		if err != nil {
			return err
		}
		_, _ = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
		f.tried.Add(1)
	}
	return nil
}

// atDoor guesses three times over one connection, a turn each.
func (f *flood) atDoor(ctx context.Context, protocol string, n int) error {
	k, err := f.dial(ctx, protocol)
	if err != nil {
		return err
	}
	defer k.Close()
	k.r.Reset(k.Conn)
	for attempt := 0; attempt < 3 && (attempt == 0 || f.turn(ctx, 1)); attempt++ {
		_ = k.SetDeadline(time.Now().Add(patience))
		if attempt == 0 {
			_, _, err = k.guess(protocol, f.atDoors(n))
		} else {
			_, _, err = k.guessAgain(protocol, f.atDoors(n))
		}
		if err != nil {
			return err
		}
		f.tried.Add(1)
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
	p99, slots := good[len(good)*99/100], max(1, runtime.GOMAXPROCS(0)-1)
	t.Logf("%d wrong sign-ins in %v (%.0f a second, by %d guessers; %d connections broke), %d good ones: median %v, p99 %v; at most %d of %d slots; peak RSS %d MiB",
		f.tried.Load(), plan.long, float64(f.tried.Load())/plan.long.Seconds(), f.guessers.Load(), f.broken.Load(), len(good), good[len(good)/2], p99, f.maxSlots.Load(), slots, peak>>10)
	if asked := float64(plan.rate) * plan.long.Seconds(); float64(f.tried.Load()) < plan.share*asked {
		t.Errorf("%d wrong sign-ins, want %.0f and at least %.0f%% of them", f.tried.Load(), asked, 100*plan.share)
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
