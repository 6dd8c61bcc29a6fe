package authcore_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/audit"
	"latchkey/authcore/authtest"
	"latchkey/authcore/member"
	"latchkey/authcore/oidc"
	"latchkey/authcore/sample"
	"latchkey/authcore/signin"
	"latchkey/authcore/store"
	"latchkey/authcore/store/memory"
	"latchkey/authcore/store/storetest"
	"latchkey/policy"
)

// providerStage is a stage whose old domain allows LINE and a provider "corp", with time that passes on demand: requests
// to providers are real, so no bubble will do.
type providerStage struct {
	*stage
	line, corp *authtest.Provider
	ahead      atomic.Int64
	log        lines
}

type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) { l.mu.Lock(); defer l.mu.Unlock(); return l.b.Write(p) }
func (l *lines) String() string              { l.mu.Lock(); defer l.mu.Unlock(); return l.b.String() }

func newProviderStage(t *testing.T, change func(*authcore.Options)) *providerStage {
	t.Helper()
	s := &providerStage{line: authtest.NewProvider(t, oidc.LINE), corp: authtest.NewProvider(t, oidc.OpenID)}
	line, corp := s.line.Party(t, "line"), s.corp.Party(t, "corp")
	now := func() time.Time { return time.Now().Add(time.Duration(s.ahead.Load())) }
	s.stage = newStage(t, func(o *authcore.Options) {
		o.Now, o.Log = now, slog.New(slog.NewTextHandler(&s.log, nil))
		o.Records, o.Ephemeral = memory.NewRecords(memory.Options{Now: now}), memory.NewEphemeral(memory.Options{Now: now})
		o.Providers = func() []*oidc.Provider { return []*oidc.Provider{line, corp} }
		if change != nil {
			change(o)
		}
	})
	s.allow(t, policy.Allow)
	return s
}

func (s *providerStage) pass(d time.Duration) { s.ahead.Add(int64(d)) }

func (s *providerStage) allow(t testing.TB, w policy.Way) {
	s.policy(t, sample.Old, func(p *policy.Policy) { p.SignIn.LINE, p.SignIn.OIDC = w, map[string]policy.Way{"corp": w} })
}

func (s *providerStage) at(name string) *authtest.Provider {
	if name == "corp" {
		return s.corp
	}
	return s.line
}

// link links the actor to an account.
func (s *providerStage) link(t testing.TB, a authcore.Actor, name, subject string) error {
	t.Helper()
	b, err := s.LinkProvider(t.Context(), a, name)
	if err != nil {
		return err
	}
	_, err = s.LinkProviderCallback(t.Context(), a, name, b.Ticket, s.at(name).Authorize(t, b.AuthorizeURL, subject))
	return err
}

// come signs in with an account.
func (s *providerStage) come(t testing.TB, name, subject string) (authcore.SignInResult, error) {
	t.Helper()
	b, err := s.SignInProvider(t.Context(), authtest.Client(), name)
	if err != nil {
		return authcore.SignInResult{}, err
	}
	return s.SignInProviderCallback(t.Context(), authtest.Client(), name, b.Ticket, s.at(name).Authorize(t, b.AuthorizeURL, subject))
}

func TestLinkAndSignInWithAProvider(t *testing.T) {
	t.Parallel()
	s := newProviderStage(t, nil)
	a := s.Actor(t, "account")
	if err := s.link(t, a, "line", "U-canary-subject"); err != nil {
		t.Fatal(err)
	}
	if err := s.link(t, a, "corp", "canary-corp"); err != nil {
		t.Fatal(err)
	}
	l, err := s.Links(t.Context(), a)
	if err != nil || len(l) != 2 || l[0].Provider != "corp" || l[1].Provider != "line" || l[0].Since.IsZero() {
		t.Fatalf("links %v, %v", l, err)
	}
	for _, way := range []string{"line", "corp"} {
		subject := map[string]string{"line": "U-canary-subject", "corp": "canary-corp"}[way]
		r, err := s.come(t, way, subject)
		if err != nil || r.State != authcore.SignedIn || r.Actor.Address != s.address("account") || r.Token.Empty() {
			t.Fatalf("%s: %+v, %v", way, r, err)
		}
	}
	msgs, _, err := s.Messages(t.Context(), a, "", 10)
	if err != nil || len(msgs) < 2 || msgs[0].Kind != "link_changed" {
		t.Errorf("messages %v, %v", msgs, err)
	}
	if err := s.Unlink(t.Context(), a, "line"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.come(t, "line", "U-canary-subject"); !denied(err, authcore.NotLinked) {
		t.Errorf("after unlinking: %v", err)
	}
	if err := s.link(t, s.Actor(t, "admin"), "line", "U-canary-subject"); err != nil {
		t.Errorf("another member links what was freed: %v", err)
	}
	s.told(t, map[audit.Action]int{audit.LinkCreate: 3, audit.LinkDelete: 1})
	named := map[string]int{}
	for _, e := range s.entries(t) {
		if e.Action == audit.SignIn && e.Reason == "allowed" && e.Credential == e.Name {
			named[e.Kind+" "+e.Name]++
		}
	}
	if named["line line"] != 1 || named["oidc.corp corp"] != 1 {
		t.Errorf("sign-ins by their links: %v", named)
	}
	s.keptNothing(t, "canary", "@provider.test")
}

// told counts entries of the old domain's audit.
func (s *providerStage) told(t *testing.T, want map[audit.Action]int) {
	t.Helper()
	got := map[audit.Action]int{}
	for _, e := range s.entries(t) {
		got[e.Action]++
	}
	for action, n := range want {
		if got[action] != n {
			t.Errorf("%d entries of %s, want %d", got[action], action, n)
		}
	}
}

func (s *providerStage) entries(t *testing.T) []audit.Entry {
	t.Helper()
	l, _, err := s.Audit(t.Context(), authtest.Operator(), sample.Old, audit.Filter{}, "", 200)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// keptNothing looks into every record, claims included, and the log.
func (s *providerStage) keptNothing(t *testing.T, words ...string) {
	t.Helper()
	words = append(words, s.line.Secrets()...)
	words = append(words, s.corp.Secrets()...)
	var all strings.Builder
	d := s.domain(t, sample.Old).ID
	partitions := []string{member.Partition(d), member.Partition(s.domain(t, sample.New).ID), member.Root}
	for _, p := range partitions {
		recs, err := s.options.Records.List(t.Context(), p, store.Query{})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range recs {
			fmt.Fprintln(&all, r.Name, string(r.Value))
		}
	}
	for issuer, subject := range map[string]string{s.line.URL: "U-canary-subject", s.corp.URL: "canary-corp"} {
		k := member.ClaimKey(member.ClaimProvider(issuer), member.HashSubject(issuer, subject))
		if r, err := s.options.Records.Get(t.Context(), k); err == nil {
			fmt.Fprintln(&all, k.Partition, r.Name, string(r.Value))
		}
	}
	for place, text := range map[string]string{"the store": all.String(), "the log": s.log.String()} {
		for _, w := range words {
			if w == "" || strings.Contains(text, w) {
				t.Errorf("%s holds %q", place, w)
			}
		}
	}
}

// TestProviderSignInsThatAreRefused: each begins with a member who is linked and gets in.
func TestProviderSignInsThatAreRefused(t *testing.T) {
	t.Parallel()
	yes := true
	for name, c := range map[string]struct {
		change  func(t *testing.T, s *providerStage)
		want    authcore.DenialReason
		audited bool
	}{
		"denied by policy": {func(t *testing.T, s *providerStage) { s.allow(t, policy.Deny) }, authcore.WayDenied, true},
		"denied to the member": {func(t *testing.T, s *providerStage) {
			p, err := s.DenyWays(t.Context(), authtest.Operator(), s.address("account"), []string{"line", "line"}, 0)
			if err != nil || !slices.Equal(p.Member.DeniedWays, []string{"line"}) {
				t.Fatal(p.Member.DeniedWays, err)
			}
			s.told(t, map[audit.Action]int{audit.WaysDeny: 1})
		}, authcore.WayDenied, true},
		"suspended": {func(t *testing.T, s *providerStage) {
			if _, err := s.Suspend(t.Context(), authtest.Operator(), s.address("account")); err != nil {
				t.Fatal(err)
			}
		}, "bad_credentials", true},
		"deleted": {func(t *testing.T, s *providerStage) {
			if err := s.DeleteMember(t.Context(), authtest.Operator(), s.address("account")); err != nil {
				t.Fatal(err)
			}
		}, "bad_credentials", true},
		"deleted for good": {func(t *testing.T, s *providerStage) {
			if err := s.DeleteMember(t.Context(), authtest.Operator(), s.address("account")); err != nil {
				t.Fatal(err)
			}
			s.pass(member.RestorableFor + time.Minute)
		}, authcore.NotLinked, false},
		"domain closed": {func(t *testing.T, s *providerStage) {
			if _, err := s.UpdateDomain(t.Context(), authtest.Operator(), sample.Old, authcore.DomainChange{Closed: &yes}); err != nil {
				t.Fatal(err)
			}
		}, "bad_credentials", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newProviderStage(t, nil)
			a := s.Actor(t, "account")
			if err := s.link(t, a, "line", "subject"); err != nil {
				t.Fatal(err)
			}
			r, err := s.come(t, "line", "subject")
			if err != nil {
				t.Fatal(err)
			}
			before := len(s.entries(t))
			c.change(t, s)
			if _, err := s.come(t, "line", "subject"); !denied(err, c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
			refused := slices.ContainsFunc(s.entries(t), func(e audit.Entry) bool {
				return e.Action == audit.SignIn && e.Reason == string(c.want) && e.Kind == "line"
			})
			if refused != c.audited || len(s.entries(t)) <= before {
				t.Errorf("audited: %v, want %v", refused, c.audited)
			}
			if c.want == authcore.WayDenied {
				if _, err := s.Session(t.Context(), r.Token, authtest.Client()); err != nil {
					t.Errorf("the session of before: %v", err)
				}
				if l, err := s.Links(t.Context(), a); err != nil || len(l) != 1 {
					t.Errorf("the link is not kept: %v, %v", l, err)
				}
			}
		})
	}
}

// TestDeniedWayTakesNoLink: neither at the beginning nor when it was denied while the browser was away.
func TestDeniedWayTakesNoLink(t *testing.T) {
	t.Parallel()
	s := newProviderStage(t, nil)
	a := s.Actor(t, "account")
	b, err := s.LinkProvider(t.Context(), a, "line")
	if err != nil {
		t.Fatal(err)
	}
	s.allow(t, policy.Deny)
	_, err = s.LinkProviderCallback(t.Context(), a, "line", b.Ticket, s.line.Authorize(t, b.AuthorizeURL, "subject"))
	if !denied(err, authcore.WayDenied) {
		t.Errorf("denied meanwhile: %v", err)
	}
	if _, err := s.LinkProvider(t.Context(), a, "line"); !denied(err, authcore.WayDenied) {
		t.Errorf("denied: %v", err)
	}
	s.allow(t, policy.Allow)
	if err := s.link(t, s.Actor(t, "admin"), "line", "subject"); err != nil {
		t.Errorf("the account of the refused link is not free: %v", err)
	}
	if err := s.link(t, a, "line", "subject"); !denied(err, authcore.AlreadyLinked) {
		t.Errorf("another member's account: %v", err)
	}
	if err := s.link(t, a, "line", "mine"); err != nil {
		t.Fatal(err)
	}
	if err := s.link(t, a, "line", "second"); !denied(err, authcore.AlreadyLinked) {
		t.Errorf("a second account at the provider: %v", err)
	}
	s.pass(11 * time.Minute)
	if _, err := s.LinkProvider(t.Context(), a, "corp"); !denied(err, authcore.ReauthenticationRequired) {
		t.Errorf("eleven minutes after the sign-in: %v", err)
	}
	if err := s.Unlink(t.Context(), a, "line"); !denied(err, authcore.ReauthenticationRequired) {
		t.Errorf("unlink eleven minutes after the sign-in: %v", err)
	}
}

func TestDeniedWaysAreWords(t *testing.T) {
	t.Parallel()
	s := newStage(t, nil)
	set := func(ways ...string) error {
		_, err := s.DenyWays(t.Context(), authtest.Operator(), s.address("account"), ways, 0)
		return err
	}
	if err := set("line", "phone", "quick", "passkey", "oidc.corp"); err != nil {
		t.Error(err)
	}
	if err := set(); err != nil || len(s.profile(t, s.address("account")).Member.DeniedWays) != 0 {
		t.Errorf("none: %v", err)
	}
	for _, w := range []string{"", "password", "oidc.", "oidc.line", "oidc.Corp", "LINE", strings.Repeat("a", 1000)} {
		if err := set(w); !denied(err, authcore.Invalid) {
			t.Errorf("%.20q: %v", w, err)
		}
	}
	if _, err := s.DenyWays(t.Context(), authtest.Operator(), s.address("account"), []string{"line"}, 1); !denied(err, authcore.RevisionMismatch) {
		t.Errorf("over another revision: %v", err)
	}
}

// TestTicketsOfProviders: a ticket is for one answer, one purpose, one provider, one browser and ten minutes.
func TestTicketsOfProviders(t *testing.T) {
	t.Parallel()
	s := newProviderStage(t, nil)
	a, ctx := s.Actor(t, "account"), t.Context()
	if err := s.link(t, a, "line", "subject"); err != nil {
		t.Fatal(err)
	}
	begin := func() (authcore.ProviderStep, authcore.ProviderAnswer) {
		b, err := s.SignInProvider(ctx, authtest.Client(), "line")
		if err != nil {
			t.Fatal(err)
		}
		return b, s.line.Authorize(t, b.AuthorizeURL, "subject")
	}
	in := func(c authcore.Client, name string, b authcore.ProviderStep, given authcore.ProviderAnswer) error {
		_, err := s.SignInProviderCallback(ctx, c, name, b.Ticket, given)
		return err
	}
	check := func(what string, err error, want authcore.DenialReason) {
		t.Helper()
		if want == "" && err != nil || want != "" && !denied(err, want) {
			t.Errorf("%s: %v, want %q", what, err, want)
		}
	}
	b, given := begin()
	check("another browser", in(authcore.Client{Addr: netip.MustParseAddr(there), Agent: "test"}, "line", b, given), authcore.TicketInvalid)
	check("another program", in(authcore.Client{Addr: netip.MustParseAddr(here), Agent: "other"}, "line", b, given), authcore.TicketInvalid)
	check("another provider", in(authtest.Client(), "corp", b, given), authcore.TicketInvalid)
	_, err := s.LinkProviderCallback(ctx, a, "line", b.Ticket, given)
	check("another purpose", err, authcore.TicketInvalid)
	check("its owner", in(authtest.Client(), "line", b, given), "")
	check("once more", in(authtest.Client(), "line", b, given), authcore.TicketInvalid)

	b, given = begin()
	_, other := begin()
	check("another sign-in's answer", in(authtest.Client(), "line", b, other), authcore.ProviderRefused)
	check("after a wrong answer", in(authtest.Client(), "line", b, given), authcore.TicketInvalid)
	b, given = begin()
	s.pass(11 * time.Minute)
	check("too late", in(authtest.Client(), "line", b, given), authcore.TicketInvalid)
	check("unknown provider", in(authtest.Client(), "nobody", b, given), authcore.NotFound)

	a = s.Actor(t, "account")
	l, err := s.LinkProvider(ctx, a, "corp")
	if err != nil {
		t.Fatal(err)
	}
	given = s.corp.Authorize(t, l.AuthorizeURL, "another")
	_, err = s.LinkProviderCallback(ctx, s.Actor(t, "admin"), "corp", l.Ticket, given)
	check("another member's ticket", err, authcore.TicketInvalid)
	_, err = s.LinkProviderCallback(ctx, s.Actor(t, "account"), "corp", l.Ticket, given)
	check("another session's ticket", err, authcore.TicketInvalid)
	check("a link's ticket at a sign-in", in(authtest.Client(), "corp", l, given), authcore.TicketInvalid)
	_, err = s.LinkProviderCallback(ctx, a, "corp", l.Ticket, given)
	check("its own", err, "")
}

// TestBeginsAreBounded: whoever begins and begins is told to wait; others are not.
func TestBeginsAreBounded(t *testing.T) {
	t.Parallel()
	s := newProviderStage(t, nil)
	var last error
	for range 400 {
		if _, last = s.SignInProvider(t.Context(), authtest.Client(), "line"); last != nil {
			break
		}
	}
	if !denied(last, "throttled") {
		t.Errorf("400 begins of one source: %v", last)
	}
	if _, err := s.SignInProvider(t.Context(), authcore.Client{Addr: netip.MustParseAddr(there)}, "line"); err != nil {
		t.Errorf("another source: %v", err)
	}
}

// TestProviderCallbacksRace: a hundred of the same answer sign in once.
func TestProviderCallbacksRace(t *testing.T) {
	t.Parallel()
	for name, change := range engines(t) {
		t.Run(name, func(t *testing.T) {
			s := newProviderStage(t, change)
			if err := s.link(t, s.Actor(t, "account"), "line", "subject"); err != nil {
				t.Fatal(err)
			}
			b, err := s.SignInProvider(t.Context(), authtest.Client(), "line")
			if err != nil {
				t.Fatal(err)
			}
			given := s.line.Authorize(t, b.AuthorizeURL, "subject")
			var in, late atomic.Int64
			together(100, func(int) {
				r, err := s.SignInProviderCallback(t.Context(), authtest.Client(), "line", b.Ticket, given)
				switch {
				case err == nil && r.State == authcore.SignedIn:
					in.Add(1)
				case denied(err, authcore.TicketInvalid):
					late.Add(1)
				default:
					t.Errorf("%+v, %v", r, err)
				}
			})
			if in.Load() != 1 || late.Load() != 99 {
				t.Errorf("%d signed in, %d came late", in.Load(), late.Load())
			}
		})
	}
}

func engines(t *testing.T) map[string]func(*authcore.Options) {
	return map[string]func(*authcore.Options){"memory": nil, "sqlite": onSQLite(t)}
}

func together(n int, do func(i int)) {
	var wait sync.WaitGroup
	begin := make(chan struct{})
	for i := range n {
		wait.Go(func() { <-begin; do(i) })
	}
	close(begin)
	wait.Wait()
}

// TestMembersRaceForOneAccount: one gets it, whoever signs in with it is he, and the others may link another.
func TestMembersRaceForOneAccount(t *testing.T) {
	t.Parallel()
	for name, change := range engines(t) {
		t.Run(name, func(t *testing.T) {
			s := newProviderStage(t, change)
			var people []authcore.Actor
			for _, state := range []string{"account", "admin", "opted-in"} {
				for range 10 {
					people = append(people, s.Actor(t, state))
				}
			}
			type begun struct {
				ticket authcore.ProviderStep
				given  authcore.ProviderAnswer
			}
			steps := make([]begun, len(people))
			for i, a := range people {
				b, err := s.LinkProvider(t.Context(), a, "line")
				if err != nil {
					t.Fatal(err)
				}
				steps[i] = begun{b, s.line.Authorize(t, b.AuthorizeURL, "subject")}
			}
			var won sync.Map
			together(len(people), func(i int) {
				_, err := s.LinkProviderCallback(t.Context(), people[i], "line", steps[i].ticket.Ticket, steps[i].given)
				switch {
				case err == nil:
					won.Store(people[i].Address, i)
				case !denied(err, authcore.AlreadyLinked) && !denied(err, authcore.RevisionMismatch):
					t.Errorf("%s: %v", people[i].Address, err)
				}
			})
			var winners []string
			won.Range(func(k, _ any) bool { winners = append(winners, k.(string)); return true })
			if len(winners) != 1 {
				t.Fatalf("%v won, want one", winners)
			}
			if r, err := s.come(t, "line", "subject"); err != nil || r.Actor.Address != winners[0] {
				t.Errorf("signed in as %s, %v; want %s", r.Actor.Address, err, winners[0])
			}
			linked := 0
			for _, state := range []string{"account", "admin", "opted-in"} {
				l, err := s.Links(t.Context(), s.Actor(t, state))
				if err != nil {
					t.Fatal(err)
				}
				linked += len(l)
			}
			if linked != 1 {
				t.Errorf("%d records name the account", linked)
			}
		})
	}
}

// TestLinksSurviveFaults stops a link at each of its writes, failed or written without a word: it works, or it can be
// made anew, at once by the same member and within a minute by another, and never by two.
func TestLinksSurviveFaults(t *testing.T) {
	t.Parallel()
	for _, fault := range []storetest.Fault{storetest.FailBefore, storetest.FailAfter} {
		for step := range 3 {
			t.Run(fmt.Sprintf("%v at %d", fault, step), func(t *testing.T) {
				t.Parallel()
				s := newProviderStage(t, nil)
				a, other := s.Actor(t, "account"), s.Actor(t, "admin")
				b, err := s.LinkProvider(t.Context(), a, "line")
				if err != nil {
					t.Fatal(err)
				}
				given := s.line.Authorize(t, b.AuthorizeURL, "subject")
				var n atomic.Int64
				s.fail(func(string, []store.Op) storetest.Fault {
					if n.Add(1) > int64(step) { // and everything after it: the process is gone
						if n.Load() == int64(step)+1 {
							return fault
						}
						return storetest.FailBefore
					}
					return storetest.NoFault
				})
				_, err = s.LinkProviderCallback(t.Context(), a, "line", b.Ticket, given)
				s.fail(nil)
				if n.Load() <= int64(step) {
					t.Fatalf("%d writes: the fault was not met", n.Load())
				}
				var d *authcore.Denial
				if errors.As(err, &d) {
					t.Errorf("a fault was told as %v", err)
				}
				l, err := s.Links(t.Context(), a)
				if err != nil {
					t.Fatal(err)
				}
				r, came := s.come(t, "line", "subject")
				if works := came == nil && r.Actor.Address == a.Address; works != (len(l) == 1) || !works && !denied(came, authcore.NotLinked) {
					t.Errorf("links %v, but signing in: %v", l, came)
				}
				s.pass(member.PendingFor + time.Second)
				if err := s.link(t, other, "line", "subject"); denied(err, authcore.AlreadyLinked) != (len(l) == 1) {
					t.Errorf("a minute later another member: %v, links %v", err, l)
				}
				if len(l) == 1 {
					if err := s.Unlink(t.Context(), a, "line"); err != nil {
						t.Fatal(err)
					}
					if err := s.link(t, other, "line", "subject"); err != nil {
						t.Errorf("freed: %v", err)
					}
				}
			})
		}
	}
}

// TestReauthenticationByProvider confirms the session of whoever is linked, and nobody else's.
func TestReauthenticationByProvider(t *testing.T) {
	t.Parallel()
	s := newProviderStage(t, nil)
	a := s.Actor(t, "account")
	if err := s.link(t, a, "line", "mine"); err != nil {
		t.Fatal(err)
	}
	if err := s.link(t, s.Actor(t, "admin"), "line", "another's"); err != nil {
		t.Fatal(err)
	}
	s.pass(11 * time.Minute)
	confirm := func(subject string) (authcore.SignInResult, error) {
		b, err := s.ReauthenticateProvider(t.Context(), a, "line")
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(b.AuthorizeURL, "prompt=login") {
			t.Errorf("the provider is not told to ask anew: %s", b.AuthorizeURL)
		}
		return s.ReauthenticateProviderCallback(t.Context(), a, "line", b.Ticket, s.line.Authorize(t, b.AuthorizeURL, subject))
	}
	for _, subject := range []string{"another's", "nobody's"} {
		if _, err := confirm(subject); !denied(err, authcore.NotLinked) {
			t.Errorf("%s account: %v", subject, err)
		}
	}
	if _, err := s.LinkProvider(t.Context(), a, "corp"); !denied(err, authcore.ReauthenticationRequired) {
		t.Errorf("before: %v", err)
	}
	r, err := confirm("mine")
	if err != nil || r.State != authcore.SignedIn || r.Actor.Session != a.Session {
		t.Fatalf("%+v, %v", r, err)
	}
	if err := s.link(t, r.Actor, "corp", "mine"); err != nil {
		t.Errorf("after: %v", err)
	}
}

// TestTwoStepFollowsAProvider: the account at the provider is the first factor and no more.
func TestTwoStepFollowsAProvider(t *testing.T) {
	t.Parallel()
	s := newProviderStage(t, nil)
	if err := s.link(t, s.Actor(t, "account"), "line", "subject"); err != nil {
		t.Fatal(err)
	}
	s.policy(t, sample.Old, func(p *policy.Policy) { p.SignIn.TwoStep = policy.TwoStepRequired })
	r, err := s.come(t, "line", "subject")
	if err != nil || r.State == authcore.SignedIn || !r.Token.Empty() {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestProviderLosesItsSayBeforeTheSecondStep: what is denied or unlinked while the code is on its way leads no further.
func TestProviderLosesItsSayBeforeTheSecondStep(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(t *testing.T, s *providerStage, a authcore.Actor)
		want   authcore.DenialReason
	}{
		"nothing happens": {func(*testing.T, *providerStage, authcore.Actor) {}, ""},
		"denied":          {func(t *testing.T, s *providerStage, _ authcore.Actor) { s.allow(t, policy.Deny) }, authcore.WayDenied},
		"unlinked": {func(t *testing.T, s *providerStage, a authcore.Actor) {
			if err := s.Unlink(t.Context(), a, "line"); err != nil {
				t.Fatal(err)
			}
		}, authcore.TicketInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newProviderStage(t, nil)
			a := s.Actor(t, "account")
			if err := s.link(t, a, "line", "subject"); err != nil {
				t.Fatal(err)
			}
			s.policy(t, sample.Old, func(p *policy.Policy) { p.SignIn.TwoStep = policy.TwoStepRequired })
			r, err := s.come(t, "line", "subject")
			if err != nil || r.State != authcore.EnrolmentRequired {
				t.Fatal(r.State, err)
			}
			c.change(t, s, a)
			_, err = s.SignInEnrolSend(t.Context(), authtest.Client(), r.Ticket, signin.ByEmail, "me@personal.example")
			if c.want == "" && err != nil || c.want != "" && !denied(err, c.want) {
				t.Errorf("%s: %v, want %q", r.State, err, c.want)
			}
		})
	}
}

// TestProviderThatIsDown is broken, not denied, and its reason is in no answer.
func TestProviderThatIsDown(t *testing.T) {
	t.Parallel()
	s := newProviderStage(t, nil)
	s.line.Close()
	var d *authcore.Denial
	if _, err := s.SignInProvider(t.Context(), authtest.Client(), "line"); err == nil || errors.As(err, &d) {
		t.Errorf("got %v, want an error that is no denial", err)
	}
}
