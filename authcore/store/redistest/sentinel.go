package redistest

import (
	"fmt"
	"testing"
)

// Sentinel starts a master, a replica and three sentinels; conf are lines of redis.conf.
func Sentinel(t testing.TB, conf ...string) *Fleet {
	t.Helper()
	return SentinelWith(t, Options{Conf: conf})
}

// SentinelWith starts a master, its replicas and the sentinels, and answers when these know each other. A master takes
// writes only while all replicas are connected, as a durable one must: "min-replicas-to-write 0" undoes it. With Proxied
// everybody, the sentinels too, sees the servers through their proxies.
func SentinelWith(t testing.TB, o Options) *Fleet {
	t.Helper()
	Need(t, "redis-sentinel")
	o.Conf = append([]string{fmt.Sprintf("min-replicas-to-write %d", max(o.Replicas, 1))}, o.Conf...)
	master := StandaloneWith(t, o)
	f := &Fleet{Masters: []*Server{master}}
	for range max(o.Replicas, 1) {
		conf := append(o.Conf[:len(o.Conf):len(o.Conf)], "replicaof "+spaced(master.ClientAddr()))
		s := newServer(t, "redis-server", o.Proxied, conf)
		s.start(t)
		f.Replicas = append(f.Replicas, s)
	}
	WaitInSync(t, master, len(f.Replicas))
	count := o.Sentinels
	if count == 0 {
		count = 3
	}
	for range count {
		f.Sentinels = append(f.Sentinels, newSentinel(t, master, count, o))
	}
	f.WaitWell(t)
	return f
}

func newSentinel(t testing.TB, master *Server, count int, o Options) *Server {
	t.Helper()
	quorum := o.Quorum
	if quorum == 0 {
		quorum = count/2 + 1
	}
	s := newServer(t, "redis-sentinel", false, append([]string{
		fmt.Sprintf("sentinel monitor %s %s %d", MasterName, spaced(master.ClientAddr()), quorum),
		"sentinel down-after-milliseconds " + MasterName + " 1000",
		"sentinel failover-timeout " + MasterName + " 3000",
	}, o.Sentinel...))
	s.start(t)
	return s
}

// sentinelWell succeeds when the sentinel has found the replicas and the other sentinels.
func (s *Server) sentinelWell(replicas, others int) error {
	v, err := s.Command("SENTINEL", "MASTER", MasterName)
	if err != nil {
		return err
	}
	l, _ := v.([]any)
	got := make(map[string]string)
	for i := 0; i+1 < len(l); i += 2 {
		got[fmt.Sprint(l[i])] = fmt.Sprint(l[i+1])
	}
	if got["num-slaves"] != fmt.Sprint(replicas) || got["num-other-sentinels"] != fmt.Sprint(others) || got["flags"] != "master" {
		return fmt.Errorf("%s replicas, %s other sentinels, flags %s", got["num-slaves"], got["num-other-sentinels"], got["flags"])
	}
	return nil
}

// MasterAddr is where the sentinels say that the master is now.
func (f *Fleet) MasterAddr(t testing.TB) string {
	t.Helper()
	var addr string
	wait(t, "sentinel that names the master", func() (err error) {
		for _, s := range f.Sentinels {
			var v any
			if v, err = s.Command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MasterName); err != nil {
				continue
			}
			if l, ok := v.([]any); ok && len(l) == 2 {
				addr = fmt.Sprintf("%v:%v", l[0], l[1])
				return nil
			}
			err = fmt.Errorf("sentinel answers %v", v)
		}
		return err
	})
	return addr
}
