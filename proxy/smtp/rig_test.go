package smtp

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"latchkey/proxy/relay"
)

// rig drives a splitter as the relay does, without goroutines.
type rig struct {
	s        *splitter
	client   []byte // came from the client, not yet taken
	upstream []byte
	toClient bytes.Buffer
	toUp     bytes.Buffer
	ended    string // "close" or "abort"
	cause    error
	leaving  bool
	cut      bool
	wait     time.Duration
	how      relay.Action
}

func (r *rig) fromClient(p []byte)   { r.client = append(r.client, p...); r.pump() }
func (r *rig) fromUpstream(p []byte) { r.upstream = append(r.upstream, p...); r.pump() }

// pump lets both sides go on until neither moves.
func (r *rig) pump() {
	for moved := true; moved; {
		c := r.judge(&r.client, r.s.FromClient, &r.toUp)
		u := r.judge(&r.upstream, r.s.FromUpstream, &r.toClient)
		moved = c || u
	}
}

func (r *rig) judge(held *[]byte, ask func([]byte) relay.Action, to *bytes.Buffer) (moved bool) {
	for len(*held) > 0 && r.ended == "" && !(r.cut && held == &r.client) {
		a := ask(*held)
		if a.Kind == relay.Hold {
			return moved
		}
		moved = true
		r.act(a, *held, to)
		*held = (*held)[a.N:]
		if r.leaving && r.ended == "" {
			r.part(!r.cut)
		}
	}
	return moved
}

func (r *rig) act(a relay.Action, p []byte, to *bytes.Buffer) {
	switch {
	case a.Kind == relay.Forward && a.N > 0 && a.N <= len(p):
		to.Write(p[:a.N])
	case a.Kind == relay.Drop && a.N > 0 && a.N <= len(p):
	case a.Kind == relay.ToClient && a.N <= len(p):
		r.toClient.Write(a.Bytes)
	case a.Kind == relay.ToUpstream && a.N <= len(p):
		r.toUp.Write(a.Bytes)
	default:
		r.end(a)
	}
}

func (r *rig) end(a relay.Action) {
	switch {
	case a.N != 0:
		r.ended = "impossible"
	case a.Kind == relay.Close:
		r.ended = "close"
	case a.Kind == relay.Abort:
		r.ended = "abort"
	default:
		r.ended = "impossible"
	}
	r.cause = a.Cause
	r.toClient.Write(a.Bytes)
}

// part asks for an end, as Cut and Drain do.
func (r *rig) part(drain bool) {
	r.leaving, r.cut = true, r.cut || !drain
	r.how, r.wait = r.s.Part(drain)
	if r.wait == 0 {
		r.end(r.how)
	}
}

// The scripts of the splitter use the letters of proxytest's: C and S are the client's side, U and V the upstream's.
// Further words: CUT and DRAIN (leave, at once), CUT 900ms and DRAIN 10m0s (leave, not before that), LATE (the time is
// over), CLOSED and ABORTED (how it ended), each perhaps with a regular expression for the cause.
func TestSplitter(t *testing.T) {
	files, err := filepath.Glob("testdata/splitter/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no scripts")
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".txt")
		for cut, chunk := range map[string]int{"": 1 << 30, " by octets": 1, " by sevens": 7} {
			t.Run(name+cut, func(t *testing.T) { play(t, file, chunk) })
		}
	}
}

func play(t *testing.T, file string, chunk int) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	p := player{rig: &rig{s: &splitter{own: []string{"a@new.example", "alias@new.example"}}}, chunk: chunk}
	for i, line := range strings.Split(string(text), "\n") {
		if line == "" || line[0] == '#' {
			continue
		}
		verb, rest, _ := strings.Cut(line, " ")
		if err := p.do(verb, rest); err != nil {
			t.Fatalf("%s:%d: %s\n%v", file, i+1, line, err)
		}
	}
	if err := p.quiet(); err != nil {
		t.Fatalf("%s: at the end: %v", file, err)
	}
}

type player struct {
	*rig
	chunk int
	told  bool // CLOSED or ABORTED was checked
}

func (p *player) do(verb, rest string) error {
	if len(verb) == 2 && strings.ContainsRune("CUSV", rune(verb[0])) {
		octets := []byte(rest + "\r\n")
		if verb[1] == '>' {
			var err error
			if octets, err = unquote(rest); err != nil {
				return err
			}
		}
		return p.talk(verb, octets)
	}
	switch verb {
	case "SET":
		return p.set(rest)
	case "CUT", "DRAIN":
		return p.leave(verb == "DRAIN", rest)
	case "LATE":
		p.end(p.how)
		return nil
	case "CLOSED", "ABORTED":
		p.told = true
		want := map[string]string{"CLOSED": "close", "ABORTED": "abort"}[verb]
		if p.ended != want || !regexp.MustCompile(rest).MatchString(fmt.Sprint(p.cause)) {
			return fmt.Errorf("got %q, cause %v", p.ended, p.cause)
		}
		return nil
	}
	return errors.New("unknown word")
}

func (p *player) talk(verb string, octets []byte) error {
	switch verb[0] {
	case 'C':
		return p.send(octets, p.fromClient)
	case 'U':
		return p.send(octets, p.fromUpstream)
	case 'S':
		return expect(&p.toClient, octets, verb[1] == '~')
	default:
		return expect(&p.toUp, octets, verb[1] == '~')
	}
}

func (p *player) send(octets []byte, to func([]byte)) error {
	if p.ended != "" {
		return fmt.Errorf("over already: %s, %v", p.ended, p.cause)
	}
	for len(octets) > 0 {
		n := min(p.chunk, len(octets))
		to(octets[:n])
		octets = octets[n:]
	}
	return nil
}

func expect(from *bytes.Buffer, want []byte, pattern bool) error {
	if pattern {
		line, _ := from.ReadBytes('\n')
		if !regexp.MustCompile(string(bytes.TrimSpace(want))).Match(bytes.TrimSuffix(line, []byte("\r\n"))) {
			return fmt.Errorf("got %q", line)
		}
		return nil
	}
	if got := from.Next(len(want)); !bytes.Equal(got, want) {
		return fmt.Errorf("got %q, then %q", got, from.Next(200))
	}
	return nil
}

func (p *player) set(rest string) error {
	switch key, value, _ := strings.Cut(rest, " "); key {
	case "sender":
		p.s.any = value == "any"
	case "extensions":
		for _, e := range strings.Fields(value) {
			p.s.ext.note(e)
		}
	case "received":
		p.s.trace = &trace{host: "door.example", helo: value, id: "s1"}
	default:
		return errors.New("unknown setting")
	}
	return nil
}

func (p *player) leave(drain bool, wait string) error {
	if err := p.silent(); err != nil {
		return err
	}
	p.part(drain)
	if wait == "" {
		wait = "0s"
	}
	if p.wait.String() != wait {
		return fmt.Errorf("waits %v", p.wait)
	}
	return nil
}

func (p *player) silent() error {
	if p.toClient.Len()+p.toUp.Len() > 0 {
		return fmt.Errorf("unexpected: client got %q, upstream got %q", p.toClient.Bytes(), p.toUp.Bytes())
	}
	return nil
}

func (p *player) quiet() error {
	if p.ended != "" && !p.told {
		return fmt.Errorf("%s, cause %v", p.ended, p.cause)
	}
	return p.silent()
}

var quoted = regexp.MustCompile(`("(?:[^"\\]|\\.)*")(?:\*(\d+))?`)

// unquote reads Go strings, each perhaps repeated.
func unquote(s string) ([]byte, error) {
	var out []byte
	for _, m := range quoted.FindAllStringSubmatch(s, -1) {
		text, err := strconv.Unquote(m[1])
		if err != nil {
			return nil, err
		}
		times := 1
		if m[2] != "" {
			times, _ = strconv.Atoi(m[2])
		}
		out = append(out, strings.Repeat(text, times)...)
	}
	return out, nil
}
