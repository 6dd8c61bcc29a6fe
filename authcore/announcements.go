package authcore

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"latchkey/authcore/member"
	"latchkey/authcore/notify"
	"latchkey/authcore/store"
	"latchkey/policy"
)

// An announcement tells every member of a domain one thing. It is a record, written in the batch of the change that it
// tells of. Then the members are gone through page by page: the messages of a page and the place where to go on are one
// batch over the announcement's revision, so that nobody gets two and nobody none, whatever dies in between and however
// many processes try. Who becomes a member behind that place gets one too.

// Announcement is how far one has come.
type Announcement struct {
	ID         string      `json:"id"`
	Kind       notify.Kind `json:"kind"`
	Name       string      `json:"name"` // the way that is available now
	At         time.Time   `json:"at"`
	From       string      `json:"from,omitempty"`
	After      string      `json:"after,omitempty"` // the member's record to go on behind
	Done       int         `json:"done"`            // members told
	Total      int         `json:"total"`           // members, as they were counted when it began
	Counted    bool        `json:"counted"`
	FinishedAt time.Time   `json:"finished_at,omitzero"`
}

const (
	announcementPrefix = "announcement/"
	announcementPage   = 60                  // members in one batch: each takes two of 128 steps, a message and an e-mail, and the announcement one
	keepAnnouncement   = 30 * 24 * time.Hour // after it began; one takes minutes
	announceEvery      = time.Minute         // what no hint told of is found so
	maxJobs            = 10_000              // domains remembered; those beyond are found by a sweep
	memberPrefix       = "member/"
)

func announcementOp(n Announcement, ifRevision int64) store.Op {
	op := member.PutOp(store.Key{Name: announcementPrefix + n.ID}, n, ifRevision)
	op.ExpiresAt = n.At.Add(keepAnnouncement)
	return op
}

func announces(ops []store.Op) bool {
	return slices.ContainsFunc(ops, func(o store.Op) bool { return o.Kind == store.Put && strings.HasPrefix(o.Name, announcementPrefix) })
}

// announce tells every member of a domain, after the batch that it goes into was written.
func (c *Core) announce(d *member.Domain, a Actor, kind notify.Kind, name string) []store.Op {
	var b [6]byte
	_, _ = rand.Read(b[:])
	now := c.now().UTC()
	n := Announcement{ID: fmt.Sprintf("%013x-%s", now.UnixMilli(), hex.EncodeToString(b[:])), Kind: kind, Name: name, At: now, From: a.From()}
	return append([]store.Op{announcementOp(n, 0)}, c.hook(d.Name, "", notify.Event{Kind: kind, At: now, From: n.From, Name: name})...)
}

// announceWays announces each way that a policy opens and the installation has. One that it closes is announced to nobody.
func (c *Core) announceWays(d *member.Domain, a Actor, old, next policy.SignIn) (ops []store.Op) {
	ways := []string{policy.WayLINE, policy.WayPhone, policy.WayQuick, policy.WayPasskey}
	for name := range next.OIDC {
		ways = append(ways, policy.OIDCPrefix+name)
	}
	slices.Sort(ways[4:])
	for _, way := range ways {
		if next.Allows(way) && !old.Allows(way) && c.has(way) {
			ops = append(ops, c.announce(d, a, notify.WayAllowed, way)...)
		}
	}
	return ops
}

// has says whether the installation can do what a way needs: members are told of nothing that is not there.
func (c *Core) has(way string) bool {
	switch {
	case ofProvider(way):
		return c.providerBy(way) != nil
	case way == policy.WayPhone:
		return c.canSend(notify.BySMS)
	default:
		return c.o.Party != nil
	}
}

// offerTwoStep tells those whom the policy alone asked for 2-step verification that it is their choice now.
func (c *Core) offerTwoStep(d *member.Domain, a Actor, old, next policy.SignIn) []store.Op {
	if old.TwoStep != policy.TwoStepRequired || next.TwoStep == policy.TwoStepRequired {
		return nil
	}
	return c.announce(d, a, notify.TwoStepOffered, "")
}

// concerns says whether a member is told of what is announced.
func concerns(k notify.Kind, m *member.Member) bool {
	return k != notify.TwoStepOffered || m.TwoStep == member.ByPolicy
}

// Announcements lists those of a domain, the newest first.
func (c *Core) Announcements(ctx context.Context, a Actor, domain string, after string, limit int) ([]Announcement, string, error) {
	t, err := c.domainFor(ctx, a, domain, readDomain)
	if err != nil {
		return nil, "", err
	}
	q := store.Query{Prefix: announcementPrefix, Reverse: true, Limit: limit}
	if after != "" {
		q.After = announcementPrefix + after
	}
	recs, err := c.o.Records.List(ctx, member.Partition(t.Domain.ID), q)
	if err != nil {
		return nil, "", broken("list announcements", err)
	}
	var l []Announcement
	for _, r := range recs {
		var n Announcement
		if err := decode(r, &n); err != nil {
			return nil, "", err
		}
		l = append(l, n)
	}
	next := ""
	if len(recs) == limit {
		next = l[limit-1].ID
	}
	return l, next, nil
}

// jobs are the domains in which there may be announcements to make.
type jobs struct {
	mu      sync.Mutex
	domains map[member.DomainID]bool // guarded by mu
	all     bool                     // guarded by mu
	wake    chan struct{}
}

func newJobs() *jobs {
	return &jobs{domains: map[member.DomainID]bool{}, all: true, wake: make(chan struct{}, 1)}
}

func (j *jobs) add(d member.DomainID) {
	j.mu.Lock()
	if len(j.domains) < maxJobs {
		j.domains[d] = true
	}
	j.mu.Unlock()
	j.poke()
}

func (j *jobs) sweep() {
	j.mu.Lock()
	j.all = true
	j.mu.Unlock()
	j.poke()
}

func (j *jobs) poke() {
	select {
	case j.wake <- struct{}{}:
	default:
	}
}

func (j *jobs) take() (domains map[member.DomainID]bool, all bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	domains, all = j.domains, j.all
	j.domains, j.all = map[member.DomainID]bool{}, false
	return domains, all
}

// announceAll makes announcements until ctx ends. A domain has its turn after one page of another.
func (c *Core) announceAll(ctx context.Context, j *jobs) {
	tick := time.NewTicker(announceEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		domains, all := j.take()
		if all {
			c.everyDomain(ctx, func(d member.DomainID) { domains[d] = true })
		}
		for d := range domains {
			more, err := c.announcePage(ctx, d)
			if err != nil && ctx.Err() == nil {
				c.log.Warn("announce: it goes on later", "domain", d, "error", err)
			}
			if errors.Is(err, store.ErrUnavailable) {
				break // the next sweep finds the others
			}
			if more {
				j.add(d)
			}
		}
		select {
		case <-j.wake:
		case <-tick.C:
			j.sweep()
		case <-ctx.Done():
		}
	}
}

func (c *Core) everyDomain(ctx context.Context, f func(member.DomainID)) {
	after := ""
	for {
		ids, next, err := c.domainIDs(ctx, after, 256)
		if err != nil {
			if ctx.Err() == nil {
				c.log.Warn("look for announcements: they wait for the next sweep", "error", err)
			}
			return
		}
		for _, d := range ids {
			f(d)
		}
		if after = next; next == "" {
			return
		}
	}
}

// announcePage makes one page of a domain's announcements, the oldest first, and says whether there is more to do.
func (c *Core) announcePage(ctx context.Context, d member.DomainID) (more bool, err error) {
	after := ""
	for {
		recs, err := c.o.Records.List(ctx, member.Partition(d), store.Query{Prefix: announcementPrefix, After: after})
		if err != nil {
			return false, broken("list announcements", err)
		}
		for _, r := range recs {
			var n Announcement
			if err := decode(r, &n); err != nil {
				return false, err
			}
			if n.FinishedAt.IsZero() {
				err := c.announceStep(ctx, d, n, r.Revision)
				if errors.Is(err, store.ErrConflict) {
					return false, nil // another process is at it; the next sweep looks whether it got through
				}
				return err == nil, err
			}
		}
		if len(recs) < store.MaxListLimit {
			return false, nil
		}
		after = recs[len(recs)-1].Name
	}
}

// announceStep counts the members once, and then tells a page of them.
func (c *Core) announceStep(ctx context.Context, d member.DomainID, n Announcement, rev int64) error {
	var ops []store.Op
	if !n.Counted {
		total, err := c.countMembers(ctx, d)
		if err != nil {
			return err
		}
		n.Total, n.Counted = total, true
	} else {
		var err error
		if ops, err = c.tellPage(ctx, d, &n); err != nil {
			return err
		}
	}
	if _, err := c.records.Apply(ctx, member.Partition(d), append(ops, announcementOp(n, rev))...); err != nil {
		return broken("announce", err)
	}
	c.hint(ctx, d, ops) // without the announcement: this process goes on with it
	return nil
}

// tellPage answers the messages of the next page, and moves n behind it.
func (c *Core) tellPage(ctx context.Context, d member.DomainID, n *Announcement) (ops []store.Op, err error) {
	recs, err := c.o.Records.List(ctx, member.Partition(d), store.Query{Prefix: memberPrefix, After: n.After, Limit: announcementPage})
	if err != nil {
		return nil, broken("list members", err)
	}
	for _, r := range recs {
		var m member.Member
		if err := decode(r, &m); err != nil {
			return nil, err
		}
		n.After = r.Name
		if m.Status != member.Deleted {
			n.Done++
		}
		if m.Status != member.Deleted && concerns(n.Kind, &m) {
			ops = append(ops, c.quietly(&m, notify.Event{Kind: n.Kind, At: n.At, From: n.From, Name: n.Name})...)
		}
	}
	if len(recs) < announcementPage {
		n.FinishedAt = c.now().UTC()
		n.Total = max(n.Total, n.Done)
	}
	return ops, nil
}

func (c *Core) countMembers(ctx context.Context, d member.DomainID) (total int, err error) {
	after := ""
	for {
		recs, err := c.o.Records.List(ctx, member.Partition(d), store.Query{Prefix: memberPrefix, After: after})
		if err != nil {
			return 0, broken("count members", err)
		}
		for _, r := range recs {
			var m member.Member
			if err := decode(r, &m); err != nil {
				return 0, err
			}
			if m.Status != member.Deleted {
				total++
			}
		}
		if len(recs) < store.MaxListLimit {
			return total, nil
		}
		after = recs[len(recs)-1].Name
	}
}
