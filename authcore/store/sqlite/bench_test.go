package sqlite_test

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"latchkey/authcore/store"
	"latchkey/authcore/store/sqlite"
	"latchkey/authcore/store/storetest"
)

// BenchmarkApply writes records of 200 bytes; each operation is durable before the next of its writer begins.
func BenchmarkApply(b *testing.B) {
	for _, writers := range []int{1, 32, 256} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			db := mustOpen(b, sqlite.Options{Dir: dataDir(b)})
			value := strings.Repeat("v", 200)
			var next atomic.Int64
			var running sync.WaitGroup
			b.ReportAllocs()
			b.ResetTimer()
			for range writers {
				running.Go(func() {
					for n := next.Add(1); n <= int64(b.N); n = next.Add(1) {
						if _, err := db.Apply(b.Context(), "p", storetest.Put(fmt.Sprint("n", n%10_000), value)); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			running.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commits/s")
		})
	}
}

// filled is a store of 10 000 records of 200 bytes.
func filled(b *testing.B) *sqlite.DB {
	db := mustOpen(b, sqlite.Options{Dir: dataDir(b)})
	for i := range 100 {
		ops := make([]store.Op, 100)
		for j := range ops {
			ops[j] = storetest.Put(fmt.Sprintf("n%05d", i*100+j), strings.Repeat("v", 200))
		}
		if _, err := db.Apply(b.Context(), "p", ops...); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	b.ResetTimer()
	return db
}

func BenchmarkGet(b *testing.B) {
	db := filled(b)
	keys := make([]store.Key, 10_000)
	for i := range keys {
		keys[i] = store.Key{Partition: "p", Name: fmt.Sprintf("n%05d", i)}
	}
	b.ResetTimer()
	for i := 0; b.Loop(); i++ {
		if _, err := db.Get(b.Context(), keys[i*7919%len(keys)]); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkGetParallel(b *testing.B) {
	db := filled(b)
	k := store.Key{Partition: "p", Name: "n05000"}
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := db.Get(b.Context(), k); err != nil {
				b.Error(err)
			}
		}
	})
}

func BenchmarkGetAbsent(b *testing.B) {
	db := filled(b)
	for b.Loop() {
		if _, err := db.Get(b.Context(), store.Key{Partition: "p", Name: "absent"}); err == nil {
			b.Fatal("it is there")
		}
	}
}

func BenchmarkList(b *testing.B) {
	for _, limit := range []int{10, 100} {
		b.Run(fmt.Sprintf("limit=%d", limit), func(b *testing.B) {
			db := filled(b)
			for b.Loop() {
				got, err := db.List(b.Context(), "p", store.Query{Prefix: "n05", Limit: limit})
				if err != nil || len(got) != limit {
					b.Fatalf("got %d records, %v", len(got), err)
				}
			}
		})
	}
}
