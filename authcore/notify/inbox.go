// Package notify tells members what happened to their accounts: the inbox in the product, whose messages are written in
// the same batch as what they tell of. It refuses to carry a secret: a message names what was done, when, from where and
// what to do if it was somebody else.
package notify

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"latchkey/authcore/member"
	"latchkey/authcore/store"
)

// Message is one message in a member's inbox.
type Message struct {
	ID      string    `json:"id"`
	Time    time.Time `json:"time"`
	Kind    Kind      `json:"kind"`
	Subject string    `json:"subject"`
	Text    string    `json:"text"`
}

// Kind is one word out of a closed set.
type Kind string

// The kinds. The set only grows.
const (
	AppPasswordCreated Kind = "app_password_created"
	MemberSuspended    Kind = "member_suspended" // to administrators
	GuessingSlowed     Kind = "guessing_slowed"  // to administrators: wrong passwords for one who is never suspended
	PasswordChanged    Kind = "password_changed"
	PasswordWasReset   Kind = "password_reset"
)

// Keep is how long messages stay.
const Keep = 180 * 24 * time.Hour

func prefix(id member.ID) string { return "message/" + string(id) + "/" }

// Op puts a message into a member's inbox.
func Op(to member.ID, m Message) store.Op {
	var b [6]byte
	_, _ = rand.Read(b[:])
	m.Time = m.Time.UTC()
	m.ID = fmt.Sprintf("%013x-%s", m.Time.UnixMilli(), hex.EncodeToString(b[:]))
	p, err := json.Marshal(m)
	if err != nil {
		panic(fmt.Sprintf("notify: a message cannot be a record: %v", err)) // strings and times only
	}
	return store.Op{Kind: store.Put, Name: prefix(to) + m.ID, Value: p, ExpiresAt: m.Time.Add(Keep)}
}

// List answers up to limit messages, newest first, and where to go on.
func List(ctx context.Context, r store.Records, d member.DomainID, id member.ID, after string, limit int) (l []Message, next string, err error) {
	q := store.Query{Prefix: prefix(id), Reverse: true, Limit: limit}
	if after != "" {
		q.After = prefix(id) + after
	}
	recs, err := r.List(ctx, member.Partition(d), q)
	if err != nil {
		return nil, "", fmt.Errorf("list messages: %w", err)
	}
	for _, rec := range recs {
		var m Message
		if err := json.Unmarshal(rec.Value, &m); err != nil {
			return nil, "", fmt.Errorf("list messages: %s: %w", rec.Name, store.ErrCorrupt)
		}
		l = append(l, m)
	}
	if len(recs) == limit {
		next = strings.TrimPrefix(recs[len(recs)-1].Name, prefix(id))
	}
	return l, next, nil
}

// AppPassword tells that an app password was made.
func AppPassword(name, from string, at time.Time) Message {
	return Message{Time: at, Kind: AppPasswordCreated, Subject: "A third-party app password was created",
		Text: fmt.Sprintf("The app password %q was created on %s from %s.\n\nIf this was not you: delete it on the Security page at once and "+
			"change your account password.", name, stamp(at), place(from))}
}

// Suspended tells an administrator that a member was suspended for wrong passwords.
func Suspended(address, from string, at time.Time) Message {
	return Message{Time: at, Kind: MemberSuspended, Subject: "A member was suspended: " + address,
		Text: fmt.Sprintf("%s was suspended on %s after too many wrong passwords, the last from %s. Only an administrator can lift the suspension.",
			address, stamp(at), place(from))}
}

// Slowed tells an administrator that somebody guesses at one who is never suspended.
func Slowed(address, from string, at time.Time) Message {
	return Message{Time: at, Kind: GuessingSlowed, Subject: "Wrong passwords for " + address,
		Text: fmt.Sprintf("There were too many wrong passwords for %s, the last on %s from %s. This account is never suspended: attempts are slowed.",
			address, stamp(at), place(from))}
}

// Password tells that the account password changed; byAdministrator that somebody else did it.
func Password(byAdministrator bool, from string, at time.Time) Message {
	if byAdministrator {
		return Message{Time: at, Kind: PasswordWasReset, Subject: "Your password was reset",
			Text: fmt.Sprintf("An administrator reset your account password on %s. You set your own when you next sign in on the web.", stamp(at))}
	}
	return Message{Time: at, Kind: PasswordChanged, Subject: "Your password was changed",
		Text: fmt.Sprintf("Your account password was changed on %s from %s.\n\nIf this was not you: tell your administrator at once.", stamp(at), place(from))}
}

func stamp(t time.Time) string { return t.UTC().Format("2 January 2006 at 15:04 UTC") }

func place(from string) string {
	if from == "" {
		return "an unknown address"
	}
	return from
}
