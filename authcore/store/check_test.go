package store_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"latchkey/authcore/store"
)

func TestCheckBatch(t *testing.T) {
	put := store.Op{Kind: store.Put, Name: "n", IfRevision: store.AnyRevision}
	with := func(change func(*store.Op)) []store.Op {
		op := put
		change(&op)
		return []store.Op{op}
	}
	for _, c := range []struct {
		name      string
		partition string
		ops       []store.Op
		valid     bool
	}{
		{"put", "p", []store.Op{put}, true},
		{"longest names", strings.Repeat("p", store.MaxName), with(func(o *store.Op) { o.Name = strings.Repeat("n", store.MaxName) }), true},
		{"largest value", "p", with(func(o *store.Op) { o.Value = make([]byte, store.MaxValue) }), true},
		{"largest batch", "p", named(store.MaxOps), true},
		{"delete", "p", with(func(o *store.Op) { o.Kind = store.Delete }), true},
		{"check absence", "p", with(func(o *store.Op) { o.Kind, o.IfRevision = store.Check, 0 }), true},

		{"no partition", "", []store.Op{put}, false},
		{"partition too long", strings.Repeat("p", store.MaxName+1), []store.Op{put}, false},
		{"no operations", "p", nil, false},
		{"too many operations", "p", named(store.MaxOps + 1), false},
		{"no name", "p", with(func(o *store.Op) { o.Name = "" }), false},
		{"name too long", "p", with(func(o *store.Op) { o.Name = strings.Repeat("n", store.MaxName+1) }), false},
		{"value too large", "p", with(func(o *store.Op) { o.Value = make([]byte, store.MaxValue+1) }), false},
		{"name twice among few", "p", []store.Op{put, put}, false},
		{"name twice among many", "p", append(named(100), store.Op{Kind: store.Delete, Name: "7", IfRevision: store.AnyRevision}), false},
		{"zero kind", "p", with(func(o *store.Op) { o.Kind = 0 }), false},
		{"unknown kind", "p", with(func(o *store.Op) { o.Kind = store.Check + 1 }), false},
		{"revision below any", "p", with(func(o *store.Op) { o.IfRevision = -2 }), false},
		{"delete with a value", "p", with(func(o *store.Op) { o.Kind, o.Value = store.Delete, []byte("v") }), false},
		{"check with an expiry", "p", with(func(o *store.Op) { o.Kind, o.IfRevision, o.ExpiresAt = store.Check, 1, time.Unix(9, 0) }), false},
		{"check that checks nothing", "p", with(func(o *store.Op) { o.Kind = store.Check }), false},
		{"expiry before 1970", "p", with(func(o *store.Op) { o.ExpiresAt = time.Unix(-1, 0) }), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := store.CheckBatch(c.partition, c.ops)
			if got := err == nil; got != c.valid {
				t.Errorf("valid: got %v (%v), want %v", got, err, c.valid)
			}
			if err != nil && !errors.Is(err, store.ErrInvalid) {
				t.Errorf("got %v, want ErrInvalid", err)
			}
		})
	}
}

func named(n int) []store.Op {
	ops := make([]store.Op, n)
	for i := range ops {
		ops[i] = store.Op{Kind: store.Put, Name: fmt.Sprint(i), IfRevision: store.AnyRevision}
	}
	return ops
}

func TestQueryRange(t *testing.T) {
	for _, c := range []struct {
		name      string
		q         store.Query
		low, high string
	}{
		{"all", store.Query{}, "", ""},
		{"prefix", store.Query{Prefix: "ab"}, "ab", "ac"},
		{"prefix that ends high", store.Query{Prefix: "a\xff"}, "a\xff", "b"},
		{"prefix that is not UTF-8", store.Query{Prefix: "a\xfe"}, "a\xfe", "a\xff"},
		{"prefix with nothing behind it", store.Query{Prefix: "\xff\xff"}, "\xff\xff", ""},
		{"after", store.Query{After: "b"}, "b\x00", ""},
		{"after before the prefix", store.Query{Prefix: "m", After: "b"}, "m", "n"},
		{"after within the prefix", store.Query{Prefix: "m", After: "mb"}, "mb\x00", "n"},
		{"reverse", store.Query{Reverse: true}, "", ""},
		{"reverse after", store.Query{Reverse: true, After: "b"}, "", "b"},
		{"reverse after behind the prefix", store.Query{Reverse: true, Prefix: "m", After: "z"}, "m", "n"},
		{"reverse after within the prefix", store.Query{Reverse: true, Prefix: "m", After: "mb"}, "m", "mb"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if low, high := c.q.Range(); low != c.low || high != c.high {
				t.Errorf("got %q to %q, want %q to %q", low, high, c.low, c.high)
			}
		})
	}
}

func TestExpired(t *testing.T) {
	at := time.UnixMilli(1_700_000_000_123)
	for _, c := range []struct {
		name string
		now  time.Time
		want bool
	}{
		{"before", at.Add(-time.Millisecond), false},
		{"at", at, true},
		{"after", at.Add(time.Hour), true},
	} {
		if got := store.Expired(store.Milliseconds(at), c.now); got != c.want {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
	if store.Expired(store.Milliseconds(time.Time{}), at) {
		t.Error("a record without expiry has expired")
	}
	if got := store.FromMilliseconds(store.Milliseconds(at)); !got.Equal(at) {
		t.Errorf("there and back: got %v, want %v", got, at)
	}
}
