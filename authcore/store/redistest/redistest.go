// Package redistest starts Debian's redis-server on loopback for tests: alone, with replicas, as a Cluster or under
// Sentinel, with a proxy in between that breaks connections on demand. A test is skipped by name where the program is
// missing. Nothing survives the test: servers end with it, also when it panics or is killed. It knows no engine.
package redistest

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// startWait bounds the wait for servers to be ready: they are within seconds, but the machine may be busy.
const startWait = time.Minute

// MasterName is the name under which sentinels know the master.
const MasterName = "latchkey"

// Options of servers; the zero value is durable: appendonly yes, appendfsync always.
type Options struct {
	Conf     []string // lines of redis.conf for every server, "appendfsync everysec"; the last one of a name holds
	Replicas int      // of each master; Sentinel has one at least
	Proxied  bool     // each server stands behind a proxy, Server.Proxy, and announces its address to clients and others

	Sentinels int      // 0: three
	Quorum    int      // of sentinels; 0: more than half
	Sentinel  []string // lines of sentinel.conf, "sentinel down-after-milliseconds latchkey 500"
}

// Fleet is what was started together.
type Fleet struct {
	Masters   []*Server // at the start: a fail-over moves the role
	Replicas  []*Server // in the order of their masters
	Sentinels []*Server
}

// Addresses are what a client is configured with: the sentinels, or else the masters.
func (f *Fleet) Addresses() []string {
	from := f.Masters
	if len(f.Sentinels) > 0 {
		from = f.Sentinels
	}
	l := make([]string, 0, len(from))
	for _, s := range from {
		l = append(l, s.ClientAddr())
	}
	return l
}

// All are the servers that keep data.
func (f *Fleet) All() []*Server { return append(append([]*Server{}, f.Masters...), f.Replicas...) }

// Standalone starts one server; conf are lines of redis.conf.
func Standalone(t testing.TB, conf ...string) *Server {
	t.Helper()
	return StandaloneWith(t, Options{Conf: conf})
}

// StandaloneWith starts one server, perhaps behind a proxy.
func StandaloneWith(t testing.TB, o Options) *Server {
	t.Helper()
	s := newServer(t, "redis-server", o.Proxied, o.Conf)
	s.start(t)
	return s
}

// Replicated starts a master and n replicas, and answers when all are in step.
func Replicated(t testing.TB, n int, conf ...string) (master *Server, replicas []*Server) {
	t.Helper()
	f := ReplicatedWith(t, Options{Conf: conf, Replicas: n})
	return f.Masters[0], f.Replicas
}

// ReplicatedWith starts a master and its replicas. With Proxied the replicas follow the master through Server.Link,
// so that a test can break replication alone.
func ReplicatedWith(t testing.TB, o Options) *Fleet {
	t.Helper()
	master := StandaloneWith(t, o)
	f := &Fleet{Masters: []*Server{master}}
	for range o.Replicas {
		conf, from := o.Conf, master.Addr
		var link *Proxy
		if o.Proxied {
			link = NewProxy(t, master.Addr)
			from = link.Addr
		}
		s := newServer(t, "redis-server", o.Proxied, append(conf[:len(conf):len(conf)], "replicaof "+spaced(from)))
		s.Link = link
		s.start(t)
		f.Replicas = append(f.Replicas, s)
	}
	WaitInSync(t, master, o.Replicas)
	return f
}

// WaitInSync waits until master counts n replicas that have all it wrote.
func WaitInSync(t testing.TB, master *Server, n int) {
	t.Helper()
	wait(t, fmt.Sprintf("%d replicas in step with %s", n, master.Addr), func() error {
		info, err := master.Info("replication")
		if err != nil {
			return err
		}
		online := 0
		for name, value := range info {
			if strings.HasPrefix(name, "slave") && strings.Contains(value, "state=online") {
				online++
			}
		}
		if online != n {
			return fmt.Errorf("%d replicas are online", online)
		}
		return master.acknowledged(n)
	})
}

// acknowledged succeeds when n replicas have all that the server says up to now. A replica that is "online" may still be
// loading what it was sent (redis 7.0 replication.c: it is put online when the last byte is on its way). A published
// message is a part of the stream that leaves nothing behind.
func (s *Server) acknowledged(n int) error {
	if n == 0 {
		return nil
	}
	c := s.client()
	defer c.Close()
	pipe := c.Pipeline() // one connection: WAIT speaks of what that has said
	pipe.Publish(context.Background(), "redistest", "")
	have := pipe.Do(context.Background(), "WAIT", n, 1000)
	if _, err := pipe.Exec(context.Background()); err != nil {
		return err
	}
	if got, _ := have.Int(); got < n {
		return fmt.Errorf("%d replicas of %d have acknowledged", got, n)
	}
	return nil
}

// Need skips the test when one of the programs is missing; with CI=true it fails instead.
func Need(t testing.TB, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := exec.LookPath(name); err == nil {
			continue
		}
		why := "needs " + name + " (make deps, as root, installs what is missing)"
		if os.Getenv("CI") == "true" {
			t.Fatal(why)
		}
		t.Skip(why)
	}
}

// wait tries until it succeeds, and fails the test when it does not within startWait.
func wait(t testing.TB, what string, try func() error) {
	t.Helper()
	deadline := time.Now().Add(startWait)
	for {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("no %s: %v", what, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// command asks the server once, on a connection of its own: what stands between the test and the server plays no part.
func (s *Server) command(args ...any) (any, error) {
	c := s.client()
	defer c.Close()
	return c.Do(context.Background(), args...).Result()
}

func (s *Server) client() *redis.Client {
	return redis.NewClient(&redis.Options{
		Addr: s.Addr, Username: s.as.User, Password: s.as.Password, TLSConfig: s.as.TLS,
		Protocol: 2, DisableIdentity: true, MaxRetries: -1, DialerRetries: 1, PoolSize: 1,
		DialTimeout: startWait / 2, ReadTimeout: startWait / 2,
	})
}

// spaced is an address as redis.conf has it.
func spaced(addr string) string {
	host, port, _ := net.SplitHostPort(addr)
	return host + " " + port
}

// port is that of an address.
func port(addr string) string {
	_, p, _ := net.SplitHostPort(addr)
	return p
}
