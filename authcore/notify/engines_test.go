package notify

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"latchkey/authcore/member"
	"latchkey/authcore/secret"
	"latchkey/authcore/store"
	"latchkey/authcore/store/sqlite"
	"latchkey/authcore/store/storetest"
)

// The outbox over a file. Time is the machine's: what takes a minute is another process that lives a minute later.

func onFile(t *testing.T) *bench {
	t.Helper()
	db, err := sqlite.Open(t.Context(), sqlite.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	keys, err := secret.NewKeys(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, keys: keys, domains: []member.DomainID{"d"}, mail: &gate{}, sms: &gate{}}
	b.records = &storetest.Faulty{Records: db, OnApply: b.fault}
	b.channels = map[Channel]Sender{ByEmail: b.mail, BySMS: b.sms}
	return b
}

// until waits for what other goroutines do, with the machine's time.
func (b *bench) until(what string, ok func() bool) {
	b.t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			b.t.Fatalf("%s: not within half a minute", what)
		}
	}
}

func TestTwoProcessesSendOnceFromAFile(t *testing.T) {
	b := onFile(t)
	const n = 200
	for i := range n {
		b.put("d", []Channel{ByEmail, BySMS}[i%2], []Kind{CodeSent, PasswordChanged}[i/2%2], fmt.Sprint(i), time.Hour)
	}
	for range 2 {
		_, stop := b.runs()
		defer stop()
	}
	b.until("everything is sent", func() bool { return b.left("d") == 0 })
	seen := map[string]int{}
	for _, o := range slices.Concat(b.mail.all(), b.sms.all()) {
		if seen[o.Text]++; o.Attempt != 1 {
			t.Errorf("%q is marked with attempt %d", o.Text, o.Attempt)
		}
	}
	if len(seen) != n || len(b.mail.all())+len(b.sms.all()) != n {
		t.Errorf("%d messages sent %d times", len(seen), len(b.mail.all())+len(b.sms.all()))
	}
}

// The first process dies in the middle: some messages were taken and that is not written, some were never begun. The next
// one, a minute later, brings all of them, and marks those that may have arrived.
func TestDeathBetweenSendingAndDeletingFromAFile(t *testing.T) {
	b := onFile(t)
	const n = 30
	for i := range n {
		b.put("d", ByEmail, PasswordChanged, fmt.Sprint(i), time.Hour)
	}
	died, dead := make(chan struct{}), false
	var begun atomic.Int64
	b.fail(func(ops []store.Op) storetest.Fault { // from there on nothing is written any more
		if !dead && ops[0].Kind == store.Delete && len(b.mail.all()) > n/2 {
			dead = true
			close(died)
		}
		if dead {
			return storetest.FailBefore
		}
		if ops[0].Kind == store.Put {
			begun.Add(1)
		}
		return storetest.NoFault
	})
	_, stop := b.runs()
	<-died
	b.until("what was begun is sent", func() bool { return int64(len(b.mail.all())) == begun.Load() }) // a lease that is cut off may be there
	stop()
	b.fail(nil)
	first := b.mail.all()
	next := NewOutbox(b.options(func() time.Time { return time.Now().Add(2 * leaseFor) }))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); next.Run(ctx) }()
	defer func() { cancel(); <-done }()
	b.until("everything is sent", func() bool { return b.left("d") == 0 })
	times, ids := map[string][]int{}, map[string]string{}
	for _, o := range b.mail.all() {
		times[o.Text] = append(times[o.Text], o.Attempt)
		if id := ids[o.Text]; id != "" && id != o.ID {
			t.Errorf("%q came under two ids", o.Text)
		}
		ids[o.Text] = o.ID
	}
	twice := 0
	for text, l := range times {
		if len(l) > 1 {
			twice++
		}
		if want := []int{1, 2}[:len(l)]; !slices.Equal(l, want) {
			t.Errorf("%q came as attempts %v", text, l)
		}
	}
	if len(times) != n || twice == 0 || len(first) == n {
		t.Errorf("%d of %d came, %d twice, %d before the death", len(times), n, twice, len(first))
	}
}

// Messages that cannot be opened, for their key is lost, hold up nobody and do not spin.
func TestMessagesThatCannotBeOpenedHoldUpNobody(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		var lists atomic.Int64
		b.records = counting{b.records, &lists}
		keys := b.keys
		b.keys, _ = secret.NewKeys(time.Now())
		for i := range 3 * visitPage {
			b.put("d", ByEmail, CodeSent, fmt.Sprint("lost ", i), SendFor)
		}
		b.keys = keys
		time.Sleep(time.Second)
		b.put("d", ByEmail, PasswordChanged, "good", SendFor)
		_, stop := b.runs()
		defer stop()
		time.Sleep(time.Minute)
		if l := b.mail.texts(); !slices.Equal(l, []string{"good"}) {
			t.Errorf("%q", l)
		}
		if lists.Load() > 500 {
			t.Errorf("the queue was looked at %d times in a minute", lists.Load())
		}
	})
}

type counting struct {
	store.Records
	n *atomic.Int64
}

func (c counting) List(ctx context.Context, p string, q store.Query) ([]store.Record, error) {
	c.n.Add(1)
	return c.Records.List(ctx, p, q)
}
