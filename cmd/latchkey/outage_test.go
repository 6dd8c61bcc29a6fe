package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"latchkey/authcore/spool"
	"latchkey/authcore/store"
	"latchkey/policy/ops"
)

// gone is a store of which every read ends so.
type gone struct {
	engine
	err error
}

func (g gone) Get(context.Context, store.Key) (store.Record, error) { return store.Record{}, g.err }

// What is wrong with the store is said in a sentence that names what to do, and nothing that a server said.
func TestReadinessSaysWhatIsWrongWithTheStore(t *testing.T) {
	canary := errors.New("canary 10.1.2.3:6379")
	for name, c := range map[string]struct {
		err  error
		kept *spool.Spool
		says string
	}{
		"away":         {fmt.Errorf("%w: %w", store.ErrUnavailable, canary), nil, "sign-ins that need it get a temporary answer"},
		"away, cached": {fmt.Errorf("%w: %w", store.ErrUnavailable, canary), spool.New(spool.Options{Dir: t.TempDir()}), "for the lease"},
		"rolled back":  {fmt.Errorf("%w: %w: %w", store.ErrUnavailable, store.ErrDistrusted, canary), nil, "accept-rollback"},
		"damaged":      {fmt.Errorf("%w: %w", store.ErrCorrupt, canary), nil, "restore it from a backup"},
	} {
		h := &house{db: gone{err: c.err}, spool: c.kept}
		err := h.storeReads(t.Context())
		var said *ops.Trouble
		if !errors.As(err, &said) || !strings.Contains(said.Sentence, c.says) || strings.Contains(said.Sentence, "canary") {
			t.Errorf("%s: %v", name, err)
			continue
		}
		first := said.Sentence
		if err := h.storeReads(t.Context()); !errors.As(err, &said) || said.Sentence != first {
			t.Errorf("%s, again: %v", name, err)
		}
		h.db = gone{err: store.ErrNotFound}
		if err := h.storeReads(t.Context()); err != nil || !h.silence.since.IsZero() {
			t.Errorf("%s, when it is back: %v", name, err)
		}
	}
}

func TestReadinessSaysWhatWaitsInTheSpool(t *testing.T) {
	h := &house{}
	if err := h.spoolHasRoom(t.Context()); err != nil {
		t.Errorf("without a spool: %v", err)
	}
	h.spool = spool.New(spool.Options{Dir: t.TempDir(), Max: 200 << 10})
	defer func() { _ = h.closeSpool() }()
	if err := h.spoolHasRoom(t.Context()); err != nil {
		t.Errorf("with nothing in it: %v", err)
	}
	for _, want := range []string{"1 sign-ins wait", "2 sign-ins wait", "is full with 3 entries"} {
		if err := h.spool.Append(t.Context(), spool.Entry{Partition: "d", Name: want, Value: make([]byte, 36<<10)}); err != nil {
			t.Fatal(err)
		}
		if err := h.spoolHasRoom(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
