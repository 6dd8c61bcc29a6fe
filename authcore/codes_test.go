package authcore_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/notify"
	"latchkey/authcore/otp"
	"latchkey/authcore/sample"
	"latchkey/authcore/secret"
	"latchkey/authcore/store"
	"latchkey/authcore/store/storetest"
)

// asking is a code for the member of a state, by a ticket of its own, from a source and to an address of its own.
func (s *stage) asking(t testing.TB, state string, n int) authcore.CodeAsk {
	p := s.People[state]
	return authcore.CodeAsk{
		Ticket: otp.Ticket{Purpose: otp.ForTwoStep, ID: fmt.Sprint(state, n)}, Domain: s.domain(t, p.Domain).ID, Member: s.MemberID(t, p.Address),
		Address: p.Address, Client: authcore.Client{Addr: addr(source(n)), Agent: "test"}, To: fmt.Sprintf("%s%d@mail.example", state, n),
	}
}

func (s *stage) ask(t testing.TB, a authcore.CodeAsk) error {
	t.Helper()
	_, err := s.AskCode(t.Context(), a)
	if err != nil && !denied(err, authcore.DenialReason(authcore.Throttled)) {
		t.Fatal(err)
	}
	return err
}

func (s *stage) tryIt(t testing.TB, a authcore.CodeAsk, typed string) error {
	t.Helper()
	return s.TryCode(t.Context(), a.Ticket, a.Domain, a.Member, secret.New(typed))
}

func throttled(err error) time.Duration {
	var d *authcore.Denial
	if errors.As(err, &d) && d.Reason == authcore.DenialReason(authcore.Throttled) {
		return d.RetryAfter
	}
	return 0
}

func TestCodeIsSentAndSpent(t *testing.T) {
	s := newStage(t, nil)
	a := s.asking(t, "account", 1)
	if err := s.ask(t, a); err != nil {
		t.Fatal(err)
	}
	code := s.Code(t, sample.Old, a.To)
	if err := s.tryIt(t, a, "x"); !denied(err, authcore.BadCode) {
		t.Errorf("a wrong code: %v", err)
	}
	if err := s.tryIt(t, a, code); err != nil {
		t.Errorf("the right code: %v", err)
	}
	if err := s.tryIt(t, a, code); !denied(err, authcore.BadCode) {
		t.Errorf("the code again: %v", err)
	}
}

func TestResendAfterAMinute(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *stage) {
		a := s.asking(t, "account", 1)
		_ = s.ask(t, a)
		first := s.Code(t, sample.Old, a.To)
		time.Sleep(otp.ResendAfter - time.Millisecond)
		if wait := throttled(s.ask(t, a)); wait != time.Second {
			t.Errorf("a moment too early: retry after %v", wait)
		}
		time.Sleep(time.Millisecond)
		if err := s.ask(t, a); err != nil {
			t.Errorf("after a minute: %v", err)
		}
		if second := s.Code(t, sample.Old, a.To); second != first {
			if err := s.tryIt(t, a, first); !denied(err, authcore.BadCode) {
				t.Errorf("the old code: %v", err)
			}
		}
	})
}

// Ten codes a day go to a member, whatever the tickets, sources and addresses, and a restart changes nothing.
func TestTenCodesADay(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *stage) {
		for i := range otp.SentADay {
			if err := s.ask(t, s.asking(t, "account", i)); err != nil {
				t.Fatalf("code %d: %v", i+1, err)
			}
		}
		s = s.anew()
		if wait := throttled(s.ask(t, s.asking(t, "account", 50))); wait != 24*time.Hour {
			t.Errorf("the eleventh: retry after %v", wait)
		}
		if err := s.ask(t, s.asking(t, "opted-in", 51)); err != nil {
			t.Errorf("another member's first: %v", err)
		}
		time.Sleep(24 * time.Hour)
		if err := s.ask(t, s.asking(t, "account", 52)); err != nil {
			t.Errorf("a day later: %v", err)
		}
	})
}

// What a limit refuses leaves the ticket's code good and takes nothing of the hour's limits.
func TestRefusedCodeLeavesTheOldOneGood(t *testing.T) {
	inBubble(t, func(o *authcore.Options) { o.Codes = otp.Limits{Source: 3} }, func(t *testing.T, s *stage) {
		a := s.asking(t, "account", 1)
		_ = s.ask(t, a)
		code := s.Code(t, sample.Old, a.To)
		if s.ask(t, a) == nil {
			t.Fatal("a second one within a minute")
		}
		if err := s.tryIt(t, a, code); err != nil {
			t.Errorf("the code: %v", err)
		}
		for n := range 2 {
			b := s.asking(t, "account", 2+n)
			b.Client = a.Client
			if err := s.ask(t, b); err != nil {
				t.Errorf("the source's code %d: %v", 2+n, err)
			}
		}
	})
}

// Ten wrong codes a day, over all tickets: 200 racing guesses make ten comparisons, and the right one is among none after.
func TestTenWrongCodesADay(t *testing.T) {
	for name, engine := range map[string]func(*authcore.Options){"memory": nil, "sqlite": onSQLite(t)} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, engine)
			asks := make([]authcore.CodeAsk, otp.SentADay)
			codes := make([]string, len(asks))
			for i := range asks {
				asks[i] = s.asking(t, "account", i)
				if err := s.ask(t, asks[i]); err != nil {
					t.Fatal(err)
				}
				codes[i] = s.Code(t, sample.Old, asks[i].To)
			}
			got := s.guesses(t, 200, func(i int) error { return s.tryIt(t, asks[i%len(asks)], "x") })
			if got[authcore.BadCode] != otp.WrongADay || got[authcore.DenialReason(authcore.Throttled)] != 200-otp.WrongADay {
				t.Errorf("got %v, want %d compared", got, otp.WrongADay)
			}
			for i, a := range asks {
				if err := s.anew().tryIt(t, a, codes[i]); throttled(err) == 0 {
					t.Errorf("a right code after ten wrong ones: %v", err)
				}
			}
		})
	}
}

// guesses counts how many racing calls end in which denial; "" is none.
func (s *stage) guesses(t *testing.T, n int, call func(i int) error) map[authcore.DenialReason]int {
	t.Helper()
	var wait sync.WaitGroup
	errs := make([]error, n)
	begin := make(chan struct{})
	for i := range n {
		wait.Go(func() { <-begin; errs[i] = call(i) })
	}
	close(begin)
	wait.Wait()
	got := map[authcore.DenialReason]int{}
	for _, err := range errs {
		var d *authcore.Denial
		if err != nil && !errors.As(err, &d) {
			t.Fatal(err)
		}
		if d == nil {
			d = &authcore.Denial{}
		}
		got[d.Reason]++
	}
	return got
}

// A hundred racing requests with the right code: one gets in, and what is right is not counted as wrong.
func TestCodeIsSpentOnceByAHundred(t *testing.T) {
	for name, engine := range map[string]func(*authcore.Options){"memory": nil, "sqlite": onSQLite(t)} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, engine)
			a := s.asking(t, "account", 1)
			_ = s.ask(t, a)
			code := s.Code(t, sample.Old, a.To)
			if got := s.guesses(t, 100, func(int) error { return s.tryIt(t, a, code) }); got[""] != 1 {
				t.Errorf("got %v, want one that is let in", got)
			}
		})
	}
}

func TestRightCodesAreNotCounted(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *stage) {
		for i := range 3 * otp.WrongADay {
			a := s.asking(t, "account", i)
			if err := s.ask(t, a); err != nil {
				t.Fatal(err)
			}
			if err := s.tryIt(t, a, s.Code(t, sample.Old, a.To)); err != nil {
				t.Fatalf("code %d: %v", i+1, err)
			}
			time.Sleep(3 * time.Hour)
		}
	})
}

// A crash between the count and the comparison costs a try, and never gives one.
func TestCrashInAGuessCostsATry(t *testing.T) {
	s := newStage(t, nil)
	a := s.asking(t, "account", 1)
	_ = s.ask(t, a)
	code := s.Code(t, sample.Old, a.To)
	s.fail(func(string, []store.Op) storetest.Fault { return storetest.FailBefore })
	for range 20 {
		if err := s.tryIt(t, a, "x"); err == nil || denied(err, authcore.BadCode) {
			t.Fatalf("compared without a count: %v", err)
		}
	}
	s.fail(func(string, []store.Op) storetest.Fault { return storetest.FailAfter })
	for range 20 {
		if err := s.tryIt(t, a, "x"); err == nil || denied(err, authcore.BadCode) {
			t.Fatalf("compared though nobody knows of the count: %v", err)
		}
	}
	s.fail(nil)
	if err := s.tryIt(t, a, code); throttled(err) == 0 {
		t.Errorf("after 20 counts: %v", err)
	}
}

// A message that could not be written voids its code, and is told as broken.
func TestCodeThatCouldNotBeSent(t *testing.T) {
	s := newStage(t, nil)
	s.fail(func(string, []store.Op) storetest.Fault { return storetest.FailBefore })
	if _, err := s.AskCode(t.Context(), s.asking(t, "account", 1)); err == nil || throttled(err) > 0 {
		t.Errorf("got %v", err)
	}
}

// Whether somebody is there costs the same and is told the same: at asking, at a wrong code, and at every limit.
func TestCodesOfStrangersCostTheSame(t *testing.T) {
	for _, channel := range []notify.Channel{notify.ByEmail, notify.BySMS} {
		for name, limits := range map[string]otp.Limits{"address": {}, "day": {Address: 100}, "source": {Source: 3}} {
			t.Run(string(channel)+" "+name, func(t *testing.T) {
				s := newStage(t, func(o *authcore.Options) { o.Codes = limits })
				known := s.asking(t, "account", 0)
				known.Channel, known.To = channel, map[notify.Channel]string{notify.ByEmail: "ann@mail.example", notify.BySMS: "+819012345678"}[channel]
				unknown := known
				unknown.Member, unknown.Address, unknown.To = s.CodeShadow("nobody@old.example"), "", ""
				if member, stranger := s.anew().session(t, known), s.anew().session(t, unknown); !slices.Equal(member, stranger) {
					t.Errorf("a member costs\n%q, a stranger\n%q", member, stranger)
				}
			})
		}
	}
}

// session asks twelve times and tries a wrong code each time, and answers what each costs and tells.
func (s *stage) session(t *testing.T, a authcore.CodeAsk) (l []string) {
	for i := range otp.SentADay + 2 {
		a.Ticket.ID = fmt.Sprint(i)
		l = append(l, s.costs(func() error { return s.ask(t, a) }), s.costs(func() error { return s.tryIt(t, a, "x") }))
	}
	return l
}

// costs is what a call costs and tells, without the moment of a retry.
func (s *stage) costs(call func() error) string {
	s.counts.Take()
	err := call()
	return fmt.Sprintf("%+v %v", s.counts.Take(), err)
}

// The code is in the sealed message alone: no record, log or audit shows it.
func TestCodeIsNowhereInClear(t *testing.T) {
	var log bytes.Buffer
	s := newStage(t, func(o *authcore.Options) {
		o.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	var codes []string
	for i := range otp.SentADay {
		a := s.asking(t, "account", i)
		_ = s.ask(t, a)
		codes = append(codes, s.Code(t, sample.Old, a.To))
		_ = s.tryIt(t, a, codes[i])
	}
	s.showsNone(t, &log, codes...)
}

// showsNone looks for secrets in every record of the old domain and in the log.
func (s *stage) showsNone(t *testing.T, log *bytes.Buffer, secrets ...string) {
	t.Helper()
	for _, c := range secrets {
		for _, r := range s.all(t, sample.Old, "") {
			if bytes.Contains(r.Value, []byte(`"`+c)) || bytes.Contains(r.Value, []byte(" "+c)) {
				t.Errorf("record %s shows %s: %s", r.Name, c, r.Value)
			}
		}
		if bytes.Contains(log.Bytes(), []byte(c)) {
			t.Errorf("the log shows %s", c)
		}
	}
}
