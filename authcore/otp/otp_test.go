package otp

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/authcore/secret"
	"latchkey/authcore/store/memory"
)

func newCodes(t testing.TB) *Codes {
	t.Helper()
	keys, err := secret.NewKeys(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return &Codes{Ephemeral: memory.NewEphemeral(memory.Options{}), Keys: keys, Now: time.Now}
}

func (c *Codes) issue(t testing.TB, k Ticket) secret.String {
	t.Helper()
	s, err := c.Issue(t.Context(), k, "note")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (c *Codes) spend(t testing.TB, k Ticket, typed string) bool {
	t.Helper()
	note, ok, err := c.Spend(t.Context(), k, secret.New(typed))
	if err != nil {
		t.Fatal(err)
	}
	if ok && note != "note" {
		t.Errorf("the note is %q", note)
	}
	return ok
}

// wrong is a code that is not s.
func wrong(s secret.String) string {
	if s.Reveal() == "000000" {
		return "000001"
	}
	return "000000"
}

var one = Ticket{ForTwoStep, "one"}

func TestCode(t *testing.T) {
	for name, c := range map[string]struct {
		between func(t *testing.T, c *Codes, code secret.String) // after it was issued for the ticket one
		typed   func(code string) string                         // nil: the code
		want    bool
	}{
		"right":                     {want: true},
		"with a space":              {typed: func(s string) string { return s[:3] + " " + s[3:] }, want: true},
		"with a hyphen":             {typed: func(s string) string { return " " + s[:3] + "-" + s[3:] + " " }, want: true},
		"wide digits":               {typed: wide, want: true},
		"a digit more":              {typed: func(s string) string { return s + "1" }},
		"a digit less":              {typed: func(s string) string { return s[:5] }},
		"empty":                     {typed: func(string) string { return "" }},
		"used":                      {between: func(t *testing.T, c *Codes, s secret.String) { c.spend(t, one, s.Reveal()) }},
		"a moment before its end":   {between: func(*testing.T, *Codes, secret.String) { time.Sleep(For - time.Millisecond) }, want: true},
		"at its end":                {between: func(*testing.T, *Codes, secret.String) { time.Sleep(For) }},
		"after four wrong ones":     {between: wrongTries(4), want: true},
		"after five wrong ones":     {between: wrongTries(5)},
		"after a new one":           {between: func(t *testing.T, c *Codes, s secret.String) { renew(t, c, one, s) }},
		"after another ticket's":    {between: func(t *testing.T, c *Codes, s secret.String) { renew(t, c, Ticket{ForTwoStep, "two"}, s) }, want: true},
		"after another purpose's":   {between: func(t *testing.T, c *Codes, s secret.String) { renew(t, c, Ticket{ForContact, "one"}, s) }, want: true},
		"dropped":                   {between: func(t *testing.T, c *Codes, _ secret.String) { _ = c.Drop(t.Context(), one) }},
		"tried for another purpose": {between: func(t *testing.T, c *Codes, s secret.String) { c.spend(t, Ticket{ForContact, "one"}, s.Reveal()) }, want: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				codes := newCodes(t)
				code := codes.issue(t, one)
				if c.between != nil {
					c.between(t, codes, code)
				}
				typed := code.Reveal()
				if c.typed != nil {
					typed = c.typed(typed)
				}
				if got := codes.spend(t, one, typed); got != c.want {
					t.Errorf("got %v, want %v", got, c.want)
				}
			})
		})
	}
}

func wide(s string) string {
	var b strings.Builder
	for _, r := range s {
		b.WriteRune(r + '０' - '0')
	}
	return b.String()
}

func wrongTries(n int) func(*testing.T, *Codes, secret.String) {
	return func(t *testing.T, c *Codes, s secret.String) {
		for range n {
			if c.spend(t, one, wrong(s)) {
				t.Fatal("a wrong code is right")
			}
		}
	}
}

// renew issues a code that is another one than s.
func renew(t *testing.T, c *Codes, k Ticket, s secret.String) {
	for range 10 {
		if !c.issue(t, k).Equal(s) {
			return
		}
	}
	t.Fatal("ten equal codes")
}

// A code of one ticket opens no other, also when the numbers are equal.
func TestCodeOfAnotherTicket(t *testing.T) {
	c := newCodes(t)
	code := c.issue(t, one)
	for _, k := range []Ticket{{ForTwoStep, "two"}, {ForContact, "one"}, {ForTwoStep, ""}, {"", "one"}} {
		if c.spend(t, k, code.Reveal()) {
			t.Errorf("%v is opened by the code of %v", k, one)
		}
	}
}

func TestCodeIsSpentOnce(t *testing.T) {
	for range 20 {
		c := newCodes(t)
		code := c.issue(t, one)
		var wait sync.WaitGroup
		var right atomic.Int64
		for range 100 {
			wait.Go(func() {
				if _, ok, err := c.Spend(context.Background(), one, code); ok && err == nil {
					right.Add(1)
				}
			})
		}
		wait.Wait()
		if right.Load() > 1 {
			t.Fatalf("spent %d times", right.Load())
		}
	}
}

func TestCodesAreSixDigitsAndDiffer(t *testing.T) {
	c, seen := newCodes(t), map[string]bool{}
	for i := range 100 {
		code := c.issue(t, Ticket{ForTwoStep, fmt.Sprint(i)}).Reveal()
		if len(code) != Digits || strings.Trim(code, "0123456789") != "" {
			t.Fatalf("%q", code)
		}
		seen[code] = true
	}
	if len(seen) < 95 {
		t.Errorf("%d different ones of 100", len(seen))
	}
}

func TestDayOfSent(t *testing.T) {
	noon := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	var y *Day
	for i := range SentADay {
		next, wait := y.Send(noon.Add(time.Duration(i) * time.Minute))
		if wait > 0 {
			t.Fatalf("code %d is refused", i+1)
		}
		y = &next
	}
	for _, c := range []struct {
		name string
		now  time.Time
		wait time.Duration
	}{
		{"the eleventh", noon.Add(time.Hour), 23 * time.Hour},
		{"a moment before the first is a day old", noon.Add(24*time.Hour - time.Millisecond), time.Second},
		{"when the first is a day old", noon.Add(24 * time.Hour), 0},
	} {
		next, wait := y.Send(c.now)
		if wait != c.wait || len(next.Sent) > SentADay {
			t.Errorf("%s: wait %v, want %v; %d marks", c.name, wait, c.wait, len(next.Sent))
		}
	}
	if next, wait := y.Send(noon.Add(24 * time.Hour)); wait == 0 {
		if _, again := next.Send(noon.Add(24 * time.Hour)); again != time.Minute {
			t.Errorf("the next one waits %v, want until the second is a day old", again)
		}
	}
}

func TestDayOfWrong(t *testing.T) {
	noon := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	var y *Day
	var last string
	for i := range WrongADay {
		next, id, wait := y.Try(noon)
		if wait > 0 || id == "" {
			t.Fatalf("try %d is refused", i+1)
		}
		y, last = &next, id
	}
	if _, _, wait := y.Try(noon.Add(time.Hour)); wait != 23*time.Hour {
		t.Errorf("the eleventh waits %v", wait)
	}
	right := y.Right(last, noon)
	if _, _, wait := right.Try(noon); wait != 0 || len(right.Wrong) != WrongADay-1 {
		t.Errorf("a right one is not taken back: %d marks, wait %v", len(right.Wrong), wait)
	}
	if len(y.Wrong) != WrongADay {
		t.Error("Right changed what it was asked of")
	}
	if none := y.Right("another", noon); len(none.Wrong) != WrongADay {
		t.Error("a mark of nobody is taken back")
	}
}

// A clock that was years ahead and is right again keeps nobody from his codes; nodes whose clocks are hours apart count
// together.
func TestDayOfClocksThatDiffer(t *testing.T) {
	noon := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		ahead time.Duration
		fresh bool          // what was counted by the clock that is ahead is forgotten
		wait  time.Duration // else
	}{
		{5 * time.Minute, false, 24*time.Hour + 5*time.Minute}, {9 * time.Hour, false, 33 * time.Hour}, {24 * time.Hour, false, 48 * time.Hour},
		{24*time.Hour + time.Second, true, 0}, {4 * 365 * 24 * time.Hour, true, 0},
	} {
		var y *Day
		for range max(SentADay, WrongADay) {
			next, _ := y.Send(noon.Add(c.ahead))
			next, _, _ = next.Try(noon.Add(c.ahead))
			y = &next
		}
		sent, wait := y.Send(noon)
		if wait != c.wait || c.fresh && len(sent.Sent) != 1 {
			t.Errorf("%v ahead: %d sent, wait %v, want %v", c.ahead, len(sent.Sent), wait, c.wait)
		}
		wrong, _, wait := y.Try(noon)
		if wait != c.wait || c.fresh && len(wrong.Wrong) != 1 {
			t.Errorf("%v ahead: %d wrong, wait %v, want %v", c.ahead, len(wrong.Wrong), wait, c.wait)
		}
	}
}

func TestWaitIsForTheOldestMark(t *testing.T) {
	noon := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	var y *Day
	for i := range WrongADay {
		at := noon
		if i == 0 {
			at = noon.Add(9 * time.Hour)
		}
		next, _, _ := y.Try(at)
		y = &next
	}
	if _, _, wait := y.Try(noon); wait != ADay {
		t.Errorf("wait %v, want %v", wait, ADay)
	}
}

func TestThrottle(t *testing.T) {
	going := func(i int) Going {
		return Going{Ticket: Ticket{ForTwoStep, fmt.Sprint(i)}, Source: fmt.Sprint(i), To: fmt.Sprint(i), Country: fmt.Sprint(i), Channel: "sms"}
	}
	limits := Limits{Source: 4, Address: 3, Prefix: 5, All: 6}
	for name, c := range map[string]struct {
		same  func(g *Going)
		limit int
		of    time.Duration
	}{
		"ticket":       {func(g *Going) { g.Ticket.ID = "one" }, 1, ResendAfter},
		"source":       {func(g *Going) { g.Source = "one" }, 4, time.Hour},
		"address":      {func(g *Going) { g.To = "one" }, 3, time.Hour},
		"prefix":       {func(g *Going) { g.Country = "81" }, 5, time.Hour},
		"installation": {func(*Going) {}, 6, time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := &Throttle{Ephemeral: memory.NewEphemeral(memory.Options{}), Now: time.Now, Limits: limits}
				n := 0
				send := func() time.Duration {
					g := going(n)
					n++
					c.same(&g)
					_, wait, err := h.Go(t.Context(), g)
					if err != nil {
						t.Fatal(err)
					}
					return wait
				}
				for i := range c.limit {
					if wait := send(); wait > 0 {
						t.Fatalf("number %d waits %v", i+1, wait)
					}
					time.Sleep(time.Second)
				}
				left := c.of - time.Duration(c.limit)*time.Second
				if wait := send(); wait != left {
					t.Errorf("one more waits %v, want %v", wait, left)
				}
				time.Sleep(left - time.Millisecond)
				if wait := send(); wait == 0 {
					t.Error("one more goes a moment before the first is over")
				}
				time.Sleep(time.Millisecond)
				if wait := send(); wait != 0 {
					t.Errorf("once the first is over, the next waits %v", wait)
				}
			})
		})
	}
}

// What is refused by one limit takes nothing of the others.
func TestThrottleGivesBack(t *testing.T) {
	h := &Throttle{Ephemeral: memory.NewEphemeral(memory.Options{}), Now: time.Now, Limits: Limits{Source: 2, Address: 1}}
	send := func(ticket, source, to string) time.Duration {
		_, wait, err := h.Go(t.Context(), Going{Ticket: Ticket{ForTwoStep, ticket}, Source: source, To: to, Country: NoCountry, Channel: "email"})
		if err != nil {
			t.Fatal(err)
		}
		return wait
	}
	if send("1", "here", "ann") > 0 || send("2", "here", "ann") == 0 || send("2", "here", "bob") > 0 || send("3", "here", "cid") == 0 {
		t.Error("the address's refusal was counted for the source or the ticket")
	}
}

func TestThrottleRaces(t *testing.T) {
	h := &Throttle{Ephemeral: memory.NewEphemeral(memory.Options{}), Now: time.Now, Limits: Limits{All: 50, Source: 1000, Address: 1000}}
	var wait sync.WaitGroup
	var gone atomic.Int64
	for i := range 300 {
		wait.Go(func() {
			_, w, err := h.Go(context.Background(), Going{Ticket: Ticket{ForTwoStep, fmt.Sprint(i)}, Source: "s", To: "t", Country: NoCountry, Channel: "email"})
			if err == nil && w == 0 {
				gone.Add(1)
			}
		})
	}
	wait.Wait()
	if gone.Load() > 50 {
		t.Errorf("%d went, want at most 50", gone.Load())
	}
}

// A large limit is kept by counting every n-th: about right, and in bounded memory.
func TestThrottleOfALargeInstallation(t *testing.T) {
	h := &Throttle{Ephemeral: memory.NewEphemeral(memory.Options{}), Now: time.Now, Limits: Limits{All: 10_000, Source: MaxLimit, Address: MaxLimit}}
	gone := 0
	for i := range 15_000 {
		_, w, err := h.Go(t.Context(), Going{Ticket: Ticket{ForTwoStep, fmt.Sprint(i)}, Source: "s", To: "t", Country: NoCountry, Channel: "email"})
		if err != nil {
			t.Fatal(err)
		}
		if w == 0 {
			gone++
		}
	}
	if gone < 8_500 || gone > 11_500 {
		t.Errorf("%d went, want about 10000", gone)
	}
}

func FuzzNormalise(f *testing.F) {
	for _, s := range []string{"123456", "123 456", "１２３４５６", "12345", "1234567", "", "12345a", "\xff12345", "１２３ ４５６"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, ok := Normalise(secret.New(s), Digits)
		if ok != (len(got) == Digits) && ok {
			t.Errorf("%q: %q, %v", s, got, ok)
		}
		if ok && (strings.Trim(got, "0123456789") != "" || len(got) != Digits) {
			t.Errorf("%q became %q", s, got)
		}
		if again, same := Normalise(secret.New(got), Digits); ok && (!same || again != got) {
			t.Errorf("%q is not stable: %q", got, again)
		}
	})
}
