package authcore

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"latchkey/authcore/member"
	"latchkey/authcore/session"
	"latchkey/authcore/store"
)

// The live sessions of a whole domain are asked of the nodes when somebody wants to see them: the question goes over the
// bus, each node puts its page where the one who asks finds it. So a list costs what is asked for, and a sign-in nothing.

const (
	askTopic   = "sessions-asked"
	answersIn  = "session-answers" // partition of the ephemeral keys
	answerFor  = 10 * time.Second  // an answer that nobody took
	answerTime = time.Second       // how long a node is waited for
	answerLook = 20 * time.Millisecond
	maxListed  = 200 // sessions on a page
)

// sessionsAsked is a question to all nodes.
type sessionsAsked struct {
	ID     string          `json:"id"`
	Domain member.DomainID `json:"domain"`
	Member member.ID       `json:"member,omitempty"` // his alone
	Door   string          `json:"door,omitempty"`   // there alone
	After  string          `json:"after,omitempty"`
	Limit  int             `json:"limit"`
}

// sessionTold is one session of an answer.
type sessionTold struct {
	Member member.ID `json:"m"`
	Door   string    `json:"d"`
	Seat   string    `json:"s"`
}

// DomainSession is a live session with its member's address.
type DomainSession struct {
	session.Door
	Address string
}

// DomainSessionPage is a page of a domain's sessions. Silent names nodes that did not answer in time.
type DomainSessionPage struct {
	Sessions []DomainSession
	Next     string
	Silent   []string
}

// DoorSessions says which sessions of a domain are meant; the zero one means all.
type DoorSessions struct {
	Address string // those of the member with this address
	Door    string // those at this door
}

// DomainSessions lists the live door sessions of a domain on all nodes, the newest first: of those members whom the actor
// may look at.
func (c *Core) DomainSessions(ctx context.Context, a Actor, domain string, which DoorSessions, after string, limit int) (DomainSessionPage, error) {
	t, err := c.domainFor(ctx, a, domain, readDomain)
	if err != nil {
		return DomainSessionPage{}, err
	}
	q := sessionsAsked{ID: string(session.NewID()), Domain: t.Domain.ID, Door: which.Door, After: after, Limit: min(max(limit, 1), maxListed)}
	if which.Address != "" {
		of, err := c.memberFor(ctx, a, which.Address, readMember)
		if err != nil {
			return DomainSessionPage{}, err
		}
		if of.domain() != t.Domain.ID {
			return DomainSessionPage{}, deny(NotFound, "")
		}
		q.Member = of.person.ID
	}
	l := c.newest(q)
	var page DomainSessionPage
	if c.fleet != nil {
		l = c.named(l)
		more, silent, err := c.askNodes(ctx, q)
		if err != nil {
			return DomainSessionPage{}, err
		}
		l, page.Silent = append(l, slices.DeleteFunc(more, q.passes)...), silent // a node of an earlier version answers all
		slices.SortFunc(l, newestFirst)
	}
	if len(l) > q.Limit {
		l = l[:q.Limit]
		page.Next = placeOf(l[q.Limit-1])
	}
	for _, d := range l {
		p, err := c.dir.PersonByID(ctx, t.Domain.ID, d.Member)
		if err != nil {
			return DomainSessionPage{}, err
		}
		if p.Member == nil {
			continue
		}
		role, err := c.dir.Role(ctx, p.Member)
		if err != nil {
			return DomainSessionPage{}, err
		}
		if a.may(readMember, t.Domain.ID, p.ID, role) {
			page.Sessions = append(page.Sessions, DomainSession{Door: d, Address: p.Member.Address()})
		}
	}
	return page, nil
}

// newest answers a page of this process's, and one more if there are more.
func (c *Core) newest(q sessionsAsked) []session.Door {
	l := slices.DeleteFunc(c.doors.List(q.Domain, q.Member), q.passes)
	slices.SortFunc(l, newestFirst)
	return l[:min(len(l), q.Limit+1)]
}

// passes says that a session is not what is asked for.
func (q sessionsAsked) passes(d session.Door) bool {
	return q.After != "" && comparePlaces(placeOf(d), q.After) >= 0 || q.Door != "" && d.Door != q.Door || q.Member != "" && d.Member != q.Member
}

func newestFirst(a, b session.Door) int { return comparePlaces(placeOf(b), placeOf(a)) }

// placeOf is where a session stands in a list: when it began, to the millisecond, and its id.
func placeOf(d session.Door) string {
	return fmt.Sprintf("%d-%s", d.Since.UnixMilli(), d.ID)
}

func comparePlaces(a, b string) int {
	at, aid, _ := strings.Cut(a, "-")
	bt, bid, _ := strings.Cut(b, "-")
	an, _ := strconv.ParseInt(at, 10, 64)
	bn, _ := strconv.ParseInt(bt, 10, 64)
	return cmp.Or(cmp.Compare(an, bn), strings.Compare(aid, bid))
}

// askNodes asks the other nodes, and answers what they have and who was silent.
func (c *Core) askNodes(ctx context.Context, q sessionsAsked) (l []session.Door, silent []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, beatFor)
	defer cancel()
	nodes, err := c.liveNodes(ctx)
	if err != nil {
		return nil, nil, err
	}
	nodes = slices.DeleteFunc(nodes, func(n Node) bool { return n.Process == c.fleet.process })
	if len(nodes) == 0 {
		return nil, nil, nil
	}
	msg, err := json.Marshal(q)
	if err == nil {
		err = c.o.Bus.Publish(ctx, askTopic, msg)
	}
	if err != nil {
		return nil, nil, broken("ask the nodes for sessions", err)
	}
	var mu sync.Mutex
	each(tellers, nodes, func(n Node) {
		told, e := c.awaitAnswer(ctx, q, n)
		mu.Lock()
		defer mu.Unlock()
		if e != nil {
			silent = append(silent, n.Name)
		}
		l = append(l, told...)
	})
	slices.Sort(silent)
	return l, silent, nil
}

func answerKey(id, process string) store.Key {
	return store.Key{Partition: answersIn, Name: id + "/" + process}
}

func (c *Core) awaitAnswer(ctx context.Context, q sessionsAsked, n Node) ([]session.Door, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	for {
		p, err := c.o.Ephemeral.Take(ctx, answerKey(q.ID, n.Process))
		if errors.Is(err, store.ErrNotFound) {
			if pauseFor(ctx, answerLook); ctx.Err() == nil {
				continue
			}
		}
		if err != nil {
			return nil, err
		}
		var told []sessionTold
		if err := json.Unmarshal(p, &told); err != nil {
			return nil, err
		}
		var l []session.Door
		for _, s := range told {
			if v, err := session.ParseSeat(s.Seat, q.Domain, s.Member, s.Door); err == nil {
				v.Door.Node = n.Name
				l = append(l, v.Door)
			}
		}
		return l, nil
	}
}

// answerNodes answers what other nodes ask, one after the other, until ctx ends. Who asked through a gap asks again.
func (c *Core) answerNodes(ctx context.Context) {
	for ctx.Err() == nil {
		ch, err := c.o.Bus.Subscribe(ctx, askTopic)
		if err != nil {
			c.pause(ctx)
			continue
		}
		for msg := range ch {
			var q sessionsAsked
			if json.Unmarshal(msg, &q) == nil && q.ID != "" && q.Limit >= 1 && q.Limit <= maxListed {
				c.answerOne(ctx, q)
			}
		}
	}
}

func (c *Core) answerOne(ctx context.Context, q sessionsAsked) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	told := []sessionTold{}
	for _, d := range c.newest(q) {
		told = append(told, sessionTold{d.Member, d.Door, session.SeatOf(c.fleet.process, d)})
	}
	p, err := json.Marshal(told)
	if err == nil {
		err = c.o.Ephemeral.Put(ctx, answerKey(q.ID, c.fleet.process), p, answerFor)
	}
	if err != nil && ctx.Err() == nil {
		c.log.Warn("answer which sessions are here", "error", err)
	}
}
