package resumption

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/authcore/secret"
	"latchkey/authcore/store"
	"latchkey/authcore/store/memory"
)

// node is one node that keeps keys in a synctest bubble.
type node struct {
	*Keys
	log bytes.Buffer

	mu  sync.Mutex
	now []key // what it was told to use
}

func (n *node) use(l [][32]byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.now = l
}

func (n *node) using() []key {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.now
}

// start runs a node until the test ends.
func start(t *testing.T, e store.Ephemeral, k *secret.Keys) *node {
	n := &node{}
	n.Keys = New(Options{Ephemeral: e, Keys: k, Use: n.use, Log: slog.New(slog.NewTextHandler(&n.log, nil))})
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan struct{})
	go func() { n.Run(ctx); close(over) }()
	t.Cleanup(func() { cancel(); <-over })
	synctest.Wait()
	return n
}

func serverKeys(t *testing.T) *secret.Keys {
	t.Helper()
	k, err := secret.NewKeys(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// shop is an Ephemeral that may fail.
type shop struct {
	store.Ephemeral
	down atomic.Bool
}

var errDown = errors.New("the store is down")

func (s *shop) Get(ctx context.Context, k store.Key) ([]byte, error) {
	if s.down.Load() {
		return nil, errDown
	}
	return s.Ephemeral.Get(ctx, k)
}

func (s *shop) Put(ctx context.Context, k store.Key, v []byte, ttl time.Duration) error {
	if s.down.Load() {
		return errDown
	}
	return s.Ephemeral.Put(ctx, k, v, ttl)
}

// A key seals for twelve hours and opens for a day more, at every node; then nobody has it.
func TestKeysTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(time.Now().Truncate(turn).Add(turn + turn/2))) // the middle of a turn
		e, k := memory.NewEphemeral(memory.Options{}), serverKeys(t)
		a, b := start(t, e, k), start(t, e, k)
		if len(a.using()) != 1 || !slices.Equal(a.using(), b.using()) {
			t.Fatalf("the nodes begin with %d and %d keys", len(a.using()), len(b.using()))
		}
		first, began := a.using()[0], turnOf(time.Now())
		for turns, at := range []int{0, 1, 2, -1} { // where the first one stands after so many turns
			if turns > 0 {
				time.Sleep(turn)
				synctest.Wait()
			}
			for name, n := range map[string]*node{"a": a, "b": b} {
				if got := slices.Index(n.using(), first); got != at {
					t.Errorf("%s after %d turns: the first key is at %d, want %d", name, turns, got, at)
				}
			}
			if !slices.Equal(a.using(), b.using()) {
				t.Errorf("after %d turns the nodes have different keys", turns)
			}
			if _, err := e.Get(t.Context(), place(began)); (err == nil) != (at >= 0) {
				t.Errorf("after %d turns the store says %v", turns, err)
			}
		}
		if len(a.held) != kept {
			t.Errorf("%d keys are held", len(a.held))
		}
	})
}

// The next key is everywhere before it seals anywhere.
func TestKeysAreMadeEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(time.Now().Truncate(turn).Add(2*turn - early - time.Second)))
		e, k := memory.NewEphemeral(memory.Options{}), serverKeys(t)
		a, b := start(t, e, k), start(t, e, k)
		time.Sleep(2 * lookEvery)
		synctest.Wait()
		if len(a.using()) != 2 || !slices.Equal(a.using(), b.using()) {
			t.Fatalf("the nodes have %d and %d keys", len(a.using()), len(b.using()))
		}
		next := a.using()[1]
		time.Sleep(early)
		synctest.Wait()
		if a.using()[0] != next || b.using()[0] != next {
			t.Error("another key seals than the one that was made early")
		}
	})
}

func TestKeysOfANodeThatCannotReachTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(time.Now().Truncate(turn).Add(turn + turn/2)))
		e, k := memory.NewEphemeral(memory.Options{}), serverKeys(t)
		away := &shop{Ephemeral: e}
		away.down.Store(true)
		a, b := start(t, e, k), start(t, away, k)
		if len(b.using()) != 1 || slices.Equal(a.using(), b.using()) || b.Failed() == 0 {
			t.Fatalf("without the store: %d keys, %d failures", len(b.using()), b.Failed())
		}
		time.Sleep(turn)
		synctest.Wait()
		if len(b.using()) != 2 {
			t.Errorf("after a turn without the store: %d keys", len(b.using()))
		}
		away.down.Store(false)
		time.Sleep(lookEvery)
		synctest.Wait()
		if !slices.Equal(a.using(), b.using()) {
			t.Error("back at the store, it has other keys than the other node")
		}
	})
}

// What the store forgot, a node that knows it gives back.
func TestKeysThatTheStoreHasLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(time.Now().Truncate(turn).Add(turn + turn/2)))
		e, k := memory.NewEphemeral(memory.Options{}), serverKeys(t)
		a := start(t, e, k)
		had := a.using()
		if err := e.Delete(t.Context(), place(turnOf(time.Now()))); err != nil {
			t.Fatal(err)
		}
		time.Sleep(lookEvery)
		synctest.Wait()
		if b := start(t, e, k); !slices.Equal(b.using(), had) {
			t.Error("a node that comes later has another key")
		}
	})
}

// Nobody who can only write to the store has a say in what is used.
func TestKeysThatWereTamperedWith(t *testing.T) {
	seal := func(k *secret.Keys, purpose, bound string, plain []byte) []byte {
		p, err := json.Marshal(k.Seal(purpose, bound, plain))
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	theirs := bytes.Repeat([]byte{1}, 32)
	tests := map[string]func(k *secret.Keys, now int64, sealed []byte) []byte{
		"in the clear": func(*secret.Keys, int64, []byte) []byte { return theirs },
		"sealed by somebody else": func(_ *secret.Keys, now int64, _ []byte) []byte {
			return seal(serverKeys(t), purpose, bound(now), theirs)
		},
		"that of another turn": func(k *secret.Keys, now int64, _ []byte) []byte {
			return (&Keys{o: Options{Keys: k}}).seal(now-1, key(theirs))
		},
		"sealed for another purpose": func(k *secret.Keys, now int64, _ []byte) []byte {
			return seal(k, "contact", bound(now), theirs)
		},
		"too short": func(k *secret.Keys, now int64, _ []byte) []byte { return seal(k, purpose, bound(now), theirs[:16]) },
		"a bit turned": func(_ *secret.Keys, _ int64, sealed []byte) []byte {
			var s secret.Sealed
			if err := json.Unmarshal(sealed, &s); err != nil {
				t.Fatal(err)
			}
			s.Box[len(s.Box)-1] ^= 1
			p, _ := json.Marshal(s)
			return p
		},
	}
	for name, tampered := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				time.Sleep(time.Until(time.Now().Truncate(turn).Add(turn + turn/2)))
				e, k := memory.NewEphemeral(memory.Options{}), serverKeys(t)
				a := start(t, e, k)
				had, now := a.using(), turnOf(time.Now())
				sealed, err := e.Get(t.Context(), place(now))
				if err != nil || bytes.Contains(sealed, had[0][:]) {
					t.Fatalf("the store has %q, %v", sealed, err)
				}
				if err := e.Put(t.Context(), place(now), tampered(k, now, sealed), turn); err != nil {
					t.Fatal(err)
				}
				b := start(t, e, k)
				time.Sleep(2 * lookEvery)
				synctest.Wait()
				if !slices.Equal(a.using(), had) {
					t.Error("the node that had a key has another one")
				}
				if len(b.using()) != 1 || bytes.Equal(b.using()[0][:], theirs) || b.using()[0] == had[0] {
					t.Errorf("the node that came later uses %x", b.using())
				}
				if b.Refused() == 0 || strings.Count(b.log.String(), "cannot be opened") != 1 {
					t.Errorf("refused %d times; log %q", b.Refused(), b.log.String())
				}
			})
		})
	}
}
