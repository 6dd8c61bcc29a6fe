package storetest

import (
	"slices"
	"strings"
	"testing"

	"latchkey/authcore/store"
)

// fill writes the names into a partition, in batches.
func fill(t *testing.T, r store.Records, partition string, list []string) {
	t.Helper()
	for some := range slices.Chunk(list, store.MaxOps) {
		ops := make([]store.Op, len(some))
		for i, name := range some {
			ops[i] = PutNew(name, "value of "+name)
		}
		mustApply(t, r, partition, ops...)
	}
}

func testListSelects(t *testing.T, e RecordsEngine) {
	fill(t, e, "p", []string{"a", "a/", "a/1", "a/10", "a/2", "a0", "b", "\xff", "\xff\xff", "é"})
	for _, c := range []struct {
		name string
		q    store.Query
		want []string
	}{
		{"all, in byte order", store.Query{}, []string{"a", "a/", "a/1", "a/10", "a/2", "a0", "b", "é", "\xff", "\xff\xff"}},
		{"prefix", store.Query{Prefix: "a/"}, []string{"a/", "a/1", "a/10", "a/2"}},
		{"prefix that is a whole name", store.Query{Prefix: "a/1"}, []string{"a/1", "a/10"}},
		{"prefix at the end of all names", store.Query{Prefix: "\xff"}, []string{"\xff", "\xff\xff"}},
		{"prefix of nothing", store.Query{Prefix: "zz"}, nil},
		{"after a name", store.Query{After: "a/2"}, []string{"a0", "b", "é", "\xff", "\xff\xff"}},
		{"after a name that is not there", store.Query{After: "a/15"}, []string{"a/2", "a0", "b", "é", "\xff", "\xff\xff"}},
		{"after the last", store.Query{After: "\xff\xff"}, nil},
		{"after, within a prefix", store.Query{Prefix: "a/", After: "a/1"}, []string{"a/10", "a/2"}},
		{"after, before the prefix", store.Query{Prefix: "a/", After: "A"}, []string{"a/", "a/1", "a/10", "a/2"}},
		{"after, behind the prefix", store.Query{Prefix: "a/", After: "b"}, nil},
		{"limit", store.Query{Limit: 2}, []string{"a", "a/"}},
		{"limit, after", store.Query{After: "a", Limit: 2}, []string{"a/", "a/1"}},
		{"reverse", store.Query{Reverse: true, Limit: 4}, []string{"\xff\xff", "\xff", "é", "b"}},
		{"reverse, prefix", store.Query{Reverse: true, Prefix: "a/"}, []string{"a/2", "a/10", "a/1", "a/"}},
		{"reverse, prefix, limit", store.Query{Reverse: true, Prefix: "a/", Limit: 1}, []string{"a/2"}},
		{"reverse, after", store.Query{Reverse: true, After: "a/10"}, []string{"a/1", "a/", "a"}},
		{"reverse, after, within a prefix", store.Query{Reverse: true, Prefix: "a/", After: "a/2"}, []string{"a/10", "a/1", "a/"}},
		{"reverse, after, behind the prefix", store.Query{Reverse: true, Prefix: "a/", After: "b"}, []string{"a/2", "a/10", "a/1", "a/"}},
		{"reverse, after, before the prefix", store.Query{Reverse: true, Prefix: "a/", After: "a"}, nil},
		{"reverse, after the first", store.Query{Reverse: true, After: "a"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := e.List(t.Context(), "p", c.q)
			if err != nil || !slices.Equal(names(got), c.want) {
				t.Fatalf("got %q, %v, want %q", names(got), err, c.want)
			}
			for _, r := range got {
				if string(r.Value) != "value of "+r.Name || r.Revision <= 0 {
					t.Errorf("%q: got value %q at revision %d", r.Name, r.Value, r.Revision)
				}
			}
		})
	}
}

func testListPages(t *testing.T, e RecordsEngine) {
	const n = 700
	all := make([]string, n)
	for i := range all {
		all[i] = numbered(i)
	}
	fill(t, e, "p", all)
	fill(t, e, "p", []string{"m", "n", "o"})
	for _, limit := range []int{1, 7, 100, n, 0} {
		for _, reverse := range []bool{false, true} {
			if limit == 1 && reverse {
				continue // one by one is seen once, for time
			}
			got := page(t, e, "p", store.Query{Prefix: "n0", Limit: limit, Reverse: reverse})
			want := slices.Clone(all)
			if reverse {
				slices.Reverse(want)
			}
			if !slices.Equal(got, want) {
				t.Errorf("limit %d, reverse %v: got %d names (%s …), want %d", limit, reverse, len(got), strings.Join(got[:min(3, len(got))], " "), n)
			}
		}
	}
}

// page lists in pages of q.Limit until an empty one.
func page(t *testing.T, r store.Records, partition string, q store.Query) []string {
	t.Helper()
	var all []string
	for {
		got, err := r.List(t.Context(), partition, q)
		if err != nil {
			t.Fatalf("list after %q: %v", q.After, err)
		}
		if q.Limit > 0 && len(got) > q.Limit {
			t.Fatalf("list after %q: got %d records, limit %d", q.After, len(got), q.Limit)
		}
		if len(got) == 0 {
			return all
		}
		all = append(all, names(got)...)
		q.After = got[len(got)-1].Name
	}
}
