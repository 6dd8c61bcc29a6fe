package main

import (
	"context"
	"errors"
	"slices"

	"latchkey/authcore"
	"latchkey/authcore/session"
	"latchkey/policy"
	"latchkey/proxy"
)

// The sessions of a process that has given the store up and drains. The new process judges them: for lists, limits and
// revocations they are its own, and when one is to end it says so to the old process.

// tellSessions tells the heir of every session that lives on. From now on the desk tells it of every end.
func (h *house) tellSessions(x *heir) error {
	for _, e := range h.live.Entries() {
		o, s := e.Open(), e.Standing()
		if err := x.say(note{Say: saySession, Open: &o, Standing: &s}); err != nil {
			return err
		}
	}
	return nil
}

// takeSessions hears of the elder's sessions, until it says that it gave the store up. An end may be told before its
// session is.
func (e *elder) takeSessions() error {
	ended := map[session.ID]bool{}
	for {
		n, err := e.hear(hearTime)
		switch {
		case err == nil && n.Say == saySession && n.Open != nil && n.Standing != nil:
			e.left = append(e.left, n)
			continue
		case err == nil && n.Say == sayEnded:
			ended[n.Session] = true
			continue
		}
		e.left = slices.DeleteFunc(e.left, func(n note) bool { return ended[n.Standing.Session] })
		_, err = n.is(sayReleased, err)
		return err
	}
}

// adopt takes the elder's sessions for this process's own, before anybody judges.
func (h *house) adopt(e *elder) *adopted {
	a := &adopted{h: h, elder: e, entries: make(map[session.ID]*proxy.Entry, len(e.left)), cuts: make(chan note, len(e.left))}
	for _, n := range e.left {
		h.core.Adopt(doorOf(*n.Open, *n.Standing))
		id := n.Standing.Session
		a.entries[id] = h.live.Enter(*n.Open, *n.Standing, proxy.CutFunc(func(cause error) { // called once
			a.cuts <- note{Say: sayCut, Session: id, Cause: cutWord(cause)}
		}))
	}
	e.left = nil
	return a
}

// doorOf is a session as the registry knows it.
func doorOf(o proxy.Open, s authcore.Standing) session.Door {
	d := session.Door{ID: s.Session, Domain: s.Domain, Member: s.Member, Credential: s.Credential, CredentialName: o.CredentialName, Door: s.Door,
		From: o.Client.Addr().Unmap().String(), Agent: o.Agent, Since: o.Since.UTC(), Until: s.Until, Epochs: s.Epochs}
	if s.Door == policy.CalDAV || s.Door == policy.CardDAV {
		d.Share = "the elder's"
	}
	return d
}

// adopted are the sessions that an elder drains.
type adopted struct {
	h       *house
	elder   *elder
	entries map[session.ID]*proxy.Entry // owned by attend
	cuts    chan note                   // has room for one of each
}

// attend hears which sessions have ended, until the elder has drained or is gone: then all have. It stays beside ctx, which
// ends the conversation.
func (a *adopted) attend(ctx context.Context) {
	defer context.AfterFunc(ctx, a.elder.close)()
	over := make(chan struct{})
	told := make(chan struct{})
	go func() { defer close(told); a.tellCuts(over) }()
	defer func() { <-told }()
	defer a.elder.close()
	defer close(over)
	for {
		n, err := a.elder.hear(0)
		if err != nil {
			break
		}
		if n.Say == sayEnded && n.End != nil {
			a.ended(ctx, n.Session, *n.End)
		}
	}
	for id := range a.entries {
		a.ended(ctx, id, authcore.End{Cause: "error", Established: true})
	}
}

// tellCuts begins when the elder knows that this process serves: until then it waits for that word and takes any other for
// a failure.
func (a *adopted) tellCuts(over <-chan struct{}) {
	select {
	case <-a.elder.told:
	case <-over:
		return
	}
	for {
		select {
		case n := <-a.cuts:
			_ = a.elder.say(n) // unless it has drained and gone
		case <-over:
			return
		}
	}
}

// ended tells whoever has the store, which may be another process again.
func (a *adopted) ended(ctx context.Context, id session.ID, end authcore.End) {
	e := a.entries[id]
	if e == nil {
		return
	}
	delete(a.entries, id)
	e.Leave()
	a.h.desk.Ended(context.WithoutCancel(ctx), id, end)
}

// hearCuts ends the sessions that the heir says, until it is gone: then nobody can judge them any more, and all end.
func (x *heir) hearCuts(ctx context.Context, live *proxy.Live) {
	defer context.AfterFunc(ctx, x.close)()
	for {
		n, err := x.hear(0)
		if err != nil {
			live.Cut(func(proxy.Open) bool { return true }, proxy.ErrRevoked)
			return
		}
		if n.Say != sayCut {
			continue
		}
		if e := live.Find(n.Session); e != nil {
			e.Cut(cutCause(n.Cause))
		}
	}
}

// causes of cuts that travel.
var causes = map[string]error{"expired": proxy.ErrExpired, "unavailable": proxy.ErrUnjudged, "revoked": proxy.ErrRevoked}

func cutWord(cause error) string {
	for word, err := range causes {
		if errors.Is(cause, err) {
			return word
		}
	}
	return "revoked"
}

func cutCause(word string) error {
	if err := causes[word]; err != nil {
		return err
	}
	return proxy.ErrRevoked
}
