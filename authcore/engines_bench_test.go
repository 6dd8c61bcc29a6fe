package authcore_test

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"latchkey/authcore"
	"latchkey/authcore/apppass"
	"latchkey/authcore/authtest"
	"latchkey/authcore/sample"
	"latchkey/authcore/store/redis"
	"latchkey/authcore/store/redistest"
)

// programs are clients of so many members, each with an app password of its own.
type programs struct {
	*authcore.Core
	attempts []authcore.Attempt
	waited   journeys
}

// newPrograms makes a node over an engine and n members who are about their day: all that a sign-in reads is held, but
// for a cold one, which holds next to nothing.
func newPrograms(tb testing.TB, n int, cold bool, engine func(*authcore.Options)) *programs {
	p := &programs{}
	c := authtest.New(tb, func(o *authcore.Options) {
		engine(o)
		p.waited.under(o)
		if o.PerDoor = 1000; cold {
			o.CacheEntries = 1
		}
	})
	p.Core = c.Core
	for i := range n {
		address := fmt.Sprintf("m%d@%s", i, sample.New)
		_, _, err := c.CreateMember(tb.Context(), authtest.Operator(), sample.New, authcore.NewMember{Address: address})
		must(tb, err)
		_, plain, err := c.CreateAppPasswordFor(tb.Context(), authtest.Operator(), address, apppass.Wish{Name: "Mail"})
		must(tb, err)
		p.attempts = append(p.attempts, authtest.Attempt("imap", address, plain.Reveal()))
	}
	for i := range 3 * n {
		p.signIn(tb.Context(), tb, p.Core, i)
	}
	return p
}

func (p *programs) signIn(ctx context.Context, tb testing.TB, c *authcore.Core, i int) {
	a := p.attempts[i%len(p.attempts)]
	a.StandsFollows = true
	d, err := c.Authenticate(ctx, a)
	if err != nil || !d.Allowed() {
		tb.Errorf("sign-in: %q, %v", d.Reason, err)
		return
	}
	if ok, err := c.Stands(ctx, d.Standing(a)); !ok || err != nil {
		tb.Errorf("stands: %v, %v", ok, err)
	}
	c.Ended(ctx, d.Session, authcore.End{})
}

// signInOften has clients sign in and out, b.N times in all, and reports what one costs of this process, how many a core
// of it does, and how often one waits for the store.
func (p *programs) signInOften(b *testing.B, clients int) {
	var next atomic.Int64
	var running sync.WaitGroup
	b.ReportAllocs()
	b.ResetTimer()
	before, waited := cpu(b), p.waited.Load()
	for range clients {
		running.Go(func() {
			ctx, cancel := context.WithCancel(b.Context()) // as each connection has
			defer cancel()
			for i := next.Add(1); i <= int64(b.N) && !b.Failed(); i = next.Add(1) {
				p.signIn(ctx, b, p.Core, int(i))
			}
		})
	}
	running.Wait()
	each := float64(cpu(b)-before) / float64(b.N)
	b.ReportMetric(each/1e3, "cpu-µs/op")
	b.ReportMetric(1e9/each, "op/s/core")
	b.ReportMetric(float64(p.waited.Load()-waited)/float64(b.N), "journeys/op")
}

// onServer makes the Core the one node of a fleet.
func onServer(tb testing.TB, s *redistest.Server) func(*authcore.Options) {
	return func(o *authcore.Options) {
		db, err := redis.Open(tb.Context(), redis.Options{Mode: redis.Standalone, Addresses: []string{s.Addr}, AllowLossy: true,
			StateDir: filepath.Join(tb.TempDir(), "node"), Node: "bench"})
		must(tb, err)
		tb.Cleanup(func() { _ = db.Close() })
		o.Records, o.Ephemeral, o.Bus, o.Node = db.Records(), db.Ephemeral(), db.Bus(), db.NodeID()
		o.Fleet, o.StoreTime = &authcore.Fleet{Name: "bench"}, authcore.DefaultStoreTime
	}
}

// BenchmarkEngines is a whole sign-in with an app password, its durable audit record, the second look at the records and its end, over each engine: warm
// on records that are held, cold with nothing held.
func BenchmarkEngines(b *testing.B) {
	for _, state := range []string{"warm", "cold"} {
		for _, clients := range []int{1, 32, 64, 256} {
			for _, fsync := range []string{"", "always", "everysec"} { // side by side, for the machine changes
				name := "engine=redis-" + fsync
				if fsync == "" {
					name = "engine=embedded"
				}
				b.Run(fmt.Sprintf("%s/clients=%d/%s", state, clients, name), func(b *testing.B) { benchEngine(b, fsync, clients, state == "cold") })
			}
		}
	}
}

func benchEngine(b *testing.B, fsync string, clients int, cold bool) {
	if fsync == "" {
		newPrograms(b, clients, cold, onSQLite(b)).signInOften(b, clients)
		return
	}
	redistest.Need(b, "redis-server")
	server := redistest.Standalone(b, "appendfsync "+fsync)
	p := newPrograms(b, clients, cold, onServer(b, server))
	used, reads := serverCPU(b, server), figure(b, server, "stats", "total_reads_processed")
	p.signInOften(b, clients)
	b.ReportMetric((serverCPU(b, server)-used)*1e6/float64(b.N), "server-µs/op")
	b.ReportMetric((figure(b, server, "stats", "total_reads_processed")-reads)/float64(b.N), "pipelines/op")
}

// serverCPU is what a server has used, in seconds.
func serverCPU(b *testing.B, s *redistest.Server) float64 {
	return figure(b, s, "cpu", "used_cpu_user") + figure(b, s, "cpu", "used_cpu_sys")
}

// figure is one of the figures of INFO.
func figure(b *testing.B, s *redistest.Server, section, name string) float64 {
	info, err := s.Info(section)
	must(b, err)
	n, err := strconv.ParseFloat(info[name], 64)
	must(b, err)
	return n
}
