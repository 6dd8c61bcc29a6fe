package notify

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"latchkey/authcore/member"
	"latchkey/authcore/secret"
	"latchkey/authcore/store"
)

// Channel is a way out of the house.
type Channel string

// The channels. A domain has those that the configuration gives a Sender to.
const (
	ByEmail Channel = "email"
	BySMS   Channel = "sms"
)

// Outgoing is one message on its way to an address outside.
type Outgoing struct {
	ID      string    `json:"id"` // the same at every attempt: who gets it twice can tell
	Time    time.Time `json:"time"`
	Kind    Kind      `json:"kind"`
	Channel Channel   `json:"channel"`
	To      string    `json:"to"` // an e-mail address, or a number in E.164; empty: to nobody, and only costs the same
	Subject string    `json:"subject"`
	Text    string    `json:"text"`
}

// Sender takes messages out through one channel. An error means that it may be tried again.
type Sender interface {
	Send(ctx context.Context, o Outgoing) error
}

// OutboxPrefix begins the names of messages that wait in a domain.
const OutboxPrefix = "outbox/"

// waiting is the record of one: sealed, for it may hold a code.
type waiting struct {
	Channel Channel       `json:"channel"`
	Sealed  secret.Sealed `json:"sealed"`
}

const sealFor = "outbox"

// SendOp puts a message into the domain's outbox, in the batch of what it tells of. It is given up at until.
func SendOp(keys *secret.Keys, d member.DomainID, o Outgoing, until time.Time) store.Op {
	var b [8]byte
	_, _ = rand.Read(b[:])
	o.Time = o.Time.UTC()
	o.ID = fmt.Sprintf("%013x-%s", o.Time.UnixMilli(), hex.EncodeToString(b[:]))
	p, err := json.Marshal(o)
	if err != nil {
		panic(fmt.Sprintf("notify: a message cannot be a record: %v", err)) // strings and times only
	}
	w, err := json.Marshal(waiting{Channel: o.Channel, Sealed: keys.Seal(sealFor, string(d)+"/"+o.ID, p)})
	if err != nil {
		panic(fmt.Sprintf("notify: a message cannot be a record: %v", err))
	}
	return store.Op{Kind: store.Put, Name: OutboxPrefix + o.ID, Value: w, ExpiresAt: until}
}

// Waiting lists up to limit messages of a domain's outbox, the oldest first.
func Waiting(ctx context.Context, r store.Records, keys *secret.Keys, d member.DomainID, limit int) ([]Outgoing, error) {
	recs, err := r.List(ctx, member.Partition(d), store.Query{Prefix: OutboxPrefix, Limit: limit})
	if err != nil {
		return nil, fmt.Errorf("list outbox: %w", err)
	}
	var l []Outgoing
	for _, rec := range recs {
		var w waiting
		if err := json.Unmarshal(rec.Value, &w); err != nil {
			return nil, fmt.Errorf("list outbox: %s: %w", rec.Name, store.ErrCorrupt)
		}
		p, err := keys.Open(sealFor, string(d)+"/"+rec.Name[len(OutboxPrefix):], w.Sealed)
		if err != nil {
			return nil, fmt.Errorf("list outbox: %s: %w", rec.Name, err)
		}
		var o Outgoing
		if err := json.Unmarshal(p, &o); err != nil {
			return nil, fmt.Errorf("list outbox: %s: %w", rec.Name, store.ErrCorrupt)
		}
		l = append(l, o)
	}
	return l, nil
}
