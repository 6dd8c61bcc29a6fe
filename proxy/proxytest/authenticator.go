package proxytest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"

	"latchkey/authcore"
	"latchkey/authcore/member"
	"latchkey/authcore/session"
)

// ErrBroken is what a person listed with "error" makes the Authenticator answer.
var ErrBroken = errors.New("storage is down")

// Authenticator keeps proxy.Authenticator: it knows the people it was told of and remembers what it was asked.
type Authenticator struct {
	// OnAuthenticate, if set, decides instead of the list of people; told names what the list would have answered.
	// Waiting for ctx, failing and panicking are welcome. Set before use.
	OnAuthenticate func(ctx context.Context, a authcore.Attempt, told authcore.Decision) (authcore.Decision, error)
	// OnStands, if set, answers Stands; else every session stands. Set before use.
	OnStands func(ctx context.Context, s authcore.Standing) (bool, error)

	mu       sync.Mutex
	people   map[person]answer
	attempts []authcore.Attempt
	judged   []authcore.Standing
	ended    []Ended
}

type person struct{ name, secret string }

type answer struct {
	decision authcore.Decision
	err      error
}

// Ended is one call of Authenticator.Ended.
type Ended struct {
	Session session.ID
	authcore.End
}

// NewAuthenticator knows nobody.
func NewAuthenticator() *Authenticator { return &Authenticator{people: make(map[person]answer)} }

// Person adds one. If d allows, what it does not say is filled in: member and domain (after the name), credential
// "account", the name as the only address, the upstream "mail" with the name as its user; each attempt gets a session.
func (a *Authenticator) Person(name, secret string, d authcore.Decision) {
	if d.Allowed() {
		d = filled(name, d)
	}
	a.add(person{name, secret}, answer{decision: d})
}

// Broken adds a person whose attempts fail with ErrBroken.
func (a *Authenticator) Broken(name, secret string) {
	a.add(person{name, secret}, answer{err: ErrBroken})
}

func (a *Authenticator) add(p person, ans answer) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.people[p] = ans
}

func filled(name string, d authcore.Decision) authcore.Decision {
	local, domain, _ := strings.Cut(name, "@")
	if d.Member == "" {
		d.Member = member.ID(local)
	}
	if d.Domain == "" {
		d.Domain = member.DomainID(domain)
	}
	if d.Credential == "" {
		d.Credential = "account"
	}
	if d.Addresses == nil {
		d.Addresses = []string{name}
	}
	if d.Upstream.Name == "" {
		d.Upstream = authcore.Upstream{Name: "mail", User: name}
	}
	return d
}

// Authenticate answers what the list of people says, at once.
func (a *Authenticator) Authenticate(ctx context.Context, at authcore.Attempt) (authcore.Decision, error) {
	told, err := a.lookUp(at)
	if a.OnAuthenticate != nil {
		return a.OnAuthenticate(ctx, at, told)
	}
	return told, err
}

func (a *Authenticator) lookUp(at authcore.Attempt) (authcore.Decision, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.attempts = append(a.attempts, at)
	password, ok := at.Credential.(authcore.Password)
	if !ok {
		return authcore.Decision{}, errors.New("a credential of unknown kind")
	}
	name := password.UnverifiedName
	if at.Conn.DefaultDomain != "" && !strings.Contains(name, "@") {
		name += "@" + at.Conn.DefaultDomain
	}
	ans, ok := a.people[person{name, password.Secret.Reveal()}]
	if !ok || password.AuthorizeAs != "" && password.AuthorizeAs != password.UnverifiedName {
		return authcore.Decision{Reason: authcore.BadCredentials}, nil
	}
	if ans.decision.Allowed() {
		ans.decision.Session = session.NewID()
	}
	return ans.decision, ans.err
}

// Stands answers true, or what OnStands says.
func (a *Authenticator) Stands(ctx context.Context, s authcore.Standing) (bool, error) {
	a.mu.Lock()
	a.judged = append(a.judged, s)
	a.mu.Unlock()
	if a.OnStands != nil {
		return a.OnStands(ctx, s)
	}
	return true, nil
}

// Ended remembers.
func (a *Authenticator) Ended(_ context.Context, id session.ID, e authcore.End) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ended = append(a.ended, Ended{Session: id, End: e})
}

// Attempts lists what Authenticate was asked, oldest first.
func (a *Authenticator) Attempts() []authcore.Attempt {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.attempts)
}

// Judged lists what Stands was asked, oldest first.
func (a *Authenticator) Judged() []authcore.Standing {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.judged)
}

// EndedCalls lists the calls of Ended, oldest first.
func (a *Authenticator) EndedCalls() []Ended {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.ended)
}
