package storetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"latchkey/authcore/store"
)

// patience is how long the suite waits for what must come: only a failure takes that long.
const patience = 30 * time.Second

// RunBus runs the suite over buses that open makes, one without subscribers for each test.
func RunBus(t *testing.T, open func(t *testing.T) store.Bus) {
	for _, c := range []struct {
		name string
		test func(t *testing.T, b store.Bus)
	}{
		{"delivery in order", testDelivery},
		{"several subscribers", testSubscribers},
		{"topics apart", testTopics},
		{"slow reader", testSlowReader},
		{"context ends", testSubscriptionEnds},
		{"messages are the caller's", testMessagesOwned},
		{"invalid calls", testBusInvalid},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, open(t)) })
	}
}

func mustSubscribe(ctx context.Context, t *testing.T, b store.Bus, topic string) <-chan []byte {
	t.Helper()
	var ch <-chan []byte
	patiently(t, "subscribe to "+topic, func() (err error) { ch, err = b.Subscribe(ctx, topic); return err })
	return ch
}

func mustPublish(t *testing.T, b store.Bus, topic, msg string) {
	t.Helper()
	patiently(t, "publish to "+topic, func() error { return b.Publish(t.Context(), topic, []byte(msg)) })
}

// patiently repeats what is unavailable for a while: a machine without time has gaps of its own.
func patiently(t *testing.T, doing string, do func() error) {
	t.Helper()
	for until := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		err := do()
		if err == nil {
			return
		}
		if !errors.Is(err, store.ErrUnavailable) || time.Now().After(until) {
			t.Fatalf("%s: %v", doing, err)
		}
	}
}

func wantMessage(t *testing.T, ch <-chan []byte, want string) {
	t.Helper()
	select {
	case got, open := <-ch:
		if !open || string(got) != want {
			t.Errorf("got %q (open: %v), want %q", got, open, want)
		}
	case <-time.After(patience):
		t.Errorf("no message came, want %q", want)
	}
}

// wantClosed reads until the channel is closed and answers how many messages came before.
func wantClosed(t *testing.T, ch <-chan []byte) int {
	t.Helper()
	end := time.After(patience)
	for n := 0; ; n++ {
		select {
		case _, open := <-ch:
			if !open {
				return n
			}
		case <-end:
			t.Fatal("the channel was not closed")
		}
	}
}

func testDelivery(t *testing.T, b store.Bus) {
	mustPublish(t, b, "topic", "nobody hears this")
	ch := mustSubscribe(t.Context(), t, b, "topic")
	for i := range 20 {
		mustPublish(t, b, "topic", fmt.Sprintf("%d \x00\xff", i))
	}
	for i := range 20 {
		wantMessage(t, ch, fmt.Sprintf("%d \x00\xff", i))
	}
}

func testSubscribers(t *testing.T, b store.Bus) {
	var all []<-chan []byte
	for range 10 {
		all = append(all, mustSubscribe(t.Context(), t, b, "topic"))
	}
	ctx, cancel := context.WithCancel(t.Context())
	leaver := mustSubscribe(ctx, t, b, "topic")
	mustPublish(t, b, "topic", "one")
	wantMessage(t, leaver, "one")
	cancel()
	wantClosed(t, leaver)
	mustPublish(t, b, "topic", "two")
	for _, ch := range all {
		wantMessage(t, ch, "one")
		wantMessage(t, ch, "two")
	}
}

func testTopics(t *testing.T, b store.Bus) {
	here := mustSubscribe(t.Context(), t, b, "here")
	there := mustSubscribe(t.Context(), t, b, "here*")
	mustPublish(t, b, "here*", "for there")
	mustPublish(t, b, "here", "for here")
	wantMessage(t, here, "for here")
	wantMessage(t, there, "for there")
}

// A reader that does not read is cut off; nobody else waits for it.
func testSlowReader(t *testing.T, b store.Bus) {
	const tries = 5 // a gap that the machine made cuts off the other reader too
	for range tries {
		slow := mustSubscribe(t.Context(), t, b, "topic")
		quick := mustSubscribe(t.Context(), t, b, "quick")
		body := strings.Repeat("m", 200)
		for range flood {
			mustPublish(t, b, "topic", body)
		}
		well := hears(t, b, quick, "quick")
		if got := wantClosed(t, slow); got >= flood {
			t.Errorf("got all %d messages, want a gap told by closing", got)
		}
		again := mustSubscribe(t.Context(), t, b, "topic")
		if hears(t, b, again, "topic") && well {
			return
		}
	}
	t.Errorf("the other reader was cut off as well, %d times", tries)
}

// flood is ten times what an engine keeps for a reader.
const flood = 5_000

// hears publishes and answers whether all of it came on ch; false: it was closed.
func hears(t *testing.T, b store.Bus, ch <-chan []byte, topic string) bool {
	t.Helper()
	for i := range 100 {
		mustPublish(t, b, topic, fmt.Sprint(i))
		select {
		case got, open := <-ch:
			if !open {
				return false
			}
			if want := fmt.Sprint(i); string(got) != want {
				t.Errorf("got %q, want %q", got, want)
			}
		case <-time.After(patience):
			t.Fatalf("the reader of %q is held up", topic)
		}
	}
	return true
}

func testSubscriptionEnds(t *testing.T, b store.Bus) {
	ctx, cancel := context.WithCancel(t.Context())
	ch := mustSubscribe(ctx, t, b, "topic")
	cancel()
	if n := wantClosed(t, ch); n != 0 {
		t.Errorf("got %d messages, want none", n)
	}
	mustPublish(t, b, "topic", "nobody is there")
	_, err := b.Subscribe(ctx, "topic")
	wantError(t, "subscribe", err, context.Canceled)
	wantError(t, "publish", b.Publish(ctx, "topic", nil), context.Canceled)
}

func testMessagesOwned(t *testing.T, b store.Bus) {
	one := mustSubscribe(t.Context(), t, b, "topic")
	two := mustSubscribe(t.Context(), t, b, "topic")
	msg := []byte("mine")
	if err := b.Publish(t.Context(), "topic", msg); err != nil {
		t.Fatal(err)
	}
	copy(msg, "XXXX")
	got := <-one
	if string(got) != "mine" {
		t.Errorf("got %q, want %q", got, "mine")
	}
	copy(got, "YYYY")
	wantMessage(t, two, "mine")
}

func testBusInvalid(t *testing.T, b store.Bus) {
	tooLong := strings.Repeat("t", store.MaxName+1)
	for _, topic := range []string{"", tooLong} {
		wantError(t, "publish", b.Publish(t.Context(), topic, nil), store.ErrInvalid)
		_, err := b.Subscribe(t.Context(), topic)
		wantError(t, "subscribe", err, store.ErrInvalid)
	}
	wantError(t, "publish too much", b.Publish(t.Context(), "topic", make([]byte, store.MaxValue+1)), store.ErrInvalid)
}
