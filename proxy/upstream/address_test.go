package upstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/authcore"
	"latchkey/proxy/proxytest"
)

// Members are spread evenly; when an address dies its members move and no others, and they come back by and by.
func TestChooseIsStable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := addresses([]string{"a:143", "b:143", "c:143"})
		const members = 3000
		of := func() (at [members]string) {
			for i := range at {
				at[i] = choose(all, fmt.Sprintf("m%d@new.example", i), time.Now())[0].at
			}
			return at
		}
		before, n := of(), map[string]int{}
		for _, at := range before {
			n[at]++
		}
		for at, k := range n {
			if k < members/4 || k > members/2 {
				t.Errorf("%s has %d of %d members", at, k, members)
			}
		}
		all[1].failed(errors.New("refused"), time.Now())
		for i, at := range of() {
			if before[i] != "b:143" && at != before[i] || at == "b:143" {
				t.Fatalf("member %d went from %s to %s when b died", i, before[i], at)
			}
		}
		all[1].connected(time.Now())
		back := func() (k int) {
			for i, at := range of() {
				switch {
				case at == "b:143":
					k++
				case before[i] != "b:143" && at != before[i]:
					t.Fatalf("member %d went from %s to %s when b came back", i, before[i], at)
				}
			}
			return k
		}
		last := 0
		for _, c := range []struct{ after, low, high time.Duration }{{0, 0, 0}, {ramp / 3, 25, 42}, {ramp / 3, 58, 75}, {ramp / 3, 100, 100}} {
			time.Sleep(c.after)
			k := back()
			if percent := time.Duration(100 * k / n["b:143"]); percent < c.low || percent > c.high || k < last {
				t.Errorf("%d %% of b's members are back, want %d to %d", percent, c.low, c.high)
			}
			last = k
		}
	})
}

func TestChooseAsksTheDeadSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := addresses([]string{"a:143"})
		all[0].failed(errors.New("refused"), time.Now())
		for i, want := range []int{0, 0, 1, 0, 1, 0} {
			if i%2 == 0 && i > 0 {
				time.Sleep(trialEvery)
			}
			if got := len(choose(all, "m", time.Now())); got != want {
				t.Errorf("look %d: %d addresses, want %d", i, got, want)
			}
		}
	})
}

// Whose address a request goes to is asked before anybody connects: that is no trial of a dead one.
func TestWayOfIsNoTrial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := Server{Name: "dav", Protocol: HTTPProtocol, Addresses: []string{"a:80", "b:80"}, Way: Header, Header: "X-Remote-User"}
		h, err := poolOf(t, Options{Servers: []Server{s}}).HTTP("dav")
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range h.s.addresses {
			a.failed(errors.New("refused"), time.Now())
		}
		time.Sleep(trialEvery)
		_ = h.wayOf("m")
		for _, want := range []int{2, 0} {
			if got := len(choose(h.s.addresses, "", time.Now())); got != want {
				t.Errorf("%d addresses may be tried, want %d", got, want)
			}
		}
	})
}

// A sick address is for those who have no other.
func TestChooseTriesTheSickLast(t *testing.T) {
	all := addresses([]string{"a:143", "b:143"})
	all[0].probed(errors.New("greeting"), false, time.Now())
	for i := range 20 {
		if got := choose(all, fmt.Sprint(i), time.Now()); len(got) != 2 || got[0].at != "b:143" {
			t.Fatalf("member %d: %s first of %d", i, got[0].at, len(got))
		}
	}
}

// All addresses dead: the second client is told so at once, with what is known of each.
func TestDialWhenAllAreDown(t *testing.T) {
	a, b := proxytest.Refusing(t), proxytest.Refusing(t)
	p := pool(t, Server{Name: "mail", Protocol: IMAP, Addresses: []string{a, b}})
	_, err := p.Dial(t.Context(), member("mail"), someone)
	wantStep(t, err, "mail", StepConnect)
	_, err = p.Dial(t.Context(), member("mail"), someone)
	wantStep(t, err, "mail", StepConnect)
	if !errors.Is(err, errDown) || !strings.Contains(err.Error(), a) || !strings.Contains(err.Error(), "refused") {
		t.Errorf("error %v, want that both are down and why", err)
	}
	for _, h := range p.Health()[0].Addresses {
		if h.Well || h.Since.IsZero() || h.Problem == "" {
			t.Errorf("health %+v", h)
		}
	}
}

// A client that gives up says nothing about the address.
func TestDialGivenUpBlamesNobody(t *testing.T) {
	p := pool(t, Server{Name: "mail", Protocol: IMAP, Addresses: []string{"192.0.2.1:143"}})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Dial(ctx, member("mail"), someone); err == nil {
		t.Fatal("a dial under an ended context succeeded")
	}
	if h := p.Health()[0].Addresses[0]; !h.Well {
		t.Errorf("health %+v", h)
	}
}

// A member whose address dies is led to the other, and back when Run finds it alive and the ramp is over.
func TestDialFailsOverAndBack(t *testing.T) {
	greet := func(name string) *fake {
		f := imapServer("IMAP4rev1", "")
		f.greeting = "* OK " + name + "\r\n"
		return f
	}
	alive := greet("b").start(t)
	socket := filepath.Join(t.TempDir(), "a") // nobody else takes it meanwhile, as a port might be
	dead := unixPrefix + socket
	p := pool(t, Server{Name: "mail", Protocol: IMAP, Addresses: []string{dead, alive}})
	mine := authcore.Upstream{Name: "mail"}
	for i := 0; ; i++ { // one of the dead address's members
		mine.User = fmt.Sprintf("m%d@new.example", i)
		if choose(p.servers["mail"].addresses, mine.User, time.Now())[0].at == dead {
			break
		}
	}
	heard := func() string {
		leg, err := p.Dial(t.Context(), mine, someone)
		if err != nil {
			t.Fatal(err)
		}
		defer leg.Close()
		line, err := leg.ReadLine(100)
		if err != nil {
			t.Fatal(err)
		}
		return string(line)
	}
	if got := heard(); got != "* OK b" {
		t.Errorf("while a is down: %q", got)
	}
	ln, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write([]byte("* OK a\r\n"))
			_ = c.Close()
		}
	}()
	t.Cleanup(func() { _ = ln.Close() })
	a := p.servers["mail"].addresses[0]
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); p.revive(ctx, p.servers["mail"]) }()
	for deadline := time.Now().Add(10 * time.Second); a.isDown(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("a was not found alive")
		}
	}
	cancel()
	<-done
	a.mu.Lock()
	a.since = a.since.Add(-ramp)
	a.mu.Unlock()
	if got := heard(); got != "* OK a" {
		t.Errorf("when a is back: %q", got)
	}
}

// An address that accepts and lets nobody in is left alone after three members, not after one; then one client at a time
// tries it, and who is let in brings it back.
func TestHungAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := addresses([]string{"a:143", "b:143"})
		a, silence := all[0], os.ErrDeadlineExceeded
		mine := func() (n int) {
			for i := range 100 {
				if choose(all, fmt.Sprint("m", i), time.Now())[0] == a {
					n++
				}
			}
			return n
		}
		belong := mine()
		for range 2 * hungAfter {
			a.unanswered("one and the same", silence, time.Now())
		}
		if got := mine(); got != belong {
			t.Errorf("one member waits in vain: %d of %d are led there", got, belong)
		}
		a.unanswered("another", silence, time.Now())
		a.answered(time.Now())
		a.unanswered("a third", silence, time.Now())
		a.unanswered("a fourth", silence, time.Now())
		if a.isHung() {
			t.Error("somebody was let in between, and it is taken for hung")
		}
		a.unanswered("a fifth", silence, time.Now())
		if got, h := mine(), a.health(); got != 0 || h.Well || h.Problem == "" {
			t.Errorf("%d are led to it, health %+v", got, h)
		}
		if a.connected(time.Now()); !a.isHung() {
			t.Error("that it accepts brings it back")
		}
		time.Sleep(hungFor)
		if got := mine(); got > 1 {
			t.Errorf("after a while %d try it, want one at most", got)
		}
		time.Sleep(hungFor)
		if a.probed(silence, true, time.Now()); mine() != 0 {
			t.Error("a client tries it though a probe finds it hung")
		}
		if a.probed(nil, false, time.Now()); !a.isHung() {
			t.Error("a probe that signs nobody in brings it back")
		}
		a.answered(time.Now())
		time.Sleep(ramp)
		if got := mine(); got != belong {
			t.Errorf("%d of %d are back", got, belong)
		}
	})
}

// A server that greets nobody costs three members their time, and the others go elsewhere; refusals count for nothing.
func TestDialLeavesTheHungAlone(t *testing.T) {
	quiet := (&fake{answer: func(string, map[string]string) string { return "" }}).start(t)
	well := imapServer("IMAP4rev1", "").start(t)
	p := pool(t, Server{Name: "mail", Protocol: IMAP, Addresses: []string{quiet, well}})
	at := p.servers["mail"].addresses[0]
	var mine []string
	for i := 0; len(mine) < 2*hungAfter; i++ {
		if m := fmt.Sprintf("m%d@new.example", i); choose(p.servers["mail"].addresses, m, time.Now())[0] == at {
			mine = append(mine, m)
		}
	}
	for i := range 2 * hungAfter {
		p.servers["mail"].came(at, fmt.Sprint("refused", i), errors.New("NO [AUTHENTICATIONFAILED]"))
	}
	for i, m := range mine {
		leg, err := p.Dial(t.Context(), authcore.Upstream{Name: "mail", User: m}, someone)
		if err != nil {
			t.Fatal(err)
		}
		if got := leg.RemoteAddr().String(); (got == quiet) != (i < hungAfter) {
			t.Errorf("member %d is led to %s", i, got)
		}
		leg.Came(fmt.Errorf("greeting: %w", os.ErrDeadlineExceeded))
		_ = leg.Close()
	}
	if !at.isHung() {
		t.Error("it is not taken for hung")
	}
}
