package authcore_test

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/apppass"
	"latchkey/authcore/member"
	"latchkey/authcore/secret"
	"latchkey/authcore/store"
)

func contains(p []byte, s string) bool { return bytes.Contains(p, []byte(s)) }

// has says whether a batch touches a record whose name begins so.
func has(ops []store.Op, prefix string) bool {
	for _, o := range ops {
		if strings.HasPrefix(o.Name, prefix) {
			return true
		}
	}
	return false
}

func wish(name string) apppass.Wish { return apppass.Wish{Name: name} }

// revocations follows them; the first, which asks for all, is taken.
func revocations(t *testing.T, c *authcore.Core) (told <-chan authcore.Revocation, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ch, done := make(chan authcore.Revocation, 64), make(chan struct{})
	go func() {
		defer close(done)
		for r := range c.Revocations(ctx) {
			select {
			case ch <- r:
			case <-ctx.Done():
			}
		}
	}()
	if r := next(t, ch); !r.Resync {
		t.Errorf("the first revocation is %+v, want one that asks for all", r)
	}
	return ch, func() { cancel(); <-done }
}

func next(t *testing.T, told <-chan authcore.Revocation) authcore.Revocation {
	t.Helper()
	select {
	case r := <-told:
		return r
	case <-time.After(30 * time.Second): // only a failure takes that long
		t.Fatal("no revocation is told")
		return authcore.Revocation{}
	}
}

func values(l []store.Record) (v []string) {
	for _, r := range l {
		v = append(v, r.Name+"="+string(r.Value))
	}
	return v
}

func secretOf(s string) secret.String { return secret.New(s) }

// edit changes a record behind the Core's back, as only a test may.
func (s *stage) edit(t *testing.T, domain, name string, change func(map[string]any)) {
	t.Helper()
	k := store.Key{Partition: member.Partition(s.domain(t, domain).ID), Name: name}
	r, err := s.options.Records.Get(t.Context(), k)
	if err != nil {
		t.Fatal(err)
	}
	v := map[string]any{}
	if err := json.Unmarshal(r.Value, &v); err != nil {
		t.Fatal(err)
	}
	change(v)
	p, err := json.Marshal(v)
	if err == nil {
		_, err = s.options.Records.Apply(t.Context(), k.Partition, store.Op{Kind: store.Put, Name: name, Value: p, IfRevision: store.AnyRevision})
	}
	if err != nil {
		t.Fatal(err)
	}
}
