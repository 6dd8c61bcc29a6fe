package authcore_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/apppass"
	"latchkey/authcore/audit"
	"latchkey/authcore/authtest"
	"latchkey/authcore/member"
	"latchkey/authcore/sample"
	"latchkey/authcore/store"
	"latchkey/authcore/store/memory"
	"latchkey/authcore/store/storetest"
)

func (s *stage) log(t *testing.T, domain string, f audit.Filter) (l []audit.Entry) {
	t.Helper()
	after := ""
	for {
		part, next, err := s.Audit(t.Context(), authtest.Operator(), domain, f, after, 7)
		if err != nil {
			t.Fatal(err)
		}
		l = append(l, part...)
		if next == "" {
			return l
		}
		after = next
	}
}

func TestAllowIsOnRecordBeforeItIsTold(t *testing.T) {
	s := newStage(t, nil)
	for _, state := range []string{"account", "app-only"} {
		secret := s.account(state)
		if state == "app-only" {
			secret = s.app(state)
		}
		d := s.from(t, here, "imap", s.address(state), secret)
		if !d.Allowed() {
			t.Fatal(d.Reason)
		}
		l := s.log(t, s.People[state].Domain, audit.Filter{Actions: []audit.Action{audit.SignIn}})
		if len(l) != 1 || l[0].Session != string(d.Session) || l[0].Credential != d.Credential || l[0].From != here || l[0].Door != "imap" ||
			l[0].Target != s.address(state) || l[0].Reason != "allowed" {
			t.Errorf("%s: %+v", state, l)
		}
	}
}

func TestAllowThatCannotBeAuditedIsRefused(t *testing.T) {
	s := newStage(t, nil)
	s.fail(func(_ string, ops []store.Op) storetest.Fault {
		if has(ops, "audit/") {
			return storetest.FailBefore
		}
		return storetest.NoFault
	})
	for _, state := range []string{"account", "app-only"} {
		secret := s.account(state)
		if state == "app-only" {
			secret = s.app(state)
		}
		for _, door := range []string{"imap", "caldav"} {
			d, err := s.Authenticate(t.Context(), authtest.Attempt(door, s.address(state), secret))
			if err == nil || d.Reason != authcore.Unavailable {
				t.Errorf("%s at %s: %q, %v", state, door, d.Reason, err)
			}
		}
		if l, err := s.SessionsOf(t.Context(), authtest.Operator(), s.address(state)); err != nil || len(l.Doors) > 0 {
			t.Errorf("%s: sessions are left: %+v, %v", state, l.Doors, err)
		}
	}
	if r, err := s.SignIn(t.Context(), authtest.Client(), s.address("account"), s.People["account"].Account); err == nil || !r.Token.Empty() {
		t.Errorf("on the web: %q, %v", r.State, err)
	}
}

func TestRefusalsAreMerged(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *stage) {
		var wg sync.WaitGroup
		for range 40 {
			wg.Go(func() { _, _ = s.Authenticate(t.Context(), authtest.Attempt("imap", s.address("account"), "stale")) })
		}
		wg.Wait()
		for i := range 30 {
			s.from(t, here, "smtp", fmt.Sprintf("nobody-%d@old.example", i%3), "stale")
		}
		l := s.log(t, sample.Old, audit.Filter{Actions: []audit.Action{audit.SignIn}})
		if len(l) != 2 {
			t.Fatalf("%d entries, want one for the member and one for names that nobody has: %+v", len(l), l)
		}
		if l[0].Count != 30 || l[0].Target != "" || l[0].Door != "smtp" || l[1].Count != 40 || l[1].Target != s.address("account") {
			t.Errorf("got %+v", l)
		}
		time.Sleep(time.Hour)
		s.from(t, here, "imap", s.address("account"), "stale")
		if l := s.log(t, sample.Old, audit.Filter{Reasons: []string{"bad_credentials"}}); len(l) != 3 || l[0].Count != 1 {
			t.Errorf("an hour later: %+v", l)
		}
	})
}

// What happened last is listed first, merged or not.
func TestAuditListsTheNewestFirst(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *stage) {
		time.Sleep(5 * time.Minute)
		for i := range 12 {
			s.from(t, source(i), "imap", s.address("account"), s.account("account"))
			time.Sleep(time.Minute)
			s.from(t, source(20+i), "imap", s.address("two-step"), fmt.Sprint("wrong ", i))
			time.Sleep(time.Minute)
		}
		l := s.log(t, sample.Old, audit.Filter{Actions: []audit.Action{audit.SignIn}})
		if len(l) != 24 {
			t.Fatalf("%d entries", len(l))
		}
		for i := range l[1:] {
			if l[i].Time.Before(l[i+1].Time) {
				t.Fatalf("entry %d is of %v, the one behind it of %v", i, l[i].Time, l[i+1].Time)
			}
		}
	})
}

func TestAuditFilters(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *stage) {
		s.try(t, s.address("account"), "wrong")
		time.Sleep(2 * time.Hour)
		middle := s.options.Now()
		s.from(t, there, "smtp", s.address("opted-in"), s.app("opted-in"))
		time.Sleep(2 * time.Hour)
		s.from(t, there, "imap", s.address("account"), s.account("account"))
		id := string(s.MemberID(t, s.address("account")))
		for _, c := range []struct {
			name string
			f    audit.Filter
			want int
		}{
			{"all sign-ins", audit.Filter{Actions: []audit.Action{audit.SignIn}}, 3},
			{"reason", audit.Filter{Reasons: []string{"allowed"}}, 2},
			{"door", audit.Filter{Door: "smtp"}, 1},
			{"member", audit.Filter{Member: id, Actions: []audit.Action{audit.SignIn}}, 2},
			{"text", audit.Filter{Text: "opted-in@", Actions: []audit.Action{audit.SignIn}}, 1},
			{"from", audit.Filter{From: middle, Actions: []audit.Action{audit.SignIn}}, 2},
			{"to", audit.Filter{To: middle, Actions: []audit.Action{audit.SignIn}}, 1},
			{"between", audit.Filter{From: middle, To: middle.Add(time.Hour)}, 1},
			{"nothing", audit.Filter{From: middle.Add(5 * time.Hour)}, 0},
		} {
			if got := s.log(t, sample.Old, c.f); len(got) != c.want {
				t.Errorf("%s: %d entries, want %d: %+v", c.name, len(got), c.want, got)
			}
		}
	})
}

// No secret that anybody typed or was shown is in a record, a value that may be lost, a message of the bus, a log or an
// error, on whatever path, with the store working and broken.
func TestNoSecretAnywhere(t *testing.T) {
	out := locked{w: new(bytes.Buffer)}
	var errs []string
	ephemeral, bus := &spyEphemeral{Ephemeral: memory.NewEphemeral(memory.Options{})}, &spyBus{Bus: memory.NewBus()}
	spies := func(o *authcore.Options) {
		o.Log = slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
		o.Ephemeral, o.Bus = ephemeral, bus
	}
	inBubble(t, spies, func(t *testing.T, s *stage) {
		s.maxFailures(t, 5)
		canaries := []string{"canary-typed-7f3a1", "canary-next-9b2c4", "canary-web-5d6e8", "canary-as-name-1a2b3"}
		for _, p := range s.People {
			canaries = append(canaries, p.Account.Reveal())
			for _, a := range p.AppPasswords {
				canaries = append(canaries, a.Secret.Reveal())
			}
		}
		walk := func() {
			note := func(err error) {
				if err != nil {
					errs = append(errs, err.Error(), fmt.Sprintf("%+v %#v", err, err))
				}
			}
			for state, p := range s.People {
				for _, secret := range []string{"canary-typed-7f3a1", p.Account.Reveal()} {
					for i, name := range []string{p.Address, "canary-as-name-1a2b3@old.example", "canary-as-name-1a2b3"} {
						d, err := s.Authenticate(t.Context(), authtest.AttemptFrom(source(i), "caldav", name, secret))
						note(err)
						errs = append(errs, fmt.Sprintf("%+v %#v", d, d))
					}
				}
				if len(p.AppPasswords) > 0 {
					d, err := s.Authenticate(t.Context(), authtest.Attempt("caldav", p.Address, p.AppPasswords[0].Secret.Reveal()))
					note(err)
					errs = append(errs, fmt.Sprintf("%+v %#v", d, d))
				}
				_, err := s.SignIn(t.Context(), authtest.Client(), p.Address, secretOf("canary-web-5d6e8"))
				note(err)
				r, err := s.SignIn(t.Context(), authtest.Client(), p.Address, p.Account)
				note(err)
				canaries = append(canaries, long(r.Token.Reveal()), long(r.Ticket.Reveal()))
				errs = append(errs, fmt.Sprintf("%+v %#v", r.Token, r.Ticket))
				_, plain, err := s.CreateAppPassword(t.Context(), r.Actor, apppass.Wish{Name: state})
				note(err)
				canaries = append(canaries, long(plain.Reveal()))
				_, err = s.ChangePassword(t.Context(), r.Actor, secretOf("canary-typed-7f3a1"), secretOf("canary-next-9b2c4"), false)
				note(err)
				_, err = s.SignInPassword(t.Context(), authtest.Client(), r.Ticket, secretOf("short"))
				note(err)
			}
			temporary, _, err := s.ResetPassword(t.Context(), authtest.Operator(), s.address("expired"), false)
			note(err)
			canaries = append(canaries, long(temporary.Reveal()))
		}
		walk()
		for _, fault := range []storetest.Fault{storetest.FailBefore, storetest.FailAfter} {
			s.fail(func(string, []store.Op) storetest.Fault { return fault })
			walk()
			s.fail(nil)
		}
		places := map[string]string{"the log": out.String(), "errors and values": strings.Join(errs, "\n"), "what may be lost": ephemeral.seen(), "the bus": bus.seen()}
		for _, d := range []string{sample.New, sample.Old} {
			places["the records of "+d] = strings.Join(values(s.all(t, d, "")), "\n")
		}
		root, err := s.options.Records.List(t.Context(), member.Root, store.Query{})
		if err != nil {
			t.Fatal(err)
		}
		places["the records of the root"] = strings.Join(values(root), "\n")
		for place, text := range places {
			if text == "" {
				if place != "the log" {
					t.Errorf("%s: nothing to look at", place)
				}
				continue
			}
			for _, c := range canaries {
				for _, form := range []string{c, strings.ReplaceAll(c, "-", ""), hex.EncodeToString([]byte(c)), base64.StdEncoding.EncodeToString([]byte(c))} {
					if len(form) > 6 && strings.Contains(text, form) && !allowedThere(place, c) {
						t.Errorf("%s: holds %q", place, form)
					}
				}
			}
		}
	})
}

// An unknown name may be in the error that says which record could not be read: names are no secrets of the product, and
// still none is on record.
func allowedThere(place, canary string) bool {
	return strings.HasPrefix(canary, "canary-as-name") && place == "errors and values"
}

// long leaves out what is empty: it would be found everywhere.
func long(s string) string {
	if s == "" {
		return "canary that nobody has"
	}
	return s
}

type locked struct {
	mu sync.Mutex
	w  *bytes.Buffer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

func (l *locked) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.String()
}

// A spyEphemeral and a spyBus keep what they are given.
type spyEphemeral struct {
	store.Ephemeral
	text locked
	buf  bytes.Buffer
}

func (e *spyEphemeral) note(parts ...string) {
	e.text.mu.Lock()
	defer e.text.mu.Unlock()
	e.buf.WriteString(strings.Join(parts, " ") + "\n")
}

func (e *spyEphemeral) seen() string {
	e.text.mu.Lock()
	defer e.text.mu.Unlock()
	return e.buf.String()
}

func (e *spyEphemeral) Add(ctx context.Context, k store.Key, m string, w time.Duration) (int64, error) {
	e.note(k.Partition, k.Name, m)
	return e.Ephemeral.Add(ctx, k, m, w)
}

func (e *spyEphemeral) Put(ctx context.Context, k store.Key, v []byte, ttl time.Duration) error {
	e.note(k.Partition, k.Name, string(v))
	return e.Ephemeral.Put(ctx, k, v, ttl)
}

type spyBus struct {
	store.Bus
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *spyBus) Publish(ctx context.Context, topic string, msg []byte) error {
	b.mu.Lock()
	b.buf.WriteString(topic + " " + string(msg) + "\n")
	b.mu.Unlock()
	return b.Bus.Publish(ctx, topic, msg)
}

func (b *spyBus) seen() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// An entry has no field for a secret: one that is added must be thought about here.
func TestAuditEntryFields(t *testing.T) {
	p, err := json.Marshal(audit.Entry{ID: "x", Last: time.Now(), Actor: "x", Target: "x", MemberID: "x", Reason: "x", Detail: "x", Door: "x", From: "x", Agent: "x",
		Kind: "x", Credential: "x", Name: "x", Session: "x"})
	var got map[string]any
	if err := errors.Join(err, json.Unmarshal(p, &got)); err != nil {
		t.Fatal(err)
	}
	if len(got) != 17 {
		t.Errorf("%d fields: %s", len(got), p)
	}
}
