// Package notify tells members what happened to their accounts: in the inbox of the product, and outside by e-mail, text
// message and webhook. Every message is written in the same batch as what it tells of, so it is never lost and never tells
// of what did not happen. It refuses to carry a secret: a message names what was done, when, from where and what to do if
// it was somebody else. One-time codes alone are sent as what they are, and lie sealed until they have left.
//
// Who gets what: every message for a member goes into his inbox and, by e-mail, to his primary address. What concerns the
// security of his account goes also to his verified personal e-mail, for whoever took the account over reads the mailbox
// behind the door too. Announcements, and what tells administrators of others, do not. Codes go where they were asked for.
// An event goes as JSON to the webhooks that want its kind; codes and what they open never do.
//
// What goes outside waits in the outbox, a record in the domain's partition, until the other side has taken it: at least
// once. A process that dies between sending and deleting sends it again under the same id, marked with its attempt.
package notify

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"latchkey/authcore/member"
	"latchkey/authcore/secret"
	"latchkey/authcore/store"
)

// Message is one message in a member's inbox.
type Message struct {
	ID      string    `json:"id"`
	Time    time.Time `json:"time"`
	Kind    Kind      `json:"kind"`
	Subject string    `json:"subject"`
	Text    string    `json:"text"`
	Read    bool      `json:"read"`
}

// kept is a message as it is stored. One that holds a code is sealed, and is shown to older sessions alone.
type kept struct {
	Message
	OnlyBefore time.Time      `json:"only_before,omitzero"` // shown to sessions that began before
	Sealed     *secret.Sealed `json:"sealed,omitempty"`     // the text
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
	CounterWentBack    Kind = "possible_clone"   // Name: the device or passkey whose counter went back
	NewClient          Kind = "new_client"       // first time for this credential, door and network
	SignInCode         Kind = "sign_in_code"     // inbox only, to older sessions: a code for who cannot receive a text message
	TokenCreated       Kind = "api_token_created"
	AddressesFound     Kind = "addresses_found" // outside only: the answer to a forgotten address
	CodeSent           Kind = "code"            // outside only
)

// Kinds are all of them.
func Kinds() []Kind {
	return []Kind{AppPasswordCreated, MemberSuspended, GuessingSlowed, PasswordChanged, PasswordWasReset, TwoStepChanged, TwoStepOffered, MethodChanged,
		ContactChanged, WayAllowed, LinkChanged, QuickChanged, CounterWentBack, NewClient, SignInCode, TokenCreated, AddressesFound, CodeSent}
}

// ToAdministrators says that a message of the kind tells of somebody else.
func (k Kind) ToAdministrators() bool { return k == MemberSuspended || k == GuessingSlowed }

// Security says that a message of the kind goes to the verified personal e-mail too.
func (k Kind) Security() bool {
	return !k.ToAdministrators() && !k.Secret() && k != WayAllowed && k != TwoStepOffered
}

// Secret says that a message of the kind tells what only its receiver may know: no webhook gets it.
func (k Kind) Secret() bool { return k == CodeSent || k == SignInCode || k == AddressesFound }

// Keep is how long messages stay; CodeFor is how long those with a code do.
const (
	Keep    = 180 * 24 * time.Hour
	CodeFor = 5 * time.Minute
)

func prefix(id member.ID) string { return "message/" + string(id) + "/" }

// Key names a message.
func Key(d member.DomainID, id member.ID, message string) store.Key {
	return store.Key{Partition: member.Partition(d), Name: prefix(id) + message}
}

const sealMessage = "message"

// Op puts a message into a member's inbox.
func Op(to member.ID, m Message) store.Op {
	return put(to, kept{Message: named(m)}, Keep)
}

// CodeOp puts a message with a code into a member's inbox, where only sessions that began before it can read it: whoever
// waits for the code to sign in reads it where he is signed in.
func CodeOp(keys *secret.Keys, to member.ID, m Message) store.Op {
	m = named(m)
	sealed := keys.Seal(sealMessage, prefix(to)+m.ID, []byte(m.Text))
	m.Text = ""
	return put(to, kept{Message: m, OnlyBefore: m.Time, Sealed: &sealed}, CodeFor)
}

func named(m Message) Message {
	var b [6]byte
	_, _ = rand.Read(b[:])
	m.Time = m.Time.UTC()
	m.ID = fmt.Sprintf("%013x-%s", m.Time.UnixMilli(), hex.EncodeToString(b[:]))
	return m
}

func put(to member.ID, k kept, keep time.Duration) store.Op {
	p, err := json.Marshal(k)
	if err != nil {
		panic(fmt.Sprintf("notify: a message cannot be a record: %v", err)) // strings and times only
	}
	return store.Op{Kind: store.Put, Name: prefix(to) + k.ID, Value: p, ExpiresAt: k.Time.Add(keep)}
}

// Inbox reads a member's messages.
type Inbox struct {
	Records store.Records
	Keys    *secret.Keys // nil: messages with codes are not shown
	Since   time.Time    // when the session that reads began
}

// List answers up to limit messages that the session may read, newest first, and where to go on. A page with messages that
// it may not read is shorter.
func (i Inbox) List(ctx context.Context, d member.DomainID, id member.ID, after string, limit int) (l []Message, next string, err error) {
	q := store.Query{Prefix: prefix(id), Reverse: true, Limit: limit}
	if after != "" {
		q.After = prefix(id) + after
	}
	recs, err := i.Records.List(ctx, member.Partition(d), q)
	if err != nil {
		return nil, "", fmt.Errorf("list messages: %w", err)
	}
	for _, rec := range recs {
		m, ok, err := i.read(rec)
		if err != nil {
			return nil, "", fmt.Errorf("list messages: %w", err)
		}
		if ok {
			l = append(l, m)
		}
	}
	if len(recs) == limit {
		next = strings.TrimPrefix(recs[len(recs)-1].Name, prefix(id))
	}
	return l, next, nil
}

// read answers false for a message that the session may not see.
func (i Inbox) read(rec store.Record) (Message, bool, error) {
	var k kept
	if err := json.Unmarshal(rec.Value, &k); err != nil {
		return Message{}, false, fmt.Errorf("%s: %w", rec.Name, store.ErrCorrupt)
	}
	if k.Sealed == nil {
		return k.Message, true, nil
	}
	if i.Keys == nil || !i.Since.Before(k.OnlyBefore) {
		return Message{}, false, nil
	}
	text, err := i.Keys.Open(sealMessage, rec.Name, *k.Sealed)
	if err != nil {
		return Message{}, false, fmt.Errorf("%s: %w", rec.Name, err)
	}
	k.Text = string(text)
	return k.Message, true, nil
}

// MarkOp marks a message as read, or as unread. ErrNotFound when the session may not see one of that name.
func (i Inbox) MarkOp(ctx context.Context, d member.DomainID, id member.ID, message string, read bool) (store.Op, error) {
	rec, err := i.find(ctx, d, id, message)
	if err != nil {
		return store.Op{}, err
	}
	var k kept
	if err := json.Unmarshal(rec.Value, &k); err != nil {
		return store.Op{}, fmt.Errorf("%s: %w", rec.Name, store.ErrCorrupt)
	}
	k.Read = read
	op := put(id, k, 0)
	op.ExpiresAt, op.IfRevision = rec.ExpiresAt, rec.Revision
	return op, nil
}

// DeleteOp takes a message away. ErrNotFound when the session may not see one of that name.
func (i Inbox) DeleteOp(ctx context.Context, d member.DomainID, id member.ID, message string) (store.Op, error) {
	rec, err := i.find(ctx, d, id, message)
	if err != nil {
		return store.Op{}, err
	}
	return store.Op{Kind: store.Delete, Name: rec.Name, IfRevision: rec.Revision}, nil
}

func (i Inbox) find(ctx context.Context, d member.DomainID, id member.ID, message string) (store.Record, error) {
	if message == "" || strings.Contains(message, "/") || len(prefix(id))+len(message) > store.MaxName {
		return store.Record{}, store.ErrNotFound
	}
	rec, err := i.Records.Get(ctx, Key(d, id, message))
	if err != nil {
		if errors.Is(err, store.ErrNotFound) {
			return store.Record{}, store.ErrNotFound
		}
		return store.Record{}, fmt.Errorf("read message: %w", err)
	}
	if _, ok, err := i.read(rec); err != nil || !ok {
		return store.Record{}, errors.Join(err, store.ErrNotFound)
	}
	return rec, nil
}
