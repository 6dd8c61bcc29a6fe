package notify

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/authcore/member"
	"latchkey/authcore/secret"
	"latchkey/authcore/store"
	"latchkey/authcore/store/memory"
	"latchkey/authcore/store/storetest"
)

// gate is a Sender that keeps what it got and does what the test says.
type gate struct {
	mu   sync.Mutex
	got  []Outgoing
	does func(o Outgoing) error // nil: takes everything
}

func (g *gate) Send(_ context.Context, o Outgoing) error {
	g.mu.Lock()
	g.got = append(g.got, o)
	does := g.does
	g.mu.Unlock()
	if does != nil {
		return does(o)
	}
	return nil
}

func (g *gate) texts() (l []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, o := range g.got {
		l = append(l, o.Text)
	}
	return l
}

func (g *gate) all() []Outgoing {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.got)
}

type bench struct {
	t        *testing.T
	records  store.Records
	keys     *secret.Keys
	domains  []member.DomainID
	mail     *gate
	sms      *gate
	gaveUp   []Outgoing
	mu       sync.Mutex
	onApply  func(ops []store.Op) storetest.Fault
	channels map[Channel]Sender
	metrics  *Metrics // nil: nothing is counted
}

// inBubble runs f with simulated time.
func inBubble(t *testing.T, f func(t *testing.T, b *bench)) {
	synctest.Test(t, func(t *testing.T) {
		keys, err := secret.NewKeys(time.Now())
		if err != nil {
			t.Fatal(err)
		}
		b := &bench{t: t, keys: keys, domains: []member.DomainID{"d"}, mail: &gate{}, sms: &gate{}}
		b.records = &storetest.Faulty{Records: memory.NewRecords(memory.Options{}), OnApply: b.fault}
		b.channels = map[Channel]Sender{ByEmail: b.mail, BySMS: b.sms}
		f(t, b)
	})
}

func (b *bench) fault(_ string, ops []store.Op) storetest.Fault {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.onApply != nil {
		return b.onApply(ops)
	}
	return storetest.NoFault
}

func (b *bench) fail(f func(ops []store.Op) storetest.Fault) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.onApply = f
}

func (b *bench) outbox() *Outbox { return NewOutbox(b.options(time.Now)) }

func (b *bench) options(now func() time.Time) OutboxOptions {
	return OutboxOptions{
		Records: b.records, Keys: b.keys, Senders: b.channels, Now: now, Log: slog.New(slog.DiscardHandler), Metrics: b.metrics,
		Domains: func(context.Context, string, int) ([]member.DomainID, string, error) { return b.domains, "", nil },
		GaveUp: func(o Outgoing) []store.Op {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.gaveUp = append(b.gaveUp, o)
			return []store.Op{{Kind: store.Put, Name: "told/" + o.ID, Value: []byte("{}")}}
		},
	}
}

// runs one until the test or stop ends it; it has returned when stop returns.
func (b *bench) runs() (o *Outbox, stop func()) {
	o = b.outbox()
	ctx, cancel := context.WithCancel(b.t.Context())
	done := make(chan struct{})
	go func() { defer close(done); o.Run(ctx) }()
	return o, func() { cancel(); <-done }
}

func (b *bench) put(d member.DomainID, c Channel, k Kind, text string, until time.Duration) {
	b.t.Helper()
	op := SendOp(b.keys, Outgoing{Time: time.Now(), Kind: k, Channel: c, To: "ann@example.org", Subject: "s", Text: text}, time.Now().Add(until))
	if _, err := b.records.Apply(b.t.Context(), member.Partition(d), op); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) left(d member.DomainID) int {
	b.t.Helper()
	l, err := b.records.List(b.t.Context(), member.Partition(d), store.Query{Prefix: OutboxPrefix})
	if err != nil {
		b.t.Fatal(err)
	}
	return len(l)
}

// What waits at the start is found, what comes is sent at the hint, and nothing stays.
func TestOutboxSends(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.put("d", ByEmail, PasswordChanged, "before", SendFor)
		o, stop := b.runs()
		defer stop()
		synctest.Wait()
		b.put("d", BySMS, PasswordChanged, "after", SendFor)
		o.Hint("d")
		synctest.Wait()
		if m, s := b.mail.texts(), b.sms.texts(); !slices.Equal(m, []string{"before"}) || !slices.Equal(s, []string{"after"}) || b.left("d") != 0 {
			t.Errorf("e-mail %q, SMS %q, %d left", m, s, b.left("d"))
		}
		if m := b.mail.all()[0]; m.Attempt != 1 || m.To != "ann@example.org" || m.ID == "" {
			t.Errorf("%+v", m)
		}
		b.put("d", ByEmail, PasswordChanged, "unannounced", SendFor)
		time.Sleep(sweepEvery + time.Second)
		synctest.Wait()
		if len(b.mail.texts()) != 2 {
			t.Error("a message without a hint was not found by the sweep")
		}
	})
}

func TestCodesGoFirst(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		for i := range 40 {
			b.put("d", ByEmail, WayAllowed, fmt.Sprint("announcement ", i), SendFor)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		b.put("d", ByEmail, CodeSent, "code", CodeFor)
		release := make(chan struct{})
		b.mail.does = func(Outgoing) error { <-release; return nil }
		_, stop := b.runs()
		defer stop()
		synctest.Wait()
		if l := b.mail.texts(); !slices.Contains(l, "code") || len(l) > lanesOf {
			t.Errorf("begun: %q", l)
		}
		close(release)
		synctest.Wait()
		if b.left("d") != 0 || len(b.mail.texts()) != 41 {
			t.Errorf("%d left, %d sent", b.left("d"), len(b.mail.texts()))
		}
	})
}

// A code that comes while slow announcements take the channel has a way of its own.
func TestCodesHaveRoom(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		release := make(chan struct{})
		b.mail.does = func(o Outgoing) error {
			if o.Kind != CodeSent {
				<-release
			}
			return nil
		}
		for i := range 100 {
			b.put("d", ByEmail, WayAllowed, fmt.Sprint(i), SendFor)
		}
		o, stop := b.runs()
		defer stop()
		defer close(release)
		synctest.Wait()
		b.put("d", ByEmail, CodeSent, "code", CodeFor)
		o.Hint("d")
		synctest.Wait()
		if l := b.mail.texts(); l[len(l)-1] != "code" || len(l) != lanesOf-lanesCode+1 {
			t.Errorf("%q", l)
		}
	})
}

func TestFailuresAreTriedAgainAndGivenUp(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		var at []time.Duration
		begin := time.Now()
		b.mail.does = func(Outgoing) error { at = append(at, time.Since(begin)); return errors.New("down") }
		b.put("d", ByEmail, PasswordChanged, "x", SendFor)
		_, stop := b.runs()
		defer stop()
		time.Sleep(SendFor + 2*time.Hour)
		synctest.Wait()
		if len(at) < 25 || len(at) > 45 {
			t.Errorf("%d attempts in a day", len(at))
		}
		for i := 1; i < min(5, len(at)); i++ {
			want := firstPause << (i - 1)
			if d := at[i] - at[i-1]; d < want*4/5-time.Second || d > want*6/5+restFor {
				t.Errorf("pause %d is %v, want about %v", i, d, want)
			}
		}
		if b.left("d") != 0 || len(b.gaveUp) != 1 {
			t.Errorf("%d left, given up %d times", b.left("d"), len(b.gaveUp))
		}
		ids := map[string]bool{}
		for i, o := range b.mail.all() {
			ids[o.ID] = true
			if o.Attempt != i+1 {
				t.Errorf("attempt %d is marked %d", i+1, o.Attempt)
			}
		}
		if len(ids) != 1 {
			t.Errorf("%d ids", len(ids))
		}
	})
}

func TestCodesAreTriedThriceAtOnceAndNotPastTheirTime(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		var at []time.Duration
		begin := time.Now()
		b.mail.does = func(Outgoing) error { at = append(at, time.Since(begin)); return errors.New("down") }
		b.put("d", ByEmail, CodeSent, "482913", CodeFor)
		_, stop := b.runs()
		defer stop()
		time.Sleep(time.Hour)
		synctest.Wait()
		if len(at) < 3 || at[2] > 3*time.Second || at[len(at)-1] > CodeFor {
			t.Errorf("attempts at %v", at)
		}
		if b.left("d") != 0 || len(b.gaveUp) != 1 {
			t.Errorf("%d left, given up %d times", b.left("d"), len(b.gaveUp))
		}
	})
}

func TestRefusedMessageIsGivenUpAndHoldsUpNobody(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.mail.does = func(o Outgoing) error {
			if strings.HasPrefix(o.Text, "bad") {
				return fmt.Errorf("%w: status 400", ErrRefused)
			}
			return nil
		}
		for i := range 30 {
			b.put("d", ByEmail, PasswordChanged, fmt.Sprint("bad ", i), SendFor)
		}
		b.put("d", ByEmail, PasswordChanged, "good", SendFor)
		_, stop := b.runs()
		defer stop()
		time.Sleep(time.Second)
		synctest.Wait()
		if !slices.Contains(b.mail.texts(), "good") {
			t.Error("refused messages hold up the others")
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := len(b.mail.texts()); n != 30*refusals+1 || len(b.gaveUp) != 30 || b.left("d") != 0 {
			t.Errorf("%d attempts, %d given up, %d left", n, len(b.gaveUp), b.left("d"))
		}
	})
}

// A mail server that is down is asked by one message each half minute, and does not hold up text messages.
func TestDeadChannelRests(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.mail.does = func(Outgoing) error { return errors.New("connection refused") }
		for i := range 200 {
			b.put("d", ByEmail, PasswordChanged, fmt.Sprint(i), SendFor)
		}
		o, stop := b.runs()
		defer stop()
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if n := len(b.mail.texts()); n > lanesOf+tripAfter+21 {
			t.Errorf("%d attempts in ten minutes", n)
		}
		b.put("d", BySMS, CodeSent, "code", CodeFor)
		o.Hint("d")
		synctest.Wait()
		if len(b.sms.texts()) != 1 {
			t.Error("a text message waits for the mail server")
		}
		b.mail.mu.Lock()
		b.mail.does = nil
		b.mail.mu.Unlock()
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if b.left("d") != 0 || len(b.gaveUp) != 0 {
			t.Errorf("%d left, %d given up", b.left("d"), len(b.gaveUp))
		}
	})
}

func TestDomainStarvesNoOther(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.domains = []member.DomainID{"big", "small"}
		for i := range 600 {
			b.put("big", ByEmail, WayAllowed, fmt.Sprint("big ", i), SendFor)
		}
		b.put("small", ByEmail, WayAllowed, "small", SendFor)
		b.mail.does = func(Outgoing) error { time.Sleep(time.Second); return nil }
		_, stop := b.runs()
		defer stop()
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if l := b.mail.texts(); !slices.Contains(l, "small") {
			t.Errorf("after %d messages of the other domain", len(l))
		}
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if b.left("big")+b.left("small") != 0 {
			t.Errorf("%d left", b.left("big"))
		}
	})
}

// Two processes on the same records send each message once.
func TestTwoProcessesSendOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.mail.does = func(Outgoing) error { time.Sleep(10 * time.Millisecond); return nil }
		for i := range 300 {
			b.put("d", ByEmail, PasswordChanged, fmt.Sprint(i), SendFor)
		}
		_, stop1 := b.runs()
		defer stop1()
		_, stop2 := b.runs()
		defer stop2()
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		seen := map[string]int{}
		for _, o := range b.mail.all() {
			seen[o.ID]++
		}
		if len(seen) != 300 || len(b.mail.all()) != 300 || b.left("d") != 0 {
			t.Errorf("%d messages sent %d times, %d left", len(seen), len(b.mail.all()), b.left("d"))
		}
	})
}

// A process dies after the message was taken and before that is written: the next one sends it again, marked.
func TestDeathBetweenSendingAndDeleting(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.put("d", ByEmail, PasswordChanged, "x", SendFor)
		b.fail(func(ops []store.Op) storetest.Fault {
			if ops[0].Kind == store.Delete {
				return storetest.FailBefore
			}
			return storetest.NoFault
		})
		_, stop := b.runs()
		synctest.Wait()
		stop()
		b.fail(nil)
		_, stop = b.runs()
		defer stop()
		synctest.Wait()
		if len(b.mail.all()) != 1 {
			t.Errorf("%d attempts while the first one's lease lasts", len(b.mail.all()))
		}
		time.Sleep(leaseFor + sweepEvery)
		synctest.Wait()
		if len(b.mail.all()) != 2 || b.mail.all()[0].ID != b.mail.all()[1].ID || b.mail.all()[1].Attempt != 2 || b.left("d") != 0 {
			t.Errorf("%+v, %d left", b.mail.all(), b.left("d"))
		}
	})
}

// A process that stops gives back what it had not sent.
func TestStopGivesBack(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.channels[ByEmail] = hanging{}
		b.put("d", ByEmail, PasswordChanged, "x", SendFor)
		_, stop := b.runs()
		synctest.Wait()
		stop()
		b.channels[ByEmail] = b.mail
		_, stop = b.runs()
		defer stop()
		synctest.Wait()
		if len(b.mail.all()) != 1 || b.mail.all()[0].Attempt != 2 {
			t.Errorf("%+v", b.mail.all())
		}
	})
}

type hanging struct{}

func (hanging) Send(ctx context.Context, _ Outgoing) error { <-ctx.Done(); return ctx.Err() }

func TestMessageToNobodyIsSentNowhere(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		op := SendOp(b.keys, Outgoing{Time: time.Now(), Kind: CodeSent, Channel: ByEmail, Text: "x"}, time.Now().Add(CodeFor))
		if _, err := b.records.Apply(t.Context(), "d:d", op); err != nil {
			t.Fatal(err)
		}
		_, stop := b.runs()
		defer stop()
		synctest.Wait()
		if len(b.mail.all()) != 0 || b.left("d") != 0 {
			t.Errorf("%+v, %d left", b.mail.all(), b.left("d"))
		}
	})
}

// What waits is sealed: neither the code nor the address can be read in the store, and it opens under no other name.
func TestOutboxIsSealed(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.put("d", ByEmail, CodeSent, "canary-482913", CodeFor)
		l, err := b.records.List(t.Context(), "d:d", store.Query{})
		if err != nil || len(l) != 1 {
			t.Fatal(err, len(l))
		}
		if s := string(l[0].Value); strings.Contains(s, "482913") || strings.Contains(s, "ann@") {
			t.Errorf("%s", s)
		}
		w, _ := readWaiting(l[0])
		if _, err := w.open(b.keys, l[0].Name[:len(l[0].Name)-1]+"x"); !errors.Is(err, secret.ErrSealed) {
			t.Errorf("under another name: %v", err)
		}
	})
}
