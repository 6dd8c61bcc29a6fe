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

// Channel is a way out of the house.
type Channel string

// The channels. A domain has those that the configuration gives a Sender to. Each webhook is a channel of its own, so that
// one that is down holds nobody else up.
const (
	ByEmail  Channel = "email"
	BySMS    Channel = "sms"
	webhooks         = "webhook"
)

// ByWebhook is the channel of a webhook, by its name in the configuration.
func ByWebhook(name string) Channel { return Channel(webhooks + ":" + name) }

// Word is the channel in metrics and audit: email, sms or webhook.
func (c Channel) Word() string {
	w, _, _ := strings.Cut(string(c), ":")
	return w
}

// Outgoing is one message on its way to an address outside.
type Outgoing struct {
	ID      string    `json:"id"` // the same at every attempt: who gets it twice can tell
	Time    time.Time `json:"time"`
	Kind    Kind      `json:"kind"`
	Channel Channel   `json:"channel"`
	To      string    `json:"to"` // an e-mail address, or a number in E.164; empty: to nobody, and only costs the same
	Subject string    `json:"subject"`
	Text    string    `json:"text"` // to a webhook: the JSON
	Attempt int       `json:"-"`    // from 1 on; above it the message may have arrived before
}

// Sender takes messages out through one channel. An error means that it may be tried again.
type Sender interface {
	Send(ctx context.Context, o Outgoing) error
}

// ErrRefused in the error of a Sender: the other side is well and does not take this message. It is tried a few times more,
// and says nothing of the channel.
var ErrRefused = errors.New("refused")

// ErrNotNow in the error of a Sender: the other side is well, and this receiver cannot take the message now. It is tried
// again like after a failure, and says nothing of the channel either.
var ErrNotNow = errors.New("not now")

// OutboxPrefix begins the names of messages that wait in a domain: then the channel, and the urgent before the rest.
const OutboxPrefix = "outbox/"

func queuePrefix(c Channel) string { return OutboxPrefix + string(c) + "/" }

// waiting is the record of one: sealed, for it may hold a code.
type waiting struct {
	Sealed   secret.Sealed `json:"sealed"`
	Until    time.Time     `json:"until"`            // given up from here on
	Attempts int           `json:"attempts"`         // begun
	Next     time.Time     `json:"next,omitzero"`    // not to be tried before: while it is being sent, and after a failure
	Refused  int           `json:"refused,omitzero"` // attempts that ended with ErrRefused
}

const sealFor = "outbox"

// mourned is how long a message outlives its time, so that its end is told.
const mourned = 24 * time.Hour

// SendFor is how long others than codes are tried.
const SendFor = 24 * time.Hour

// SendOp puts a message into the domain's outbox, in the batch of what it tells of. It is given up at until.
func SendOp(keys *secret.Keys, o Outgoing, until time.Time) store.Op {
	var b [8]byte
	_, _ = rand.Read(b[:])
	o.Time = o.Time.UTC()
	urgent := "1"
	if o.Kind == CodeSent {
		urgent = "0"
	}
	o.ID = fmt.Sprintf("%s%013x-%s", urgent, o.Time.UnixMilli(), hex.EncodeToString(b[:]))
	p, err := json.Marshal(o)
	if err != nil {
		panic(fmt.Sprintf("notify: a message cannot be a record: %v", err)) // strings and times only
	}
	return waitOp(queuePrefix(o.Channel)+o.ID, waiting{Sealed: keys.Seal(sealFor, o.ID, p), Until: until.UTC()}, 0)
}

func waitOp(name string, w waiting, ifRevision int64) store.Op {
	p, err := json.Marshal(w)
	if err != nil {
		panic(fmt.Sprintf("notify: a message cannot be a record: %v", err))
	}
	return store.Op{Kind: store.Put, Name: name, Value: p, IfRevision: ifRevision, ExpiresAt: w.Until.Add(mourned)}
}

// Waits says whether a batch puts something into the outbox.
func Waits(ops []store.Op) bool {
	for _, op := range ops {
		if op.Kind == store.Put && strings.HasPrefix(op.Name, OutboxPrefix) {
			return true
		}
	}
	return false
}

// Waiting lists up to limit messages of a domain's outbox: by channel, codes first, then the oldest first.
func Waiting(ctx context.Context, r store.Records, keys *secret.Keys, d member.DomainID, limit int) ([]Outgoing, error) {
	recs, err := r.List(ctx, member.Partition(d), store.Query{Prefix: OutboxPrefix, Limit: limit})
	if err != nil {
		return nil, fmt.Errorf("list outbox: %w", err)
	}
	var l []Outgoing
	for _, rec := range recs {
		w, err := readWaiting(rec)
		if err != nil {
			return nil, fmt.Errorf("list outbox: %w", err)
		}
		o, err := w.open(keys, rec.Name)
		if err != nil {
			return nil, fmt.Errorf("list outbox: %w", err)
		}
		l = append(l, o)
	}
	return l, nil
}

func readWaiting(rec store.Record) (w waiting, err error) {
	if err := json.Unmarshal(rec.Value, &w); err != nil {
		return w, fmt.Errorf("%s: %w", rec.Name, store.ErrCorrupt)
	}
	return w, nil
}

// open answers what waits under a name. It opens under no other one: the id is sealed with it.
func (w waiting) open(keys *secret.Keys, name string) (o Outgoing, err error) {
	id := name[strings.LastIndexByte(name, '/')+1:]
	p, err := keys.Open(sealFor, id, w.Sealed)
	if err != nil {
		return o, fmt.Errorf("%s: %w", name, err)
	}
	if err := json.Unmarshal(p, &o); err != nil || queuePrefix(o.Channel)+o.ID != name {
		return o, fmt.Errorf("%s: %w", name, store.ErrCorrupt)
	}
	o.Attempt = w.Attempts
	return o, nil
}
