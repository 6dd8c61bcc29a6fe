package redis

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"latchkey/authcore/store"
	"latchkey/authcore/store/redistest"
)

func testClient(t *testing.T, addr string) *goredis.Client {
	c := goredis.NewClient(&goredis.Options{Addr: addr, Protocol: 2, DisableIdentity: true, MaxRetries: -1, ReadTimeout: 15 * time.Second})
	t.Cleanup(func() { c.Close() })
	return c
}

func TestPeersGate(t *testing.T) {
	for _, c := range []struct {
		name string
		conf []string
		gate gate
		want []string // one piece of each finding, in order
	}{
		{"durable", nil, gate{}, nil},
		{"no file", []string{"appendonly no"}, gate{}, []string{"`appendonly yes`"}},
		{"synced every second", []string{"appendfsync everysec"}, gate{}, []string{"`appendfsync always`"}},
		{"never synced", []string{"appendfsync no"}, gate{}, []string{"`appendfsync always`"}},
		{"not synced during a rewrite", []string{"no-appendfsync-on-rewrite yes"}, gate{}, []string{"`no-appendfsync-on-rewrite no`"}},
		{"evicts", []string{"maxmemory-policy allkeys-lru"}, gate{}, []string{"`maxmemory-policy noeviction`"}},
		{"no min-replicas", nil, gate{replicas: 1, failover: true}, []string{"`min-replicas-to-write 1`"}},
		{"min-replicas too low", []string{"min-replicas-to-write 1"}, gate{replicas: 2}, []string{"`min-replicas-to-write 2`"}},
		{"min-replicas without a lag", []string{"min-replicas-to-write 1", "min-replicas-max-lag 0"}, gate{replicas: 1}, []string{"`min-replicas-max-lag 10`"}},
		{"min-replicas", []string{"min-replicas-to-write 1"}, gate{replicas: 1, failover: true}, nil},
		{"reads when down", []string{"cluster-allow-reads-when-down yes"}, gate{cluster: true}, []string{"`cluster-allow-reads-when-down no`"}},
		{"CONFIG renamed", []string{"rename-command CONFIG \"\""}, gate{}, []string{"cannot be read"}},
		{"CONFIG renamed, no file", []string{"rename-command CONFIG \"\"", "appendonly no"}, gate{}, []string{"`appendonly yes`", "cannot be read"}},
		{"CONFIG forbidden", []string{"user default on nopass ~* &* +@all -config"}, gate{user: "door"}, []string{"`ACL SETUSER door +config|get`"}},
		{"all at once", []string{"appendonly no", "appendfsync no", "maxmemory-policy volatile-ttl"}, gate{},
			[]string{"`appendonly yes`", "`appendfsync always`", "`maxmemory-policy noeviction`"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := redistest.Standalone(t, c.conf...)
			v, err := c.gate.inspect(t.Context(), testClient(t, s.Addr))
			if err != nil {
				t.Fatal(err)
			}
			if len(v.Lossy) != len(c.want) {
				t.Fatalf("got %q, want %q", v.Lossy, c.want)
			}
			for i, want := range c.want {
				if !strings.Contains(v.Lossy[i], want) {
					t.Errorf("got %q, want %s in it", v.Lossy[i], want)
				}
			}
			if lossy := errors.Is(v.err(), ErrLossy); lossy != (len(c.want) > 0) {
				t.Errorf("got error %v", v.err())
			}
		})
	}
}

func TestPeersGateReplicas(t *testing.T) {
	master, _ := redistest.Replicated(t, 1)
	c := testClient(t, master.Addr)
	if v, err := (gate{}).inspect(t.Context(), c); err != nil || len(v.Lossy) != 1 || !strings.Contains(v.Lossy[0], "`replicas: 1`") {
		t.Errorf("a replica that nobody waits for: got %q, %v", v.Lossy, err)
	}
	if v, err := (gate{replicas: 2}).inspect(t.Context(), c); err != nil || len(v.Windows) != 1 || !strings.Contains(v.Windows[0], "1 of 2") {
		t.Errorf("one of two is missing: got %q, %v", v.Windows, err)
	}
}

func TestParseVersion(t *testing.T) {
	for _, c := range []struct {
		text          string
		old, noWaitOF bool
	}{
		{"6.2.14", true, true}, {"7.0.15", false, true}, {"7.2.0", false, false}, {"8.0.1", false, false}, {"10.1.2", false, false},
		{"", true, true}, {"unstable", true, true},
	} {
		if v := parseVersion(c.text); v.below(oldest) != c.old || v.below(waitAOF) != c.noWaitOF {
			t.Errorf("%q: too old %t, without WAITAOF %t", c.text, v.below(oldest), v.below(waitAOF))
		}
	}
}

// A lossy server is refused with all that is to be set, unless it is allowed; then it is a standing warning. One that
// turns lossy later takes no writes any more, until it is put right.
func TestPeersLossyServer(t *testing.T) {
	s := redistest.Standalone(t, "appendfsync no", "maxmemory-policy allkeys-lru")
	o := Options{Mode: Standalone, Addresses: []string{s.Addr}, StateDir: t.TempDir()}
	_, err := Open(t.Context(), o)
	if !errors.Is(err, ErrLossy) || !strings.Contains(err.Error(), "appendfsync always") || !strings.Contains(err.Error(), "noeviction") {
		t.Errorf("got %v", err)
	}
	o.AllowLossy = true
	lossy, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if got := lossy.Durability().Lossy; len(got) != 2 {
		t.Errorf("warnings: %q", got)
	}
	if err := lossy.Close(); err != nil {
		t.Error(err)
	}
	s.Must(t, "CONFIG", "SET", "appendfsync", "always", "maxmemory-policy", "noeviction")
	o.AllowLossy = false
	db := mustOpen(t, o)
	write := func() error {
		return db.do(t.Context(), 7, true, goredis.NewStatusCmd(t.Context(), "set", db.keys.of(7, "try"), 1))
	}
	if err := write(); err != nil {
		t.Fatal(err)
	}
	s.Must(t, "CONFIG", "SET", "appendfsync", "no")
	db.inspectNow(t)
	if err := write(); !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), "appendfsync always") {
		t.Errorf("turned lossy: %v", err)
	}
	if err := db.do(t.Context(), 7, false, goredis.NewStringCmd(t.Context(), "get", db.keys.of(7, "try"))); err != nil {
		t.Errorf("a read: %v", err)
	}
	s.Must(t, "CONFIG", "SET", "appendfsync", "always")
	db.inspectNow(t)
	if err := write(); err != nil {
		t.Errorf("put right: %v", err)
	}
}

// inspectNow is what happens every gateEvery.
func (db *DB) inspectNow(t *testing.T) {
	t.Helper()
	w := db.watch
	w.mu.Lock()
	for _, v := range w.views {
		v.inspected = time.Time{}
	}
	w.mu.Unlock()
	if err := w.round(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// Redis notes the offset of its replication stream after reads too, so that a WAIT behind a read speaks for what was
// read. The watch relies on it.
func TestPeersWaitBehindARead(t *testing.T) {
	master, replicas := redistest.Replicated(t, 1)
	ctx := t.Context()
	c := testClient(t, master.Addr)
	ack := func(within time.Duration) error {
		a := acknowledgement{replicas: 1, within: within}
		p := testClient(t, master.Addr).Pipeline() // a connection that has written nothing
		p.Get(ctx, "a")
		wait := a.command(ctx)
		p.Process(ctx, wait)
		if _, err := p.Exec(ctx); err != nil {
			t.Fatal(err)
		}
		return a.enough(wait)
	}
	c.Set(ctx, "a", 1, 0)
	if err := ack(10 * time.Second); err != nil {
		t.Errorf("replicated: %v", err)
	}
	replicas[0].Pause(t)
	c.Set(ctx, "a", 2, 0)
	if err := ack(200 * time.Millisecond); err == nil {
		t.Error("a reading of what only the master has was acknowledged")
	}
	replicas[0].Resume(t)
	if err := ack(10 * time.Second); err != nil {
		t.Errorf("replicated again: %v", err)
	}
}

// No server here knows WAITAOF; one that only speaks the protocol shows that it is sent and read right.
func TestAcknowledgementWaitAOF(t *testing.T) {
	for _, c := range []struct {
		name, reply string
		want        bool
	}{
		{"on disk here and there", "*2\r\n:1\r\n:1\r\n", true},
		{"not on disk here", "*2\r\n:0\r\n:1\r\n", false},
		{"not there", "*2\r\n:1\r\n:0\r\n", false},
		{"another answer", "*0\r\n", false},
		{"an error", "-ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.\r\n", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			here, there := net.Pipe()
			asked := make(chan string, 1)
			go func() {
				defer there.Close()
				buf := make([]byte, 256)
				n, _ := there.Read(buf)
				for ; strings.Contains(string(buf[:n]), "hello"); n, _ = there.Read(buf) {
					_, _ = there.Write([]byte("-ERR unknown command\r\n"))
				}
				asked <- string(buf[:n])
				_, _ = there.Write([]byte(c.reply))
			}()
			client := goredis.NewClient(&goredis.Options{
				Protocol: 2, DisableIdentity: true, MaxRetries: -1,
				Dialer: func(context.Context, string, string) (net.Conn, error) { return here, nil },
			})
			defer client.Close()
			a := acknowledgement{replicas: 1, aof: true, within: time.Second}
			cmd := a.command(t.Context())
			_ = client.Process(t.Context(), cmd)
			if err := a.enough(cmd); (err == nil) != c.want {
				t.Errorf("got %v", err)
			}
			if got := <-asked; !strings.Contains(got, "WAITAOF\r\n$1\r\n1\r\n$1\r\n1\r\n$4\r\n1000") {
				t.Errorf("asked %q", got)
			}
		})
	}
}

// Of a store that is well State tells no trouble.
func TestPeersState(t *testing.T) {
	s := redistest.Standalone(t)
	db := mustOpen(t, Options{Mode: Standalone, Addresses: []string{s.Addr}})
	st := db.State()
	if len(st.Lossy)+len(st.Windows)+len(st.RolledBack)+len(st.Failing)+len(st.Breakers) > 0 || st.Unwritten != nil {
		t.Errorf("of a store that is well: %+v", st)
	}
	s.Kill(t)
	soon(t, "it tells that the server is away", patience, func() bool {
		_, _ = db.Records().Get(t.Context(), store.Key{Partition: "p", Name: "n"})
		st := db.State()
		return len(st.Failing) > 0 && len(st.Breakers) > 0
	})
	s.Restart(t)
	soon(t, "it tells no trouble any more", patience, func() bool {
		_, _ = db.Records().Get(t.Context(), store.Key{Partition: "p", Name: "n"})
		st := db.State()
		return len(st.Failing)+len(st.Breakers) == 0
	})
}
