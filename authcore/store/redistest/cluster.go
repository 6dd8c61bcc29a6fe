package redistest

import (
	"fmt"
	"strings"
	"testing"
)

const (
	masters = 3 // the fewest that a Cluster fails over with
	slots   = 16384
)

// Cluster starts three masters that share the slots; conf are lines of redis.conf.
func Cluster(t testing.TB, conf ...string) *Fleet {
	t.Helper()
	return ClusterWith(t, Options{Conf: conf})
}

// ClusterWith starts three masters and their replicas, and answers when all of them say that the cluster is well. With
// Proxied clients are told the proxies' addresses and replicas follow through them; the nodes' own bus goes past them.
func ClusterWith(t testing.TB, o Options) *Fleet {
	t.Helper()
	f := &Fleet{}
	for range masters {
		f.Masters = append(f.Masters, newNode(t, o))
	}
	for range masters * o.Replicas {
		f.Replicas = append(f.Replicas, newNode(t, o))
	}
	for i, s := range f.Masters {
		s.Must(t, "CLUSTER", "ADDSLOTSRANGE", i*slots/masters, (i+1)*slots/masters-1)
	}
	for i, s := range f.All() {
		s.Must(t, "CLUSTER", "SET-CONFIG-EPOCH", i+1)
		s.meet(t, f.Masters[0])
	}
	f.attach(t, o.Replicas)
	for _, s := range f.All() {
		wait(t, "cluster at "+s.Addr, func() error { return s.clusterWell(len(f.All())) })
	}
	for _, s := range f.Masters {
		WaitInSync(t, s, o.Replicas)
	}
	return f
}

func newNode(t testing.TB, o Options) *Server {
	t.Helper()
	s := newServer(t, "redis-server", o.Proxied, nil)
	lines := []string{
		"include " + s.conf, "cluster-enabled yes", "cluster-config-file nodes.conf", "cluster-node-timeout 2000",
		fmt.Sprintf("cluster-port %d", s.busPort), "cluster-replica-validity-factor 0",
	}
	if o.Proxied {
		lines = append(lines, "cluster-announce-ip 127.0.0.1", "cluster-announce-port "+port(s.Proxy.Addr),
			fmt.Sprintf("cluster-announce-bus-port %d", s.busPort))
	}
	s.conf += ".cluster"
	s.write(t, append(lines, o.Conf...))
	s.start(t)
	return s
}

func (s *Server) meet(t testing.TB, other *Server) {
	t.Helper()
	if s != other {
		s.Must(t, "CLUSTER", "MEET", "127.0.0.1", port(other.Addr), other.busPort)
	}
}

// attach makes the replicas follow their masters, as soon as they have heard of them.
func (f *Fleet) attach(t testing.TB, each int) {
	t.Helper()
	for i, s := range f.Replicas {
		id := f.Masters[i/each].Must(t, "CLUSTER", "MYID")
		wait(t, "master for the replica "+s.Addr, func() error {
			_, err := s.Command("CLUSTER", "REPLICATE", id)
			return err
		})
	}
}

// clusterWell succeeds when the node knows all others and takes writes for every slot.
func (s *Server) clusterWell(nodes int) error {
	v, err := s.Command("CLUSTER", "INFO")
	if err != nil {
		return err
	}
	text := fmt.Sprint(v)
	for _, want := range []string{"cluster_state:ok", fmt.Sprintf("cluster_known_nodes:%d", nodes), fmt.Sprintf("cluster_size:%d", masters)} {
		if !strings.Contains(text, want+"\r\n") {
			return fmt.Errorf("no %s", want)
		}
	}
	return nil
}
