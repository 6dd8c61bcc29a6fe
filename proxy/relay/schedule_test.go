package relay_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"latchkey/proxy/relay"
	"latchkey/proxy/wire"
)

// A schedule is what both peers of a session do, from one number: what they send in which pieces, how they read, how
// they end, when the session is cut. Whatever happens, what came out must be the front of what went in, and the end
// must be one that the schedule explains.

// FuzzSchedule runs one schedule after the other. LATCHKEY_SCHEDULE=n runs one in TestSchedules.
func FuzzSchedule(f *testing.F) {
	for seed := range uint64(4) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		engines(t, func(t *testing.T, settings relay.Settings) {
			leavesNothing(t, func() {
				r := newScheduleRelay(settings)
				runSchedule(t, r, seed)
				r.Close(errCut)
			})
		})
	})
}

// The same schedules every time, beside each other on one relay, and those that have found something.
func TestSchedules(t *testing.T) {
	if s := os.Getenv("LATCHKEY_SCHEDULE"); s != "" {
		seed, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		runSchedules(t, []uint64{seed})
		return
	}
	runSchedules(t, append(numbers(0, 64), foundSomething...))
}

// Others every time.
func TestDrillSchedules(t *testing.T) {
	n := uint64(40)
	if os.Getenv("LATCHKEY_DRILLS") == "long" {
		n = 2000
	}
	runSchedules(t, numbers(rand.Uint64()>>1, n))
}

func numbers(first, n uint64) (l []uint64) {
	for i := range n {
		l = append(l, first+i)
	}
	return l
}

func runSchedules(t *testing.T, seeds []uint64) {
	engines(t, func(t *testing.T, settings relay.Settings) {
		leavesNothing(t, func() {
			r := newScheduleRelay(settings)
			var all sync.WaitGroup
			slots := make(chan struct{}, 6)
			for _, seed := range seeds {
				slots <- struct{}{}
				all.Go(func() {
					defer func() { <-slots }()
					runSchedule(t, r, seed)
				})
			}
			all.Wait()
			r.Close(errCut)
			if got := r.Counters(); got.Open != 0 || got.Borrowed != 0 || got.Started != int64(len(seeds)) {
				t.Errorf("counters %+v", got)
			}
		})
	})
}

// foundSomething are seeds that have.
var foundSomething = []uint64{
	1925070227963454745, // a close_notify that did not fit any more was lost at an end in order, with a splitter
}

func newScheduleRelay(settings relay.Settings) *relay.Relay {
	r := relay.New(settings)
	r.SetLimits(20*time.Millisecond, 30*time.Second, 4*time.Minute, time.Second)
	r.SetTurn(20 * time.Microsecond) // much of what comes has to wait for another turn
	return r
}

// ending is how a peer leaves.
type ending int

const (
	ends      ending = iota // says its end, hears the other's, closes
	stays                   // hears the other's end first
	notifies                // ends TLS, but not TCP beneath it
	truncates               // ends TCP, but not TLS above it, inside a record if it can
	resets                  // breaks off at some octet
	closes                  // closes when it has said all, whatever is on its way to it
	goesDeaf                // hears no more from some octet on; leaves with the session
)

// control is what is done to the session.
type control int

const (
	leaves control = iota
	cuts
	drains
)

// plan is what a seed means.
type plan struct {
	seed     uint64
	client   part
	upstream part
	split    bool
	control  control
	after    time.Duration // when control acts
	grace    time.Duration // of drains
}

// part is a peer's.
type part struct {
	side      relay.Side
	transport string
	buffers   int // of the sockets, to write; zero: the system's. Where one to read is small and full, TCP takes no ACK any more
	chopped   bool
	size      int // how much it has to say
	pause     int // one in so many writes and reads waits a moment; zero: none
	ending    ending
	at        int // where it resets or goes deaf
}

func planOf(seed uint64) plan {
	rng := rand.New(rand.NewPCG(seed, 0))
	p := plan{seed: seed, split: rng.IntN(4) == 0}
	p.client = partOf(rng, relay.Client, []string{"TCP", "TLS 1.2", "TLS 1.3", "records", "records", "wrapped", "wrapped TLS"})
	p.upstream = partOf(rng, relay.Upstream, []string{"TCP", "TCP", "unix", "TLS 1.2", "TLS 1.3", "records"})
	if rng.IntN(3) == 0 {
		p.control = cuts + control(rng.IntN(2))
	}
	if p.client.ending == stays && p.upstream.ending == stays {
		p.client.ending = ends
	}
	if p.control == leaves && (p.client.ending == goesDeaf || p.upstream.ending == goesDeaf) {
		p.control = cuts
	}
	p.client.limit(p.upstream.buffers)
	p.upstream.limit(p.client.buffers)
	if p.split { // half a line would be held for ever
		p.client.size -= p.client.size % streamLine
		p.upstream.size -= p.upstream.size % streamLine
	}
	p.after = time.Duration(rng.IntN(40_000)) * time.Microsecond
	p.grace = time.Duration(rng.IntN(60)) * time.Millisecond
	return p
}

func partOf(rng *rand.Rand, side relay.Side, transports []string) part {
	p := part{side: side, transport: transports[rng.IntN(len(transports))], chopped: rng.IntN(3) == 0}
	p.buffers = []int{0, 0, 2 << 10, 16 << 10}[rng.IntN(4)]
	p.size = rng.IntN([]int{1, 100, 10 << 10, 100 << 10, 100 << 10, 1 << 20}[rng.IntN(6)])
	p.pause = []int{0, 0, 100, 10}[rng.IntN(4)]
	p.ending = []ending{ends, ends, ends, stays, stays, notifies, truncates, resets, closes, goesDeaf}[rng.IntN(10)]
	p.at = rng.IntN(p.size/streamLine*streamLine + 1)
	if p.transport == "unix" && p.ending == resets {
		p.ending = closes
	}
	return p
}

// limit bounds what there is to say through small sockets, which are slow.
func (p *part) limit(others int) {
	for _, buffers := range []int{p.buffers, others} {
		if most := max(32<<10, 4*buffers); buffers > 0 && p.size > most {
			p.size = most - p.size%streamLine
		}
	}
	p.at = min(p.at, p.size)
}

// orderly says whether the relay sees the part end in order.
func (p part) orderly() bool {
	switch p.ending {
	case truncates:
		return !p.tears()
	case resets, goesDeaf:
		return false
	}
	return true
}

// listens says whether the part hears all that comes.
func (p part) listens() bool { return p.ending != closes && p.ending != resets && p.ending != goesDeaf }

// tears says whether the end comes inside a record. Between two of them crypto/tls takes a bare FIN for an end.
func (p part) tears() bool { return p.ending == truncates && p.transport == "records" }

// harmless says whether the part can be no reason for the session to break.
func (p part) harmless() bool { return p.orderly() && p.ending != closes }

// run is a schedule while it runs.
type run struct {
	t       *testing.T
	plan    plan
	session *relay.Session
	ended   chan struct{} // closed by OnEnd
	calls   atomic.Int32  // of OnEnd
	end     relay.End     // to be read once ended is closed
	cut     atomic.Bool   // Cut has returned
}

func (r *run) fail(format string, a ...any) {
	r.t.Errorf("seed %d: %s\n%+v\nend: %v", r.plan.seed, fmt.Sprintf(format, a...), r.plan, r.endOrNone())
}

func (r *run) endOrNone() any {
	select {
	case <-r.ended:
		return fmt.Sprintf("%+v", r.end)
	default:
		return "none"
	}
}

// actor is one peer of a run.
type actor struct {
	*run
	part, other part
	conn        net.Conn

	asked     atomic.Bool   // for new keys
	begun     atomic.Int64  // octets whose write has begun
	poisoned  atomic.Int64  // how many had when it was known that the session was cut; -1: it is not known
	heard     int64         // octets of the other's stream; owned by listen until it is done
	farewell  bool          // the last word came; owned by listen until it is done
	inOrder   bool          // the end came in order; owned by listen until it is done
	heardEnd  chan struct{} // closed when listen is done
	listenErr error
}

// scheduleLimit bounds a schedule. It takes milliseconds, or some seconds when sockets are small: Linux probes a full one
// five times in a second, and less often later.
const scheduleLimit = 3 * time.Minute

func runSchedule(t *testing.T, engine *relay.Relay, seed uint64) {
	p := planOf(seed)
	r := &run{t: t, plan: p, ended: make(chan struct{})}
	client, upstream := p.client.link(t, seed), p.upstream.link(t, seed+1)
	c := &actor{run: r, part: p.client, other: p.upstream, conn: client.peer, heardEnd: make(chan struct{})}
	u := &actor{run: r, part: p.upstream, other: p.client, conn: upstream.peer, heardEnd: make(chan struct{})}
	o := relay.Options{Farewell: func(error) []byte { return []byte(lastWords) }, Owner: relay.OnEnd(func(e relay.End) {
		if r.calls.Add(1) == 1 {
			r.end = e
			close(r.ended)
		}
	})}
	if p.split {
		o.Splitter = &wholeLines{rng: rand.New(rand.NewPCG(seed, 9))}
	}
	r.session = engine.Start(client.door, upstream.door, o)
	var all sync.WaitGroup
	for _, a := range []*actor{c, u} {
		a.poisoned.Store(-1)
		all.Go(a.speak)
		all.Go(a.listen)
	}
	all.Go(r.command)
	if r.await(&all) {
		r.judge(c, u)
	}
}

// await waits for everybody, and says what hangs if it takes too long.
func (r *run) await(all *sync.WaitGroup) bool {
	done := make(chan struct{})
	go func() { all.Wait(); close(done) }()
	select {
	case <-done:
		return true
	case <-time.After(scheduleLimit):
		stacks := make([]byte, 256<<10)
		r.fail("hangs\n%s", stacks[:runtime.Stack(stacks, true)])
		return false
	}
}

// lastWords are a line that is in no stream.
const lastWords = "* BYE the session ends here\r\n"

// link makes the leg of p.
func (p part) link(t *testing.T, seed uint64) link {
	pair := [2]net.Conn{}
	if p.transport == "unix" {
		pair = unixPair(t)
	} else {
		pair = tcpPair(t)
	}
	if p.buffers > 0 {
		for _, c := range pair { // those to read stay: see buffers
			if err := c.(interface{ SetWriteBuffer(int) error }).SetWriteBuffer(p.buffers); err != nil {
				t.Fatal(err)
			}
		}
	}
	if p.chopped && p.transport != "records" {
		pair[1] = &chopped{Conn: pair[1], rng: rand.New(rand.NewPCG(seed, 5))}
	}
	switch p.transport {
	case "wrapped":
		return over(wrap(pair))
	case "wrapped TLS":
		return tlsOver(t, p.side, wrap(pair), tls.VersionTLS13)
	case "TLS 1.2":
		return tlsOver(t, p.side, pair, tls.VersionTLS12)
	case "TLS 1.3":
		return tlsOver(t, p.side, pair, tls.VersionTLS13)
	case "records":
		return recordsOver(t, p.side, pair)
	}
	return over(pair)
}

// chopped writes in pieces, so that records come in parts.
type chopped struct {
	net.Conn
	rng *rand.Rand // owned by the writer
}

func (c *chopped) Raw() net.Conn { return c.Conn }

func (c *chopped) Write(p []byte) (int, error) {
	for n := 0; n < len(p); {
		size := min(len(p)-n, 1+c.rng.IntN([]int{8, 400, 40_000}[c.rng.IntN(3)]))
		m, err := c.Conn.Write(p[n : n+size])
		if n += m; err != nil {
			return n, err
		}
		runtime.Gosched()
	}
	return len(p), nil
}

// streamLine is the length of the lines of a text.
const streamLine = 64

// text is what a side says in a session: lines of octets that depend on both.
type text struct {
	src *rand.ChaCha8
	at  int
}

func textOf(seed uint64, side relay.Side) *text {
	key := [32]byte{}
	copy(key[:], fmt.Sprintf("%d %s", seed, side))
	return &text{src: rand.NewChaCha8(key)}
}

func (s *text) next(p []byte) {
	_, _ = s.src.Read(p) // never fails
	for i := range p {
		switch (s.at + i) % streamLine {
		case streamLine - 2:
			p[i] = '\r'
		case streamLine - 1:
			p[i] = '\n'
		default:
			p[i] |= 0x80 // no end of a line
		}
	}
	s.at += len(p)
}

// speak says what the part has to say, and ends as it does.
func (a *actor) speak() {
	rng := rand.New(rand.NewPCG(a.plan.seed, uint64(len(a.part.side))))
	src, p := textOf(a.plan.seed, a.part.side), make([]byte, 80<<10)
	rest := a.part.size
	if a.part.ending == resets {
		rest = a.part.at
	}
	for rest > 0 {
		n := a.piece(rng, rest)
		src.next(p[:n])
		a.trouble(rng)
		if a.cut.Load() && a.poisoned.Load() < 0 {
			a.poisoned.Store(a.begun.Load())
		}
		a.begun.Add(int64(n))
		if _, err := a.conn.Write(p[:n]); err != nil {
			break
		}
		rest -= n
		pause(rng, a.part.pause)
	}
	a.leave()
}

func (a *actor) piece(rng *rand.Rand, rest int) int {
	n := 1 + rng.IntN([]int{3, 300, 5000, 80 << 10}[rng.IntN(4)])
	if rng.IntN(2) == 0 {
		n = (n + streamLine - 1) / streamLine * streamLine
	}
	return min(n, rest, 80<<10)
}

// trouble is what TLS may do between octets.
func (a *actor) trouble(rng *rand.Rand) {
	c, ok := a.conn.(*records)
	if !ok {
		return
	}
	switch rng.IntN(12) {
	case 0:
		// An error comes again with the write. Whom crypto/tls has told an end it cannot answer: it loses the keys then.
		ask := a.other.ending == stays || a.other.ending == goesDeaf
		a.asked.Store(a.asked.Load() || ask)
		_ = c.renew(ask)
	case 1:
		_ = c.renew(false)
	case 2:
		_ = c.send(application, nil)
	case 3:
		c.mu.Lock()
		c.padding = rng.IntN(300)
		c.mu.Unlock()
	}
}

func pause(rng *rand.Rand, oneIn int) {
	if oneIn > 0 && rng.IntN(oneIn) == 0 {
		time.Sleep(time.Duration(rng.IntN(3000)) * time.Microsecond)
	}
}

// leave ends the speaking; errors are those of a session that is over already.
func (a *actor) leave() {
	switch a.part.ending {
	case ends:
		_ = wire.CloseWrite(a.conn)
	case stays:
		<-a.heardEnd
		_ = wire.CloseWrite(a.conn)
	case notifies:
		switch c := a.conn.(type) {
		case *tls.Conn:
			_ = c.CloseWrite()
		case *records:
			_ = c.notify()
		default:
			_ = wire.CloseWrite(c)
		}
	case truncates:
		if c, ok := a.conn.(*records); ok {
			_ = c.tear()
		}
		_ = wire.CloseWrite(bare(a.conn))
	case resets:
		_ = wire.Reset(bare(a.conn))
	case closes:
		_ = a.conn.Close()
	case goesDeaf:
		<-a.ended
	}
	<-a.heardEnd
	_ = a.conn.Close()
}

// bare is the socket beneath c.
func bare(c net.Conn) net.Conn {
	for {
		switch v := c.(type) {
		case *tls.Conn:
			c = v.NetConn()
		case *records:
			return v.Conn
		case *chopped:
			return v.Conn
		default:
			return c
		}
	}
}

// listen reads and compares until the end, or until it goes deaf.
func (a *actor) listen() {
	defer close(a.heardEnd)
	rng := rand.New(rand.NewPCG(a.plan.seed, 100+uint64(len(a.part.side))))
	src := textOf(a.plan.seed, a.other.side)
	p, want := make([]byte, 64<<10), make([]byte, 64<<10)
	for a.part.ending != goesDeaf || a.heard < int64(a.part.at) {
		n, err := a.conn.Read(p[:1+rng.IntN([]int{2, 500, len(p)}[rng.IntN(3)])])
		src.next(want[:n])
		if !bytes.Equal(p[:n], want[:n]) {
			a.lastWord(p[:n], want[:n])
			return
		}
		a.heard += int64(n)
		if err != nil {
			a.inOrder, a.listenErr = err == io.EOF, err
			return
		}
		pause(rng, a.part.pause)
	}
}

// lastWord takes what is no more of the stream: a farewell, or nothing that may come.
func (a *actor) lastWord(p, want []byte) {
	same := 0
	for p[same] == want[same] {
		same++
	}
	a.heard += int64(same)
	rest, err := io.ReadAll(a.conn)
	word := string(p[same:]) + string(rest)
	if a.part.side != relay.Client || word != lastWords {
		a.fail("the %s hears %.100q, %v after %d octets", a.part.side, word, err, a.heard)
		return
	}
	a.farewell, a.inOrder = true, err == nil
	if a.heard%streamLine != 0 {
		a.fail("a farewell inside a line, after %d octets", a.heard)
	}
}

// command cuts or drains in its time.
func (r *run) command() {
	if r.plan.control == leaves {
		return
	}
	select {
	case <-time.After(r.plan.after):
	case <-r.ended:
	}
	if r.plan.control == drains {
		r.session.Drain(errCut, r.plan.grace)
		return
	}
	r.session.Cut(errCut)
	r.cut.Store(true)
}

// judge compares what happened with what may have.
func (r *run) judge(c, u *actor) {
	select {
	case <-r.ended:
	case <-time.After(scheduleLimit):
		r.fail("no end")
		return
	}
	if n := r.calls.Load(); n != 1 {
		r.fail("OnEnd was called %d times", n)
	}
	r.judgeCause(c, u)
	r.judgeWay(c, u, r.end.FromClient)
	r.judgeWay(u, c, r.end.FromUpstream)
	if c.farewell && (c.heard != r.end.FromUpstream || !errors.Is(r.end.Cause, errCut)) {
		r.fail("a farewell after %d octets", c.heard)
	}
}

// judgeWay looks at the octets from one peer to the other.
func (r *run) judgeWay(from, to *actor, counted int64) {
	begun, poisoned := from.begun.Load(), from.poisoned.Load()
	if counted > begun {
		r.fail("%d octets counted from the %s, which has said %d", counted, from.part.side, begun)
	}
	if to.heard > counted+mostUncounted {
		r.fail("%d octets heard from the %s, %d counted", to.heard, from.part.side, counted)
	}
	if poisoned >= 0 && to.heard > poisoned && !r.plan.split {
		r.fail("the %s hears %d octets, of which %d were said after the cut", to.part.side, to.heard, to.heard-poisoned)
	}
	if r.end.Cause != nil {
		return
	}
	if from.part.ending != resets && from.part.ending != closes && counted != int64(from.part.size) {
		r.fail("an end in order after %d octets of the %s", counted, from.part.side)
	}
	if to.part.listens() && (to.heard != counted || !to.inOrder) {
		r.fail("an end in order, and the %s hears %d octets, then %v", to.part.side, to.heard, to.listenErr)
	}
}

// mostUncounted is the most that may pass in a write that fails then, and is not counted.
const mostUncounted = 256 << 10

// judgeCause looks whether the plan explains the end.
func (r *run) judgeCause(c, u *actor) {
	e := r.end
	blamed, other := c, u
	if e.Side == relay.Upstream {
		blamed, other = u, c
	}
	switch {
	case errors.Is(e.Cause, errCut):
		if r.plan.control == leaves {
			r.fail("cut by nobody")
		}
	case e.Cause == nil:
		if !c.part.orderly() && !c.eaten(e, u) || !u.part.orderly() && !u.eaten(e, c) {
			r.fail("an end in order of who did not end so")
		}
		if e.Side == "" || blamed.part.ending == stays && other.part.ending != stays {
			r.fail("an end in order by the wrong side")
		}
	case r.plan.split && e.Cause == io.ErrUnexpectedEOF && !other.part.harmless(): // what was held when it had gone
	case e.Side == "" || blamed.part.harmless():
		r.fail("the wrong side is blamed")
	case blamed.part.tears() && !errors.Is(e.Cause, io.ErrUnexpectedEOF):
		r.fail("a truncation is called something else")
	case blamed.asked.Load() && strings.Contains(e.Cause.Error(), "bad record MAC"): // crypto/tls could not answer
	case !errors.Is(e.Cause, io.ErrUnexpectedEOF) && !errors.Is(e.Cause, syscall.ECONNRESET) && !errors.Is(e.Cause, syscall.EPIPE):
		r.fail("an unexplained cause")
	}
}

// eaten says whether the reset of a may have gone unseen: the other side had ended before, and telling a of that met the
// error that a read would have met.
func (a *actor) eaten(e relay.End, other *actor) bool {
	return !a.part.harmless() && e.Side == other.part.side
}

// wholeLines is a splitter that forwards some lines at a time, and nothing else.
type wholeLines struct{ rng *rand.Rand }

func (l *wholeLines) FromClient(p []byte) relay.Action   { return l.some(p) }
func (l *wholeLines) FromUpstream(p []byte) relay.Action { return l.some(p) }

func (l *wholeLines) some(p []byte) relay.Action {
	n := bytes.LastIndexByte(p, '\n') + 1
	if n == 0 {
		return relay.Action{Kind: relay.Hold}
	}
	if l.rng.IntN(2) == 0 {
		n = bytes.IndexByte(p, '\n') + 1
	}
	return relay.Action{Kind: relay.Forward, N: n}
}

func (l *wholeLines) Part(bool) (relay.Action, time.Duration) {
	return relay.Action{Kind: relay.Close, Bytes: []byte(lastWords)}, 0
}
