package storetest

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"latchkey/authcore/store"
)

// RunEphemeral runs the suite over engines that open makes, an empty one for each test.
func RunEphemeral(t *testing.T, open func(t *testing.T) EphemeralEngine) {
	for _, c := range []struct {
		name string
		test func(t *testing.T, e EphemeralEngine)
	}{
		{"distinct members", testDistinct},
		{"window", testWindow},
		{"members", testMembers},
		{"put get take delete", testEphemeralValues},
		{"time to live", testTimeToLive},
		{"one taker", testOneTaker},
		{"racing members", testRacingMembers},
		{"values are the caller's", testEphemeralOwned},
		{"invalid calls", testEphemeralInvalid},
		{"context ended", testEphemeralContext},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, open(t)) })
	}
}

func key(name string) store.Key { return store.Key{Partition: "p", Name: name} }

func wantAdd(t *testing.T, e store.Ephemeral, k store.Key, member string, window time.Duration, want int64) {
	t.Helper()
	if got, err := e.Add(t.Context(), k, member, window); err != nil || got != want {
		t.Errorf("add %q: got %d, %v, want %d", member, got, err, want)
	}
}

func wantMembers(t *testing.T, e store.Ephemeral, k store.Key, window time.Duration, limit int, want ...string) {
	t.Helper()
	if got, err := e.Members(t.Context(), k, window, limit); err != nil || !slices.Equal(got, want) {
		t.Errorf("members of %q: got %q, %v, want %q", k.Name, got, err, want)
	}
}

func testDistinct(t *testing.T, e EphemeralEngine) {
	wantAdd(t, e, key("s"), "a", time.Minute, 1)
	wantAdd(t, e, key("s"), "a", time.Minute, 1)
	wantAdd(t, e, key("s"), "b", time.Minute, 2)
	wantAdd(t, e, key("s"), "\x00\xff", time.Minute, 3)
	wantAdd(t, e, key("other"), "a", time.Minute, 1)
	wantAdd(t, e, store.Key{Partition: "q", Name: "s"}, "c", time.Minute, 1)
	for _, member := range []string{"a", "never there"} {
		if err := e.Remove(t.Context(), key("s"), member); err != nil {
			t.Errorf("remove %q: %v", member, err)
		}
	}
	wantAdd(t, e, key("s"), "b", time.Minute, 2)
	if err := e.Remove(t.Context(), key("never made"), "a"); err != nil {
		t.Errorf("remove from no set: %v", err)
	}
	if err := e.Delete(t.Context(), key("s")); err != nil {
		t.Errorf("delete a set: %v", err)
	}
	wantAdd(t, e, key("s"), "c", time.Minute, 1)
}

func testWindow(t *testing.T, e EphemeralEngine) {
	window := 2 * time.Second
	got, members, late := overWindow(t, e, window)
	for late && window < time.Minute { // a machine without time: a longer window, in which its delays are shorter
		window *= 2
		got, members, late = overWindow(t, e, window)
	}
	// b is out when c comes, and a, renewed, is in.
	if want := []int64{1, 2, 2, 2, 1}; !slices.Equal(got, want) {
		t.Errorf("adds: got %v, want %v", got, want)
	}
	if want := [][]string{{"c", "a"}, {}}; !slices.EqualFunc(members, want, slices.Equal[[]string]) {
		t.Errorf("members: got %q, want %q", members, want)
	}
}

// overWindow adds while a window passes, and answers the counts and who was in it; late: the calls took so long that no
// answer is wrong.
func overWindow(t *testing.T, e EphemeralEngine, window time.Duration) (got []int64, members [][]string, late bool) {
	t.Helper()
	k := key(fmt.Sprint("over ", window))
	add := func(member string) {
		n, err := e.Add(t.Context(), k, member, window)
		if err != nil {
			t.Fatalf("add %q: %v", member, err)
		}
		got = append(got, n)
	}
	look := func() {
		l, err := e.Members(t.Context(), k, window, 10)
		if err != nil {
			t.Fatalf("members: %v", err)
		}
		members = append(members, l)
	}
	began := e.Now()
	add("a")
	add("b")
	e.Advance(window * 3 / 4)
	renewed := e.Now()
	add("a")
	late = e.Now().Sub(began) >= window
	e.Advance(window * 3 / 4)
	add("c")
	look()
	late = late || e.Now().Sub(renewed) >= window
	e.Advance(window)
	look()
	add("b")
	return got, members, late
}

func testMembers(t *testing.T, e EphemeralEngine) {
	wantMembers(t, e, key("s"), time.Hour, 10)
	for i := range 5 {
		wantAdd(t, e, key("s"), numbered(i), time.Hour, int64(i+1))
		e.Advance(20 * time.Millisecond)
	}
	wantAdd(t, e, key("s"), numbered(1), time.Hour, 5)
	newest := []string{numbered(1), numbered(4), numbered(3), numbered(2), numbered(0)}
	wantMembers(t, e, key("s"), time.Hour, 10, newest...)
	wantMembers(t, e, key("s"), time.Hour, 2, newest[:2]...)
	e.Advance(time.Second)
	wantMembers(t, e, key("s"), 500*time.Millisecond, 10)
	wantMembers(t, e, key("s"), time.Hour, 10, newest...)
}

func wantEphemeral(t *testing.T, e store.Ephemeral, k store.Key, want []byte) {
	t.Helper()
	got, err := e.Get(t.Context(), k)
	if want == nil {
		wantError(t, "get "+k.Name, err, store.ErrNotFound)
		return
	}
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("get %s: got %q, %v, want %q", k.Name, got, err, want)
	}
}

func mustPut(t *testing.T, e store.Ephemeral, k store.Key, value string, ttl time.Duration) {
	t.Helper()
	if err := e.Put(t.Context(), k, []byte(value), ttl); err != nil {
		t.Fatalf("put %s: %v", k.Name, err)
	}
}

func testEphemeralValues(t *testing.T, e EphemeralEngine) {
	wantEphemeral(t, e, key("a"), nil)
	mustPut(t, e, key("a"), "one", time.Minute)
	mustPut(t, e, key("a"), "two\x00\xff", time.Minute)
	mustPut(t, e, key("empty"), "", time.Minute)
	wantEphemeral(t, e, key("a"), []byte("two\x00\xff"))
	wantEphemeral(t, e, key("empty"), []byte{})
	wantEphemeral(t, e, store.Key{Partition: "q", Name: "a"}, nil)
	got, err := e.Take(t.Context(), key("a"))
	if err != nil || string(got) != "two\x00\xff" {
		t.Errorf("take: got %q, %v", got, err)
	}
	wantEphemeral(t, e, key("a"), nil)
	_, err = e.Take(t.Context(), key("a"))
	wantError(t, "take again", err, store.ErrNotFound)
	for range 2 {
		if err := e.Delete(t.Context(), key("empty")); err != nil {
			t.Errorf("delete: %v", err)
		}
	}
	wantEphemeral(t, e, key("empty"), nil)
	large := strings.Repeat("v", store.MaxValue)
	mustPut(t, e, key("large"), large, time.Minute)
	wantEphemeral(t, e, key("large"), []byte(large))
}

func testTimeToLive(t *testing.T, e EphemeralEngine) {
	began := e.Now()
	mustPut(t, e, key("a"), "x", time.Second)
	_, err := e.Get(t.Context(), key("a"))
	if e.Now().Sub(began) < time.Second { // else the machine had no time
		wantError(t, "get within its time", err, nil)
	}
	mustPut(t, e, key("taken late"), "x", time.Second)
	mustPut(t, e, key("put again"), "x", time.Second)
	mustPut(t, e, key("put again"), "y", time.Hour)
	e.Advance(time.Second + 10*time.Millisecond)
	wantEphemeral(t, e, key("a"), nil)
	_, err = e.Take(t.Context(), key("taken late"))
	wantError(t, "take after its time", err, store.ErrNotFound)
	wantEphemeral(t, e, key("put again"), []byte("y"))
}

func testOneTaker(t *testing.T, e EphemeralEngine) {
	for round := range 5 {
		k := key(fmt.Sprint("ticket", round))
		mustPut(t, e, k, "once", time.Minute)
		wantOneWinner(t, race(t.Context(), 100, func(ctx context.Context, _ int) error {
			got, err := e.Take(ctx, k)
			if err == nil && string(got) != "once" {
				return fmt.Errorf("got %q, want %q", got, "once")
			}
			return err
		}), store.ErrNotFound)
	}
}

// Of n racers with members of their own each count is answered once; racers with one member count it once.
func testRacingMembers(t *testing.T, e EphemeralEngine) {
	const racers = 100
	counts := make([]int64, racers)
	for i, err := range race(t.Context(), racers, func(ctx context.Context, i int) (err error) {
		counts[i], err = e.Add(ctx, key("own"), numbered(i), time.Minute)
		return err
	}) {
		if err != nil {
			t.Errorf("racer %d: %v", i, err)
		}
	}
	slices.Sort(counts)
	for i, n := range counts {
		if n != int64(i+1) {
			t.Fatalf("got counts %v, want each of 1 to %d once", counts, racers)
		}
	}
	for i, err := range race(t.Context(), racers, func(ctx context.Context, _ int) error {
		n, err := e.Add(ctx, key("shared"), "same", time.Minute)
		if err == nil && n != 1 {
			return fmt.Errorf("got %d, want 1", n)
		}
		return err
	}) {
		if err != nil {
			t.Errorf("racer %d: %v", i, err)
		}
	}
}

func testEphemeralOwned(t *testing.T, e EphemeralEngine) {
	value := []byte("mine")
	if err := e.Put(t.Context(), key("a"), value, time.Minute); err != nil {
		t.Fatal(err)
	}
	copy(value, "XXXX")
	got, err := e.Get(t.Context(), key("a"))
	if err != nil || string(got) != "mine" {
		t.Fatalf("got %q, %v, want %q", got, err, "mine")
	}
	copy(got, "YYYY")
	wantEphemeral(t, e, key("a"), []byte("mine"))
}

func testEphemeralInvalid(t *testing.T, e EphemeralEngine) {
	ctx := t.Context()
	tooLong := strings.Repeat("n", store.MaxName+1)
	add := func(k store.Key, member string, window time.Duration) error {
		_, err := e.Add(ctx, k, member, window)
		return err
	}
	members := func(window time.Duration, limit int) error {
		_, err := e.Members(ctx, key("a"), window, limit)
		return err
	}
	for name, err := range map[string]error{
		"put without a partition":       e.Put(ctx, store.Key{Name: "a"}, nil, time.Minute),
		"put without a name":            e.Put(ctx, store.Key{Partition: "p"}, nil, time.Minute),
		"put under a name too long":     e.Put(ctx, key(tooLong), nil, time.Minute),
		"put a value too large":         e.Put(ctx, key("a"), make([]byte, store.MaxValue+1), time.Minute),
		"put for no time":               e.Put(ctx, key("a"), nil, 0),
		"put for less than no time":     e.Put(ctx, key("a"), nil, -time.Second),
		"add no member":                 add(key("a"), "", time.Minute),
		"add a member too long":         add(key("a"), tooLong, time.Minute),
		"add within no window":          add(key("a"), "m", 0),
		"add without a name":            add(key(""), "m", time.Minute),
		"members of no window":          members(0, 1),
		"members without a limit":       members(time.Minute, 0),
		"members over the limit":        members(time.Minute, store.MaxListLimit+1),
		"remove no member":              e.Remove(ctx, key("a"), ""),
		"delete without a name":         e.Delete(ctx, key("")),
		"delete under a long partition": e.Delete(ctx, store.Key{Partition: tooLong, Name: "a"}),
	} {
		wantError(t, name, err, store.ErrInvalid)
	}
	_, err := e.Get(ctx, key(""))
	wantError(t, "get without a name", err, store.ErrInvalid)
	_, err = e.Take(ctx, key(""))
	wantError(t, "take without a name", err, store.ErrInvalid)
}

func testEphemeralContext(t *testing.T, e EphemeralEngine) {
	mustPut(t, e, key("a"), "x", time.Minute)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := e.Take(ctx, key("a"))
	wantError(t, "take", err, context.Canceled)
	_, err = e.Add(ctx, key("s"), "m", time.Minute)
	wantError(t, "add", err, context.Canceled)
	wantError(t, "put", e.Put(ctx, key("a"), []byte("y"), time.Minute), context.Canceled)
	wantEphemeral(t, e, key("a"), []byte("x"))
	wantAdd(t, e, key("s"), "n", time.Minute, 1)
}
