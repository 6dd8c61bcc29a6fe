package redistest_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"latchkey/authcore/store/redistest"
)

func client(t *testing.T, addr string) *redis.Client {
	c := redis.NewClient(&redis.Options{Addr: addr, MaxRetries: -1, DialerRetries: 1, ReadTimeout: 300 * time.Millisecond, DialTimeout: time.Second})
	t.Cleanup(func() { c.Close() })
	return c
}

// What was written is there after a kill, and a stopped server answers again when it goes on.
func TestPeersKillRestartPause(t *testing.T) {
	s := redistest.Standalone(t)
	s.Must(t, "SET", "a", "1")
	s.Kill(t)
	if _, err := s.Command("GET", "a"); err == nil {
		t.Error("a killed server answers")
	}
	s.Restart(t)
	if got := s.Must(t, "GET", "a"); got != "1" {
		t.Errorf("after a kill: got %v, want 1", got)
	}
	c := client(t, s.Addr)
	s.Pause(t)
	if err := c.Get(t.Context(), "a").Err(); err == nil {
		t.Error("a stopped server answers")
	}
	s.Resume(t)
	if got := s.Must(t, "GET", "a"); got != "1" {
		t.Errorf("after a stop: got %v, want 1", got)
	}
}

func TestPeersReplicated(t *testing.T) {
	f := redistest.ReplicatedWith(t, redistest.Options{Replicas: 2, Proxied: true})
	master := f.Masters[0]
	master.Must(t, "SET", "a", "1")
	if n := master.Must(t, "WAIT", 2, 1000); n != int64(0) && n != int64(2) {
		t.Errorf("WAIT on a new connection answers %v", n)
	}
	f.Replicas[0].Link.Partition()
	c := redis.NewClient(&redis.Options{Addr: master.ClientAddr(), MaxRetries: -1})
	defer c.Close()
	conn := c.Conn()
	defer conn.Close()
	conn.Set(t.Context(), "a", "2", 0)
	if n, err := conn.Do(t.Context(), "WAIT", 2, 1000).Int(); err != nil || n != 1 {
		t.Errorf("with one link cut: %d replicas acknowledge, %v, want 1", n, err)
	}
}

func TestPeersClusterProxied(t *testing.T) {
	f := redistest.ClusterWith(t, redistest.Options{Replicas: 1, Proxied: true})
	c := redis.NewClusterClient(&redis.ClusterOptions{Addrs: f.Addresses()})
	t.Cleanup(func() { c.Close() })
	for _, key := range []string{"a", "b", "c", "d", "e", "f"} {
		if err := c.Set(t.Context(), key, "1", 0).Err(); err != nil {
			t.Error(err)
		}
	}
	for _, s := range f.Masters {
		s.Proxy.Refuse()
	}
	if err := c.Set(t.Context(), "a", "1", 0).Err(); err == nil {
		t.Error("the client reached a master past its proxy")
	}
}

func TestPeersSentinelFailover(t *testing.T) {
	f := redistest.SentinelWith(t, redistest.Options{Proxied: true})
	if got := f.MasterAddr(t); got != f.Masters[0].ClientAddr() {
		t.Errorf("the master is at %s, want %s", got, f.Masters[0].ClientAddr())
	}
	f.Masters[0].Kill(t)
	for deadline := time.Now().Add(20 * time.Second); f.MasterAddr(t) != f.Replicas[0].ClientAddr(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the replica was not promoted")
		}
	}
	f.Masters[0].Restart(t)
}

func TestPeersProxyFaults(t *testing.T) {
	s := redistest.StandaloneWith(t, redistest.Options{Proxied: true})
	ctx := context.Background()
	incr := func() error { return client(t, s.ClientAddr()).Incr(ctx, "n").Err() }
	if err := incr(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		fault func()
	}{
		{"hang", s.Proxy.Hang},
		{"partition", s.Proxy.Partition},
		{"reset", s.Proxy.Reset},
		{"refuse", s.Proxy.Refuse},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := s.Must(t, "GET", "n")
			c.fault()
			err := incr()
			if err == nil {
				t.Error("the command went through")
			}
			var timeout net.Error
			if c.name == "hang" && !(errors.As(err, &timeout) && timeout.Timeout()) {
				t.Errorf("got %v, want a time-out", err)
			}
			if got := s.Must(t, "GET", "n"); got != before {
				t.Errorf("the server has %v, want %v as before", got, before)
			}
			s.Proxy.Heal()
			if c.name == "refuse" {
				s.Proxy.Accept()
			}
			if err := incr(); err != nil {
				t.Errorf("healed: %v", err)
			}
		})
	}
}

// A late answer is one to a request that was done.
func TestPeersProxyLatency(t *testing.T) {
	s := redistest.StandaloneWith(t, redistest.Options{Proxied: true})
	c := client(t, s.ClientAddr())
	if err := c.Incr(t.Context(), "n").Err(); err != nil {
		t.Fatal(err)
	}
	s.Proxy.Latency(time.Second)
	if err := c.Incr(t.Context(), "n").Err(); err == nil {
		t.Error("the answer came at once")
	}
	if got := s.Must(t, "GET", "n"); got != "2" {
		t.Errorf("the server has %v, want 2", got)
	}
}

// The answer is cut away once, and the server has done what was asked.
func TestPeersProxyCutAnswers(t *testing.T) {
	s := redistest.StandaloneWith(t, redistest.Options{Proxied: true})
	c := redis.NewClient(&redis.Options{Addr: s.ClientAddr(), Protocol: 2, DisableIdentity: true, MaxRetries: -1})
	t.Cleanup(func() { c.Close() })
	if err := c.Incr(t.Context(), "n").Err(); err != nil {
		t.Fatal(err)
	}
	s.Proxy.CutAnswers(1)
	if err := c.Incr(t.Context(), "n").Err(); err == nil {
		t.Error("the answer came")
	}
	if got, err := c.Get(t.Context(), "n").Int(); err != nil || got != 2 {
		t.Errorf("got %d, %v, want 2", got, err)
	}
}
