// Package resumption keeps the keys under which a TLS server seals the tickets that it gives to clients, so that a client
// comes back without a full handshake, at any node of a fleet. It knows no TLS: whoever seals is told the keys.
//
// A key seals for twelve hours and opens for a day more; then it is forgotten, here and in the store. It is a random one
// of its own, made from nothing: what is forgotten cannot be made again. The nodes of a fleet share it over the ephemeral
// half of the store, where it lies sealed under the server keys, bound to the hours that it is for: whoever reads the
// store does not learn it, and whoever writes there cannot plant one. A node that cannot reach the store, or cannot open
// what lies there, uses a key of its own: then its tickets are good at this node alone, and elsewhere cost their client a
// full handshake.
package resumption

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"latchkey/authcore/secret"
	"latchkey/authcore/store"
)

const (
	// turn is how long a key seals. What a stolen one gives is bounded by it, and by kept.
	turn = 12 * time.Hour
	// kept is for how many turns a key opens, the one in which it seals among them: phones and laptops come back within
	// a day.
	kept = 3
	// early is how long before its turn a key is made, so that every node has it by then.
	early = time.Hour
	// lookEvery is how often a node looks what the others have.
	lookEvery = time.Minute
	// lookTime bounds one look.
	lookTime = 5 * time.Second

	partition = "tls-tickets"
	purpose   = "TLS tickets"
)

// Options of Keys. All but Log are needed.
type Options struct {
	Ephemeral store.Ephemeral
	Keys      *secret.Keys
	// Use is told the keys whenever they change: the first seals, every one opens.
	Use func([][32]byte)
	Log *slog.Logger // nil: nothing is logged
}

// Keys of this node. Run keeps them.
type Keys struct {
	o    Options
	held map[int64]key // by the turn that they are for; owned by Run
	used []key         // what Use was told; owned by Run
	told int64         // the last turn of which it was logged that its key cannot be opened; owned by Run

	refused, failed atomic.Int64
}

type key = [32]byte

// New has no keys yet.
func New(o Options) *Keys {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Keys{o: o, held: map[int64]key{}}
}

// Refused counts what lay in the store and could not be opened.
func (k *Keys) Refused() int64 { return k.refused.Load() }

// Failed counts how often the store could not be asked.
func (k *Keys) Failed() int64 { return k.failed.Load() }

// Run tells the keys at once, and every change of them until ctx ends.
func (k *Keys) Run(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		k.look(ctx, time.Now())
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// look brings the keys to what they are to be now.
func (k *Keys) look(ctx context.Context, now time.Time) {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	current, next := turnOf(now), turnOf(now.Add(early))
	for t := current - kept + 1; t <= current+1; t++ { // another node's clock may be ahead, and seal with the next one
		k.lookFor(ctx, t, now, t == current || t == next)
	}
	maps.DeleteFunc(k.held, func(t int64, _ key) bool { return t <= current-kept || t > current+1 })
	if l := k.inUse(current); !slices.Equal(l, k.used) {
		k.used = l
		k.o.Use(slices.Clone(l))
	}
}

func turnOf(t time.Time) int64 { return t.Unix() / int64(turn/time.Second) }

// inUse lists the keys, the current one first.
func (k *Keys) inUse(current int64) []key {
	var l []key
	for _, t := range []int64{current, current - 1, current - 2, current + 1} {
		if key, ok := k.held[t]; ok {
			l = append(l, key)
		}
	}
	return l
}

// lookFor takes over what the store has for a turn. If it has nothing, and the key is needed, it gets ours. Two nodes that
// make one at the same time agree at the next look: the last one written stands.
func (k *Keys) lookFor(ctx context.Context, t int64, now time.Time, needed bool) {
	shared, err := k.fetch(ctx, t)
	if err == nil {
		k.held[t] = shared
		return
	}
	if !needed {
		return
	}
	own, ok := k.held[t]
	if !ok {
		_, _ = rand.Read(own[:]) // never fails since Go 1.24
		k.held[t] = own
	}
	if errors.Is(err, store.ErrNotFound) {
		k.share(ctx, t, own, now)
	}
}

// fetch reads the key of a turn from the store.
func (k *Keys) fetch(ctx context.Context, t int64) (got key, err error) {
	p, err := k.o.Ephemeral.Get(ctx, place(t))
	if errors.Is(err, store.ErrNotFound) {
		return got, err
	}
	if err != nil {
		k.failed.Add(1)
		return got, fmt.Errorf("read a TLS ticket key: %w", err)
	}
	if got, err = k.open(t, p); err != nil {
		k.refused.Add(1)
		if k.told < t {
			k.told = t
			k.o.Log.Warn("a TLS ticket key in the store cannot be opened: until the next one, this node uses its own", "error", err)
		}
	}
	return got, err
}

// share puts the key of a turn into the store, for as long as it may open tickets.
func (k *Keys) share(ctx context.Context, t int64, own key, now time.Time) {
	end := time.Unix((t+kept)*int64(turn/time.Second), 0)
	if err := k.o.Ephemeral.Put(ctx, place(t), k.seal(t, own), end.Sub(now)); err != nil {
		k.failed.Add(1) // the next look tries again
	}
}

func place(t int64) store.Key { return store.Key{Partition: partition, Name: bound(t)} }

// bound keeps the key of one turn from being taken for that of another.
func bound(t int64) string { return strconv.FormatInt(t, 10) }

func (k *Keys) seal(t int64, own key) []byte {
	p, err := json.Marshal(k.o.Keys.Seal(purpose, bound(t), own[:]))
	if err != nil {
		panic(fmt.Sprintf("resumption: %v", err)) // a string and octets always make JSON
	}
	return p
}

func (k *Keys) open(t int64, p []byte) (got key, err error) {
	var s secret.Sealed
	if err := json.Unmarshal(p, &s); err != nil {
		return got, fmt.Errorf("read a TLS ticket key: %w", err)
	}
	plain, err := k.o.Keys.Open(purpose, bound(t), s)
	switch {
	case err != nil:
		return got, err
	case len(plain) != len(got):
		return got, secret.ErrSealed
	}
	return key(plain), nil
}
