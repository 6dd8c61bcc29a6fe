package console

import (
	"strings"
	"testing"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/authtest"
	"latchkey/authcore/member"
	"latchkey/authcore/sample"
)

const oldDoors = "/domains/old.example/doors"

// healthy are upstreams of which one is down.
func healthy() []Upstream {
	since := time.Date(2026, 5, 4, 9, 0, 0, 0, time.UTC)
	return []Upstream{
		{Name: authtest.Upstream, Protocol: "imap", Well: true, Since: since, Addresses: []UpstreamAddress{{Address: "10.0.0.1:993", Well: true, Since: since}}},
		{Name: "spare", Protocol: "imap", Since: since, Trouble: "connection refused by 10.0.0.2", Addresses: []UpstreamAddress{{Address: "10.0.0.2:993", Since: since, Trouble: "refused"}}},
	}
}

func twoUpstreams(o *authcore.Options) {
	o.Upstreams = func(_, _ string) []string { return []string{authtest.Upstream, "spare"} }
}

// Closing a door says what ends at once, ends it, and opening lets programs in again.
func TestCloseAndOpenADoor(t *testing.T) {
	t.Parallel()
	s := open(t, Options{Upstreams: healthy}, nil)
	d, err := s.Authenticate(t.Context(), authtest.Attempt("imap", "account@old.example", s.People["account"].Account.Reveal()))
	if err != nil || !d.Allowed() {
		t.Fatalf("%q, %v", d.Reason, err)
	}
	b := s.signedIn("admin")
	p := b.get(oldDoors).is(200, "Doors", "IMAP: read mail Open", "Well", "signs out everybody who is connected there")
	p.hides("10.0.0.1")
	closed := p.follow("Close IMAP").is(200, "Close IMAP for old.example?", "signed out within a second").press("Close").is(200, "The door is closed.", "IMAP: read mail Closed")
	ok, err := s.Stands(t.Context(), authcore.Standing{Domain: s.domain(sample.Old), Member: d.Member, Session: d.Session, Credential: authcore.AccountCredential, Door: "imap", Epochs: d.Epochs})
	if err != nil || ok {
		t.Errorf("the session goes on: %v, %v", ok, err)
	}
	closed.press("Open IMAP").is(200, "The door is open.", "IMAP: read mail Open")
	b.get(oldDoors + "/window/close").is(404)
}

func (s *stage) domain(name string) member.DomainID {
	s.t.Helper()
	d, err := s.Domain(s.t.Context(), authtest.Operator(), name)
	if err != nil {
		s.t.Fatal(err)
	}
	return d.Domain.ID
}

// Two who close different doors at the same time both have what they wanted.
func TestTwoPeopleCloseDoors(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	one := s.signedIn("admin").get(oldDoors + "/imap/close")
	s.signedIn("operator").get(oldDoors + "/smtp/close").press("Close").is(200)
	one.press("Close").is(200, "IMAP: read mail Closed", "SMTP: send mail Closed", "POP3: fetch mail Open")
}

// An operator sees addresses and problems, and chooses; nobody else does.
func TestUpstreamsAreTheOperators(t *testing.T) {
	t.Parallel()
	s := open(t, Options{Upstreams: healthy}, twoUpstreams)
	p := s.signedIn("operator").get(oldDoors).is(200, "10.0.0.1:993", "Server for IMAP")
	p.having("Save the server for IMAP").choose("spare").press("Save the server for IMAP").is(200, "Saved.", "Not well", "connection refused by 10.0.0.2")
	admins := s.signedIn("admin").get(oldDoors).is(200, "spare", "Not well")
	admins.hides("10.0.0.2", "refused", "Server for IMAP")
	s.signedIn("admin").send("POST", oldDoors+"/imap/upstream", map[string][]string{"upstream": {"spare"}}).is(403, "the operator's")
	s.signedIn("operator").send("POST", oldDoors+"/imap/upstream", map[string][]string{"upstream": {"none"}}).is(422, "Some fields are not right.")
}

// Sessions at the doors are listed, filtered by member and door, and ended.
func TestLiveSessions(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	for _, at := range []string{"imap account", "smtp account", "imap opted-in"} {
		door, state, _ := strings.Cut(at, " ")
		word := s.People[state].Account
		if l := s.People[state].AppPasswords; len(l) > 0 {
			word = l[0].Secret
		}
		if d, err := s.Authenticate(t.Context(), authtest.Attempt(door, s.People[state].Address, word.Reveal())); err != nil || !d.Allowed() {
			t.Fatalf("%s: %q, %v", at, d.Reason, err)
		}
	}
	b := s.signedIn("admin")
	p := b.get("/domains/old.example/sessions").is(200, "account@old.example", "opted-in@old.example", "Demo", "Account password", "192.0.2.10")
	p.having("Show").choose("SMTP").press("Show").is(200, "account@old.example").hides("opted-in@old.example")
	his := p.having("Show").fill("Member", "account").press("Show").is(200, "account@old.example")
	his.hides("opted-in@old.example")
	left := his.press("End the session of account@old.example").is(200, "The session is ended.")
	if left.at.Query().Get("member") != "account" {
		t.Errorf("the filter is gone: %s", left.at)
	}
	left.press("End the session of account@old.example").is(200, "Nobody is signed in.")
	p.having("Show").fill("Member", "nobody").press("Show").is(422, "There is no member with this address.")
	b.get("/domains/old.example/sessions").is(200, "opted-in@old.example").follow("opted-in@old.example").is(200, "Status")
}

func TestDomainsAreTheOperators(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	b := s.signedIn("operator")
	p := b.get("/domains").is(200, "new.example", "old.example", "2020-01-15", "App passwords only", "Members choose", "IMAP, SMTP, POP3, CalDAV, CardDAV")
	p.having("Search").fill("Part of a name", "OLD").press("Search").is(200, "2020-01-15").hides("2023-05-01")
	p.having("Search").fill("Part of a name", "zzz").press("Search").is(200, "No domain was found.")

	form := p.follow("Create domain").is(200, "2022-10-13", "app passwords only, for ever").having("Create domain")
	form.fill("Name of the mail domain", "three.example").fill("Created on", "2022-10-12").press("Create domain").is(200, "The domain is created.", "Members", "three.example")
	form.press("Create domain").is(409, "There is a domain of this name.")
	form.fill("Name of the mail domain", "four.example").fill("Created on", "2022-10-13").press("Create domain").is(200)
	form.fill("Name of the mail domain", "no domain").press("Create domain").is(422, "Must be the name of a mail domain")
	form.fill("Name of the mail domain", "five.example").fill("Created on", "yesterday").press("Create domain").is(422, "Must be a day like")
	list := b.get("/domains").is(200, "three.example", "four.example")
	if row := list.within("", "Search"); row == nil {
		t.Error("no search")
	}
	if got := list.text(); !strings.Contains(got, "three.example IMAP, SMTP, POP3, CalDAV, CardDAV 2022-10-12 Open Members choose") || !strings.Contains(got, "four.example IMAP, SMTP, POP3, CalDAV, CardDAV 2022-10-13 Open App passwords only") {
		t.Errorf("the cutoff: %s", got)
	}
}

func TestCloseAndReopenADomain(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	theirs := s.signedIn("account")
	b := s.signedIn("operator")
	closed := b.get("/domains").follow("Close old.example").is(200, "Close the domain old.example?", "Nothing is deleted").press("Close the domain").is(200, "The domain is closed.", "Closed")
	if p := theirs.get(oldAccount); !strings.HasPrefix(p.at.Path, "/sign-in") {
		t.Errorf("still signed in: %s", p.at)
	}
	b.get(oldDoors).is(200, "The whole domain is closed")
	closed.press("Reopen old.example").is(200, "The domain is open again.")
	s.signedIn("account")
}

func TestDomainsArePaged(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	for i := range perPage {
		if _, err := s.CreateDomain(t.Context(), authtest.Operator(), authcore.NewDomain{Name: "a" + string(rune('a'+i/26)) + string(rune('a'+i%26)) + ".example"}); err != nil {
			t.Fatal(err)
		}
	}
	b := s.signedIn("operator")
	first := b.get("/domains").is(200, "aaa.example")
	first.hides("old.example")
	first.follow("Next page").is(200, "old.example").hides("aaa.example")
	b.get("/domains?q=a").is(200, "aaa.example").follow("Next page").is(200, "old.example")
}

// The nodes are shown to operators, where there is a fleet.
func TestNodesOfAFleet(t *testing.T) {
	t.Parallel()
	alone := open(t, Options{}, nil).signedIn("operator")
	alone.get("/domains").hides("Nodes")
	alone.get("/nodes").is(404)

	s := open(t, Options{}, func(o *authcore.Options) {
		o.Fleet = &authcore.Fleet{Name: "mail-1", Version: "v1", Addresses: []string{"imaps [::]:993"}}
	})
	p := s.signedIn("operator").get("/domains").is(200, "Nodes").follow("Nodes")
	p.is(200, "mail-1", "imaps [::]:993", "v1")
	s.signedIn("admin").get("/nodes").is(403)
}
