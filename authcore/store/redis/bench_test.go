package redis

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"latchkey/authcore/store"
	"latchkey/authcore/store/redistest"
	"latchkey/authcore/store/storetest"
)

// cpu is what this process, the client, has used.
func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// many runs b.N calls from so many goroutines, and reports them a second and the client's CPU for each.
func many(b *testing.B, callers int, what string, call func(i int64) error) {
	var next atomic.Int64
	var running sync.WaitGroup
	b.ReportAllocs()
	b.ResetTimer()
	before := cpu()
	for range callers {
		running.Go(func() {
			for n := next.Add(1); n <= int64(b.N); n = next.Add(1) {
				if err := call(n); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	running.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), what+"/s")
	b.ReportMetric(float64((cpu()-before).Nanoseconds())/float64(b.N)/1e3, "client-µs/op")
}

// BenchmarkApply writes records of 200 bytes, like the embedded engine's; each is as durable as the server's setting.
func BenchmarkApply(b *testing.B) {
	for _, sync := range []string{"always", "everysec"} {
		for _, writers := range []int{1, 32, 256} {
			b.Run(fmt.Sprintf("fsync=%s/writers=%d", sync, writers), func(b *testing.B) {
				r := opened(b, sync)
				value := strings.Repeat("v", 200)
				many(b, writers, "commits", func(i int64) error {
					_, err := r.Apply(b.Context(), "p", storetest.Put(fmt.Sprint("n", i%10_000), value))
					return err
				})
			})
		}
	}
}

func BenchmarkGet(b *testing.B) {
	for _, readers := range []int{1, 32, 256} {
		b.Run(fmt.Sprintf("readers=%d", readers), func(b *testing.B) {
			r := filled(b)
			many(b, readers, "gets", func(i int64) error {
				_, err := r.Get(b.Context(), store.Key{Partition: "p", Name: fmt.Sprintf("n%05d", i*7919%10_000)})
				return err
			})
		})
	}
}

// BenchmarkList reads a page in the midst of 10 000 names.
func BenchmarkList(b *testing.B) {
	for _, limit := range []int{10, 100} {
		b.Run(fmt.Sprintf("limit=%d", limit), func(b *testing.B) {
			r := filled(b)
			many(b, 1, "lists", func(int64) error {
				got, err := r.List(b.Context(), "p", store.Query{Prefix: "n05", Limit: limit})
				if err == nil && len(got) != limit {
					err = fmt.Errorf("got %d records", len(got))
				}
				return err
			})
		})
	}
}

func opened(b *testing.B, fsync string) *Records {
	s := redistest.Standalone(b, "appendfsync "+fsync)
	return mustOpen(b, Options{Mode: Standalone, Addresses: []string{s.Addr}, AllowLossy: fsync != "always"}).Records()
}

// filled is a store of 10 000 records of 200 bytes.
func filled(b *testing.B) *Records {
	r := opened(b, "everysec")
	for i := range 100 {
		ops := make([]store.Op, 100)
		for j := range ops {
			ops[j] = storetest.Put(fmt.Sprintf("n%05d", i*100+j), strings.Repeat("v", 200))
		}
		mustApply(b, r, "p", ops...)
	}
	return r
}

// BenchmarkListOfMillion reads pages at the end of a partition of a million names.
func BenchmarkListOfMillion(b *testing.B) {
	r := opened(b, "everysec")
	before := time.Now()
	err := r.Restore(b.Context(), func(yield func(store.Entry, error) bool) {
		more := yield(store.Entry{Partition: "p", Highest: 1}, nil)
		for i := 0; i < 1_000_000 && more; i++ {
			more = yield(store.Entry{Partition: "p", Record: store.Record{Name: fmt.Sprintf("n%07d", i), Revision: 1}}, nil)
		}
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Logf("restored in %v", time.Since(before))
	for _, q := range []store.Query{{After: "n0900000", Limit: 100}, {Reverse: true, After: "n0500000", Limit: 100}} {
		b.Run(fmt.Sprintf("reverse=%v", q.Reverse), func(b *testing.B) {
			many(b, 1, "lists", func(int64) error {
				got, err := r.List(b.Context(), "p", q)
				if err == nil && len(got) != q.Limit {
					err = fmt.Errorf("got %d records", len(got))
				}
				return err
			})
		})
	}
}

// BenchmarkFloor is what a command costs the client at least: go-redis' pipelines alone, from as many goroutines as serve a
// lane, each of as many commands of a sign-in's shape (some 350 bytes, a number for an answer) as a busy node's have.
func BenchmarkFloor(b *testing.B) {
	for _, each := range []int{1, 24} {
		b.Run(fmt.Sprintf("commands=%d", each), func(b *testing.B) {
			db := mustOpen(b, Options{Mode: Standalone, Addresses: []string{redistest.Standalone(b).Addr}, AllowLossy: true, StateDir: b.TempDir()})
			value := strings.Repeat("v", 300)
			b.ReportMetric(float64(each), "commands/op")
			many(b, laneWorkers, "pipelines", func(i int64) error {
				pipe := db.router.owner(0).client.Pipeline()
				for n := range each {
					pipe.ZAdd(b.Context(), "{00}floor", goredis.Z{Score: float64(n), Member: value})
				}
				_, err := pipe.Exec(b.Context())
				return err
			})
		})
	}
}
