package authcore

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"latchkey/authcore/member"
	"latchkey/authcore/secret"
	"latchkey/authcore/store"
)

// A creation that carries an idempotency key is done once, however often it is asked for: what it came to is written in
// the batch that creates, so that whoever heard nothing, or that something broke, asks again and gets the same answer.
//
// The answer may hold a secret that is shown once. It is kept for onceFor, sealed under a key that is made of a server
// key and of the idempotency key itself, which is kept nowhere: neither the store nor the store with the server keys
// opens it. Only the same member gets it, after the same questions about his rights and his sign-in.

// onceFor is how long a key is remembered: longer than programs repeat what failed.
const onceFor = 24 * time.Hour

// onceRequest is an idempotency key and a hash of the request that it came with.
type onceRequest struct {
	key     secret.String
	request string
}

type onceRequestKey struct{}

// WithIdempotencyKey has the creation under the new context done once for this key and request.
func WithIdempotencyKey(ctx context.Context, key secret.String, request string) context.Context {
	return context.WithValue(ctx, onceRequestKey{}, onceRequest{key, request})
}

// creation is what a key came to.
type creation struct {
	Request string        `json:"request"` // fingerprint
	Answer  secret.Sealed `json:"answer"`
}

// onceKey names the record of a key: it tells neither the key nor whose it is.
func (c *Core) onceKey(a Actor, partition string, q onceRequest) store.Key {
	return store.Key{Partition: partition, Name: "idempotency/" + c.print("idempotency", string(a.Domain), string(a.Member), q.key.Reveal())}
}

func (q onceRequest) purpose() string { return "idempotency " + q.key.Reveal() }

// errDone: the creation was done already, for the same key.
var errDone = errors.New("done already")

// once does a creation, or answers what it came to before. do puts c.keepAnswer into its batch.
func once[T any](ctx context.Context, c *Core, a Actor, partition string, do func() (T, error)) (T, error) {
	q, keyed := ctx.Value(onceRequestKey{}).(onceRequest)
	if !keyed || a.Member == "" {
		return do()
	}
	if v, done, err := remembered[T](ctx, c, a, partition, q); done || err != nil {
		return v, err
	}
	made, err := do()
	if err == nil {
		return made, nil
	}
	// The same request may have been first elsewhere, or this one written although it broke.
	if v, done, readErr := remembered[T](ctx, c, a, partition, q); done || isDenied(readErr, IdempotencyMismatch) {
		return v, readErr
	}
	var none T // what was not written is shown to nobody
	return none, err
}

func remembered[T any](ctx context.Context, c *Core, a Actor, partition string, q onceRequest) (v T, done bool, err error) {
	key := c.onceKey(a, partition, q)
	r, _, err := readDirect[creation](ctx, c, key)
	if err != nil || r == nil {
		return v, false, err
	}
	if r.Request != c.print("idempotent request", q.request) {
		return v, false, deny(IdempotencyMismatch, "")
	}
	p, err := c.o.Keys.Open(q.purpose(), key.Name, r.Answer)
	if err != nil {
		return v, false, broken("open what an idempotency key came to", err)
	}
	if err := json.Unmarshal(p, &v); err != nil {
		return v, false, broken("read what an idempotency key came to", err)
	}
	return v, true, nil
}

// keepAnswer is the step, in the batch of a creation, that keeps what it came to; none without a key. It fails with errDone
// when another request was first, and the batch conflicts when one is in between.
func (c *Core) keepAnswer(ctx context.Context, a Actor, partition string, answer any) ([]store.Op, error) {
	q, keyed := ctx.Value(onceRequestKey{}).(onceRequest)
	if !keyed || a.Member == "" {
		return nil, nil
	}
	key := c.onceKey(a, partition, q)
	if r, _, err := readDirect[creation](ctx, c, key); err != nil {
		return nil, err
	} else if r != nil {
		return nil, errDone
	}
	p, err := json.Marshal(answer)
	if err != nil {
		return nil, broken("keep what an idempotency key came to", err)
	}
	r := creation{Request: c.print("idempotent request", q.request), Answer: c.o.Keys.Seal(q.purpose(), key.Name, p)}
	return []store.Op{expiring(member.PutOp(key, r, 0), c.now().Add(onceFor))}, nil
}
