package relay

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"
)

// slow is a sink whose sides take what they are told to take, and keep the rest.
type slow struct {
	room map[Side]bool
	log  []string // what happened, in order; runs of writes to one side are one entry
	out  map[Side][]byte
}

func newSlow() *slow {
	return &slow{room: map[Side]bool{Client: true, Upstream: true}, out: map[Side][]byte{}}
}

func (s *slow) write(to Side, p []byte) (bool, error) {
	s.out[to] = append(s.out[to], p...)
	s.log = append(s.log, fmt.Sprintf("%s %q", to, p))
	return !s.room[to], nil
}

func (s *slow) sayLast(p []byte) (bool, error) {
	full, err := s.write(Client, p)
	s.log[len(s.log)-1] += " last"
	return full, err
}

func (s *slow) endWrite(to Side) bool { s.log = append(s.log, "end "+string(to)); return true }
func (s *slow) half(from Side)        {}
func (s *slow) blame(_ Side, cause error) {
	if cause != nil {
		s.log = append(s.log, "blame "+cause.Error())
	}
}

func (s *slow) leaveUpstream(reset bool) {
	s.log = append(s.log, map[bool]string{true: "reset", false: "close"}[reset])
}

func (s *slow) did(t *testing.T, want ...string) {
	t.Helper()
	if !slices.Equal(s.log, want) {
		t.Errorf("did %q, want %q", s.log, want)
	}
	s.log = nil
}

// swift is a sink that takes everything at once.
type swift struct{ sink }

func (swift) write(Side, []byte) (bool, error) { return false, nil }

// plainly forwards whole lines, but for those that name something else to do; Part closes with a word.
type plainly struct{ asked int }

func (*plainly) FromClient(p []byte) Action {
	n := bytes.IndexByte(p, '\n') + 1
	word, _, _ := strings.Cut(string(p[:n]), " ")
	switch word {
	case "":
		return Action{Kind: Hold}
	case "local":
		return Action{Kind: ToClient, N: n, Bytes: p[:n]}
	case "close":
		return Action{Kind: Close, Bytes: []byte("bye\n")}
	case "abort":
		return Action{Kind: Abort, Bytes: []byte("no\n"), Cause: errors.New("bad")}
	case "panic":
		panic("at the splitter")
	}
	return Action{Kind: Forward, N: n}
}

func (s *plainly) FromUpstream(p []byte) Action { return s.FromClient(p) }

func (s *plainly) Part(bool) (Action, time.Duration) {
	s.asked++
	return Action{Kind: Close, Bytes: []byte("bye\n")}, 0
}

func TestMachineTakesNothingWhileASideIsFull(t *testing.T) {
	out, sp := newSlow(), &plainly{}
	m := newMachine(sp, out)
	out.room[Upstream] = false
	m.came(Client, []byte("one\ntwo\nlocal 3\nfour\n"))
	out.did(t, `upstream "one\ntwo\n"`, `client "local 3\n"`) // what was asked is done, and nothing else begun
	if m.wants(Client) || m.wants(Upstream) || m.stalled() || !m.next().IsZero() {
		t.Errorf("wants %v, %v, stalled %v, next %v", m.wants(Client), m.wants(Upstream), m.stalled(), m.next())
	}
	m.came(Upstream, []byte("1\n")) // a driver that has read it already
	m.came(Client, []byte("five\n"))
	m.ended(Client)
	out.did(t)
	out.room[Upstream] = true
	m.writable(Upstream)
	out.did(t, `upstream "four\nfive\n"`, `client "1\n"`, "end upstream")
	if m.wants(Client) || !m.wants(Upstream) || m.over() {
		t.Error("after the client's end")
	}
	m.ended(Upstream)
	out.did(t, "end client")
	if !m.over() || m.taken(Client) != 26 || m.taken(Upstream) != 2 {
		t.Errorf("over %v, taken %d and %d", m.over(), m.taken(Client), m.taken(Upstream))
	}
}

// Nobody leaves before what he leaves behind has gone out, whatever makes him leave.
func TestMachineLeavesWhenBothSidesHaveGotEverything(t *testing.T) {
	tests := map[string]struct {
		says string
		ask  func(m *machine)
		then []string
	}{
		"close":   {"one\nclose \n", func(*machine) {}, []string{"close", `client "bye\n" last`, "end client"}},
		"abort":   {"one\nabort \n", func(*machine) {}, []string{"reset", "blame bad", `client "no\n" last`, "end client"}},
		"drained": {"one\n", func(m *machine) { m.part(false, errors.New("down")) }, []string{"close", "blame down", `client "bye\n" last`, "end client"}},
		"cut":     {"one\ntwo", func(m *machine) { m.part(true, nil) }, []string{"close", `client "bye\n" last`, "end client"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			out := newSlow()
			m := newMachine(&plainly{}, out)
			out.room[Upstream] = false
			m.came(Client, []byte(test.says))
			out.did(t, `upstream "one\n"`)
			test.ask(&m)
			out.did(t)
			m.writable(Upstream)
			out.did(t, test.then...)
			if m.over() || !m.wants(Client) || m.wants(Upstream) {
				t.Error("the client's rest is not swallowed")
			}
			m.came(Client, make([]byte, swallowMost))
			if !m.over() {
				t.Error("no end of it")
			}
		})
	}
}

func TestMachineLastWordIsBounded(t *testing.T) {
	for _, taken := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			out := newSlow()
			m := newMachine(&plainly{}, out)
			out.room[Client] = false
			start := time.Now()
			m.came(Client, []byte("close \n"))
			out.did(t, "close", `client "bye\n" last`)
			if got := m.next().Sub(start); got != lastWord || m.wants(Client) {
				t.Errorf("waits %v, wants %v", got, m.wants(Client))
			}
			if taken {
				m.writable(Client)
				out.did(t, "end client")
				if got := m.next().Sub(start); got != swallowTime || !m.wants(Client) {
					t.Errorf("waits %v, wants %v", got, m.wants(Client))
				}
			}
			m.tick() // too early
			if m.over() {
				t.Error("over before its time")
			}
			time.Sleep(time.Until(m.next()))
			if m.tick(); !m.over() {
				t.Error("not over in time")
			}
			out.did(t)
		})
	}
}

// What goes wrong after the last word is not why the session ended.
func TestMachineBlamesTheFirst(t *testing.T) {
	out := newSlow()
	m := newMachine(&plainly{}, out)
	m.came(Client, []byte("close \n"))
	m.broke(Client, errors.New("reset by peer"))
	out.did(t, "close", `client "bye\n" last`, "end client")
	if !m.over() {
		t.Error("goes on")
	}
}

func TestMachineCatchesPanics(t *testing.T) {
	out := newSlow()
	m := newMachine(&plainly{}, out)
	m.came(Client, []byte("one\n"))
	out.did(t, `upstream "one\n"`)
	m.came(Upstream, []byte("panic \n"))
	out.did(t, "blame panic in the relay: at the splitter", "reset")
	if !m.over() {
		t.Error("goes on")
	}
}

// An idle session holds the machine and nothing more; what is held does not keep the buffer of what was.
func TestMachineHoldsNoBuffer(t *testing.T) {
	if size := unsafe.Sizeof(machine{}); size > 192 {
		t.Errorf("a machine has %d octets", size)
	}
	out := newSlow()
	m := newMachine(&plainly{}, out)
	m.came(Client, bytes.Repeat([]byte("x"), 30<<10))
	m.came(Client, []byte("\nhalf a line"))
	if c := cap(m.client.held); string(m.client.held) != "half a line" || c > 64 {
		t.Errorf("holds %q in %d", m.client.held, c)
	}
	m.came(Client, []byte("\n"))
	if m.client.held != nil || m.exit != nil {
		t.Errorf("holds %v, %v", m.client.held, m.exit)
	}
	m.sink = swift{}
	line := []byte("NOOP\n")
	if got := testing.AllocsPerRun(100, func() { m.came(Client, line) }); got > 0 {
		t.Errorf("%v allocations for a line", got)
	}
}

// However the octets come, and whenever which side is full, both sides get the same.
func TestMachineSchedules(t *testing.T) {
	in := map[Side]string{}
	for i := range 200 {
		in[Client] += fmt.Sprintf("command %d\n", i)
		in[Upstream] += fmt.Sprintf("answer %d%s\n", i, strings.Repeat("!", i*7%400))
	}
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 6))
		out := newSlow()
		m := newMachine(&plainly{}, out)
		left := map[Side]string{Client: in[Client], Upstream: in[Upstream]}
		stuck := map[Side]bool{}
		for turns := 0; !m.over(); turns++ {
			if turns > 100_000 {
				t.Fatalf("seed %d: no end; wants %v and %v", seed, m.wants(Client), m.wants(Upstream))
			}
			side := []Side{Client, Upstream}[random.IntN(2)]
			switch out.room[side] = random.IntN(3) > 0; {
			case stuck[side]:
				stuck[side] = false
				m.writable(side)
			case !m.wants(side):
			case left[side] == "":
				m.ended(side)
			default:
				n := min(len(left[side]), 1+random.IntN(3000))
				m.came(side, []byte(left[side][:n]))
				left[side] = left[side][n:]
			}
			stuck[Client], stuck[Upstream] = m.client.full, m.upstream.full
		}
		if string(out.out[Upstream]) != in[Client] || string(out.out[Client]) != in[Upstream] || slices.ContainsFunc(out.log, func(s string) bool {
			return strings.HasPrefix(s, "blame") || s == "reset"
		}) {
			t.Fatalf("seed %d: %q", seed, out.log)
		}
	}
}
