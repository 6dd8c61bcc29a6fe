package proxy_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/member"
	"latchkey/proxy"
)

// While the revocations of a domain cannot be read its sessions go on until the lease is over, counted from the last good
// read; not one longer, and not all at once. When they can be read again, nobody is cut and nobody asked.
func TestLeaseOfADomain(t *testing.T) {
	const lease, sessions = 20 * time.Second, 1000
	for name, tt := range map[string]struct {
		domain member.DomainID
		reread time.Duration // since the last good read; 0: never
		cut    bool
	}{
		"its own, never read again":       {"d", 0, true},
		"its own, read before the end":    {"d", lease * 8 / 10, false},
		"of another domain":               {"e", 0, false},
		"its own, read when all are over": {"d", 2 * lease, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				live := proxy.NewLive()
				live.Lease = lease
				w := watch(live, func(context.Context, authcore.Standing) (bool, error) { return true, nil })
				defer w.stop()
				var all []*cutter
				for i := range sessions {
					_, c := enter(live, fmt.Sprint(i), "a", time.Time{})
					all = append(all, c)
				}
				good := time.Now()
				time.Sleep(3 * time.Second) // so long nobody noticed
				r := authcore.Revocation{Domain: tt.domain, Unread: good}
				w.revoke <- r
				if tt.reread > 0 {
					time.Sleep(time.Until(good.Add(tt.reread)))
					w.revoke <- authcore.Revocation{Domain: r.Domain, Reread: true}
				}
				time.Sleep(time.Minute)
				var at []time.Duration
				for i, c := range all {
					if (c.cut() == proxy.ErrUnjudged) != tt.cut {
						t.Fatalf("session %d: cut with %v", i, c.cut())
					}
					at = append(at, c.when.Sub(good))
				}
				if n := len(w.auth.Judged()); n != 0 {
					t.Errorf("%d were judged", n)
				}
				if !tt.cut {
					return
				}
				if slices.Max(at) > lease || slices.Min(at) < lease*8/10 {
					t.Errorf("cut from %v to %v after the last good read", slices.Min(at), slices.Max(at))
				}
				if slices.Max(at)-slices.Min(at) < time.Second {
					t.Errorf("all came back within %v", slices.Max(at)-slices.Min(at))
				}
			})
		})
	}
}

// Questions that failed are all answered once the records can be asked again, however late in the lease, and who stands
// is not cut.
func TestLateAnswerCutsNobodyWhoStands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		down := true
		w := watch(proxy.NewLive(), func(ctx context.Context, s authcore.Standing) (bool, error) {
			mu.Lock()
			is := down
			mu.Unlock()
			if is {
				<-ctx.Done() // a store that hangs
				return false, ctx.Err()
			}
			return s.Session != "0", nil
		})
		defer w.stop()
		var all []*cutter
		for i := range 3000 {
			_, c := enter(w.live, fmt.Sprint(i), "a", time.Time{})
			all = append(all, c)
		}
		w.revoke <- authcore.Revocation{Resync: true}
		time.Sleep(20 * time.Second)
		mu.Lock()
		down = false
		mu.Unlock()
		time.Sleep(time.Minute)
		for i, c := range all {
			if want := map[bool]error{true: proxy.ErrRevoked}[i == 0]; c.cut() != want {
				t.Fatalf("session %d: cut with %v, want %v", i, c.cut(), want)
			}
		}
	})
}
