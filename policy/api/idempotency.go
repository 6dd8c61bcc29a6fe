package api

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"io"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"latchkey/authcore"
	"latchkey/authcore/secret"
	"latchkey/policy"
)

// Idempotency-Key as in draft-ietf-httpapi-idempotency-key-header: a creation that is asked for again with the same key
// and the same request answers what it came to, for a day, and another request with the key is refused. authcore keeps
// the answer; here a key is read and a request recognized: by its method, its target and the bytes of its body.

const idempotencyHeader = "Idempotency-Key"

// Bounds of a key. It is part of what seals the answer: a short one could be guessed, a UUID cannot.
const (
	minIdempotencyKey = 16
	maxIdempotencyKey = 64
)

// idempotent is what a request carries for it.
type idempotent struct {
	key string
	sum hash.Hash // of the request so far
}

// idempotentOf begins to hash a request with a key; nil without one.
func idempotentOf(r *http.Request) *idempotent {
	if len(r.Header.Values(idempotencyHeader)) == 0 {
		return nil
	}
	i := &idempotent{key: strings.Join(r.Header.Values(idempotencyHeader), ","), sum: sha256.New()}
	_, _ = io.WriteString(i.sum, r.Method+" "+r.URL.RequestURI()+"\n") // a hash takes everything
	return i
}

// under puts the key into ctx, for a creation whose body was read to its end.
func (i *idempotent) under(ctx context.Context) (context.Context, error) {
	if i == nil {
		return ctx, nil
	}
	key := trimQuotes(i.key) // a String of RFC 9651 section 3.3.3, or the same without its quotes
	if len(key) < minIdempotencyKey || len(key) > maxIdempotencyKey || strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' || r == '"' || r == '\\' }) {
		return ctx, Invalid(policy.Mistake{Field: idempotencyHeader, Reason: "must be one word of 16 to 64 characters, like a UUID"})
	}
	return authcore.WithIdempotencyKey(ctx, secret.New(key), hex.EncodeToString(i.sum.Sum(nil))), nil
}

// idempotencyParam describes the header.
func idempotencyParam() *huma.Param {
	least, most := minIdempotencyKey, maxIdempotencyKey
	return &huma.Param{Name: idempotencyHeader, In: "header", Schema: &huma.Schema{Type: huma.TypeString, MinLength: &least, MaxLength: &most},
		Description: "A word of your own for this very request, like a UUID: sent again within a day, it is not done again, and answers the same"}
}

// hashed hashes what is read of a body.
type hashed struct {
	io.ReadCloser
	sum hash.Hash
}

func (h hashed) Read(p []byte) (int, error) {
	n, err := h.ReadCloser.Read(p)
	_, _ = h.sum.Write(p[:n])
	return n, err
}
