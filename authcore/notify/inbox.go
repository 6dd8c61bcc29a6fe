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
	TwoStepChanged     Kind = "two_step_changed" // Name: on or off
	TwoStepOffered     Kind = "two_step_offered" // the policy asks no more: who wants to may switch it on himself
	MethodChanged      Kind = "method_changed"   // Name: what came or went
	ContactChanged     Kind = "contact_changed"  // to the old contact, too
	WayAllowed         Kind = "way_allowed"      // Name: the way to sign in that is available now
	LinkChanged        Kind = "link_changed"     // Name: the way that was linked or unlinked
	QuickChanged       Kind = "quick_changed"    // Name: the device
	NewClient          Kind = "new_client"       // first time for this credential, door and network
	SignInCode         Kind = "sign_in_code"     // a code for who cannot receive a text message
	TokenCreated       Kind = "api_token_created"
	AddressesFound     Kind = "addresses_found" // outside only: the answer to a forgotten address
	CodeSent           Kind = "code"            // outside only
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

func stamp(t time.Time) string { return t.UTC().Format("2 January 2006 at 15:04 UTC") }

func place(from string) string {
	if from == "" {
		return "an unknown address"
	}
	return from
}
