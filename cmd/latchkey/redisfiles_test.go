package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"latchkey/authcore/store"
	"latchkey/authcore/store/redis"
	"latchkey/authcore/store/redistest"
	"latchkey/authcore/store/storetest"
	"latchkey/configs/examples"
)

// exampleFile is a configuration as the documentation shows it, with each old value replaced by a new one. An old one
// that no longer stands there fails the test.
func exampleFile(t *testing.T, name string, pairs ...string) string {
	t.Helper()
	b, err := examples.Files.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(string(b), pairs[i]) {
			t.Fatalf("configs/examples/%s has no %q", name, pairs[i])
		}
	}
	return strings.NewReplacer(pairs...).Replace(string(b))
}

// redisFiles are Redis servers as the examples set them up: TLS with certificates on both sides, and the users.
type redisFiles struct {
	dir string // secrets and the certificate
	tls *tls.Config
}

func newRedisFiles(t *testing.T) *redisFiles {
	t.Helper()
	redistest.Need(t, "redis-server", "redis-sentinel", "redis-cli")
	help, _ := exec.Command("redis-cli", "--help").CombinedOutput()
	if !strings.Contains(string(help), "--tls") {
		t.Skip("needs a redis-server built with TLS")
	}
	f := &redisFiles{dir: t.TempDir()}
	f.certify(t)
	for name, secret := range map[string]string{"redis": "change-me-1", "sentinel": "change-me-4"} {
		if err := os.WriteFile(filepath.Join(f.dir, name), []byte(secret+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

// certify makes the one certificate of all: it signs itself.
func (f *redisFiles) certify(t *testing.T) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"redis.pem": {Type: "CERTIFICATE", Bytes: der}, "redis.key": {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(filepath.Join(f.dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pair, err := tls.LoadX509KeyPair(filepath.Join(f.dir, "redis.pem"), filepath.Join(f.dir, "redis.key"))
	if err != nil {
		t.Fatal(err)
	}
	f.tls = &tls.Config{RootCAs: x509.NewCertPool(), Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	f.tls.RootCAs.AppendCertsFromPEM(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func (f *redisFiles) account(user, password string) redistest.Account {
	c := f.tls.Clone()
	c.ServerName = "127.0.0.1"
	return redistest.Account{User: user, Password: password, TLS: c}
}

// common are the replacements that both kinds of server need.
func (f *redisFiles) common(s *redistest.Server, port string) []string {
	return []string{
		"bind 127.0.0.1 10.20.0.11", "bind 127.0.0.1", "tls-port " + port, "tls-port " + s.Port(), "/etc/redis/tls/redis.pem", f.dir + "/redis.pem",
		"/etc/redis/tls/redis.key", f.dir + "/redis.key", "/etc/redis/tls/internal-ca.pem", f.dir + "/redis.pem", "dir /var/lib/redis", "dir " + s.Dir,
	}
}

// server starts a redis-server of the files, with a few more replacements.
func (f *redisFiles) server(t *testing.T, more func(s *redistest.Server) []string) *redistest.Server {
	t.Helper()
	return redistest.Own(t, "redis-server", f.account("operator", "change-me-6"), func(s *redistest.Server) string {
		users := filepath.Join(s.Dir, "users.acl")
		if err := os.WriteFile(users, []byte(exampleFile(t, "redis-users.acl")), 0o600); err != nil {
			t.Fatal(err)
		}
		return exampleFile(t, "redis.conf", slices.Concat(f.common(s, "6379"), []string{"/etc/redis/users.acl", users}, more(s))...)
	})
}

func (f *redisFiles) sentinel(t *testing.T, master *redistest.Server) *redistest.Server {
	t.Helper()
	return redistest.Own(t, "redis-sentinel", f.account("peer", "change-me-5"), func(s *redistest.Server) string {
		return exampleFile(t, "sentinel.conf", append(f.common(s, "26379"), "10.20.0.11 6379", "127.0.0.1 "+master.Port())...)
	})
}

// three are the servers of configs/fleet.yaml.
func (f *redisFiles) three(t *testing.T) *redistest.Fleet {
	t.Helper()
	none := func(*redistest.Server) []string { return nil }
	fleet := &redistest.Fleet{Masters: []*redistest.Server{f.server(t, none)}}
	master := fleet.Masters[0]
	for range 2 {
		fleet.Replicas = append(fleet.Replicas, f.server(t, func(*redistest.Server) []string {
			return []string{"# replicaof 10.20.0.11 6379", "replicaof 127.0.0.1 " + master.Port()}
		}))
	}
	redistest.WaitInSync(t, master, 2)
	for range 3 {
		fleet.Sentinels = append(fleet.Sentinels, f.sentinel(t, master))
	}
	fleet.WaitWell(t)
	return fleet
}

// options are those of a node whose configuration says this of Redis; the way there is walked first.
func (f *redisFiles) options(t *testing.T, addresses []string, more string) redis.Options {
	t.Helper()
	cfg := storeConfig(t, fmt.Sprintf("addresses: ['%s'], user: latchkey, secret_file: %s/redis, tls: {mode: tls, ca_file: %s/redis.pem, cert_file: %s/redis.pem, key_file: %s/redis.key}, %s",
		strings.Join(addresses, "', '"), f.dir, f.dir, f.dir, f.dir, strings.ReplaceAll(more, "SECRETS", f.dir)))
	awaitRedis(t, "way to redis", func() bool { // its steps have two seconds, which a busy machine may not
		err := wayToRedis(t.Context(), cfg)
		if err != nil {
			t.Log(err)
		}
		return err == nil
	})
	o, err := redisOptions(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func openRedis(t *testing.T, o redis.Options) *redis.DB {
	t.Helper()
	o.StateDir = filepath.Join(t.TempDir(), "state")
	var db *redis.DB
	awaitRedis(t, "open store", func() bool {
		var err error
		if db, err = redis.Open(context.Background(), o); err != nil && !errors.Is(err, store.ErrUnavailable) {
			t.Fatal(err)
		}
		return err == nil
	})
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return db
}

// allWorks runs the suites of the contract as the user of the files, a copy and its restore, and the way out of a loss.
func allWorks(t *testing.T, o redis.Options, masters []*redistest.Server) {
	var opened atomic.Int64
	open := func(t *testing.T) *redis.DB {
		o := o
		o.Prefix = fmt.Sprint("latchkey:suite", opened.Add(1))
		return openRedis(t, o)
	}
	clock := storetest.Clock{Now: time.Now, Advance: time.Sleep}
	storetest.RunRecords(t, func(t *testing.T) storetest.RecordsEngine {
		db := open(t)
		return storetest.RecordsEngine{Records: db.Records(), Clock: clock, Reopen: func(*testing.T) store.Records { return db.Records() }}
	})
	storetest.RunEphemeral(t, func(t *testing.T) storetest.EphemeralEngine {
		return storetest.EphemeralEngine{Ephemeral: open(t).Ephemeral(), Clock: clock}
	})
	storetest.RunBus(t, func(t *testing.T) store.Bus { return open(t).Bus() })
	db := openRedis(t, o)
	if l := db.Durability().Lossy; len(l) > 0 {
		t.Errorf("the servers of the files are called lossy: %v", l)
	}
	writeRedis(t, db, "a")
	there := open(t).Records()
	awaitRedis(t, "copy and its restore", func() bool {
		err := there.Restore(t.Context(), db.Records().Snapshot(t.Context()))
		if err != nil {
			t.Logf("a copy and its restore: %v", err)
		}
		return err == nil
	})
	for _, s := range masters {
		s.Must(t, "FLUSHALL")
	}
	awaitRedis(t, "the alarm", func() bool { return errors.Is(readRedis(db, "a"), redis.ErrRolledBack) })
	awaitRedis(t, "acceptance", func() bool { return db.AcceptRollback(t.Context()) == nil })
	awaitRedis(t, "an answer after it", func() bool { return errors.Is(readRedis(db, "a"), store.ErrNotFound) })
	writeRedis(t, db, "b")
	for _, s := range masters {
		denied := fmt.Sprint(s.Must(t, "ACL", "LOG"))
		if strings.Contains(denied, "username latchkey") {
			t.Errorf("the user of the files was denied: %s", denied)
		}
	}
}

func writeRedis(t *testing.T, db *redis.DB, name string) {
	t.Helper()
	awaitRedis(t, "write of "+name, func() bool {
		_, err := db.Records().Apply(t.Context(), "example.com", storetest.Put(name, "v"))
		if err != nil && !errors.Is(err, store.ErrUnavailable) {
			t.Fatal(err)
		}
		return err == nil
	})
}

func readRedis(db *redis.DB, name string) error {
	_, err := db.Records().Get(context.Background(), store.Key{Partition: "example.com", Name: name})
	return err
}

func awaitRedis(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for until := time.Now().Add(90 * time.Second); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("no %s", what)
		}
	}
}

// wantDenied asks each as somebody who may not.
func wantDenied(t *testing.T, s *redistest.Server, commands ...string) {
	t.Helper()
	for _, command := range commands {
		var args []any
		for _, word := range strings.Fields(command) {
			args = append(args, word)
		}
		if _, err := s.Command(args...); err == nil || !strings.Contains(err.Error(), "NOPERM") {
			t.Errorf("%s: got %v, want NOPERM", command, err)
		}
	}
}

// The files for Sentinel: what they start is durable, their user may do all that is needed and nothing else, and what was
// acknowledged is there after a promotion.
func TestPeersRedisFiles(t *testing.T) {
	t.Parallel()
	f := newRedisFiles(t)
	fleet := f.three(t)
	o := f.options(t, fleet.Addresses(), "mode: sentinel, master_name: latchkey, replicas: 2, sentinel_user: latchkey, sentinel_secret_file: SECRETS/sentinel")
	master := fleet.Masters[0]
	allWorks(t, o, fleet.Masters)
	wantDenied(t, master.As(f.account("latchkey", "change-me-1")),
		"FLUSHALL", "FLUSHDB", "SWAPDB 0 1", "CONFIG SET appendonly no", "CONFIG REWRITE", "KEYS *", "SCAN 0", "RANDOMKEY", "GET other", "SET other 1",
		"MIGRATE 127.0.0.1 1 latchkey:a 0 1", "SCRIPT FLUSH", "FUNCTION FLUSH", "CLIENT LIST", "CLIENT KILL TYPE normal",
		"ACL LIST", "REPLICAOF NO ONE", "SHUTDOWN", "MONITOR", "SAVE", "PSYNC ? -1", "SPUBLISH other 1", "PUBLISH latchkey:a 1", "CLUSTER RESET")
	if _, err := master.As(f.account("latchkey", "change-me-1")).Command("EVAL", "return redis.call('get', 'other')", 0); err == nil {
		t.Error("a script reads another one's key")
	}
	wantDenied(t, master.As(f.account("replica", "change-me-3")), "GET latchkey:a", "FLUSHALL", "CONFIG GET save")
	wantDenied(t, master.As(f.account("sentinel", "change-me-2")), "GET latchkey:a", "FLUSHALL", "CONFIG SET save 1")
	wantDenied(t, fleet.Sentinels[0].As(f.account("latchkey", "change-me-4")), "SENTINEL FAILOVER latchkey", "SENTINEL SET latchkey quorum 1", "SENTINEL REMOVE latchkey", "SHUTDOWN")
	if _, err := master.As(redistest.Account{TLS: f.account("", "").TLS}).Command("PING"); err == nil {
		t.Error("a server answers somebody without a name")
	}
	promoteByFiles(t, o, fleet)
}

// promoteByFiles kills the master: another one is chosen, nothing is answered with one server missing, and all with it back.
func promoteByFiles(t *testing.T, o redis.Options, fleet *redistest.Fleet) {
	db := openRedis(t, o)
	writeRedis(t, db, "kept")
	fleet.Masters[0].Kill(t)
	awaitRedis(t, "promotion", func() bool { return fleet.MasterAddr(t) != fleet.Masters[0].Addr })
	if _, err := db.Records().Apply(t.Context(), "example.com", storetest.Put("c", "v")); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("a write that one of two replicas has: got %v, want ErrUnavailable", err)
	}
	goOnWithout(t, o, fleet)
	fleet.Masters[0].Restart(t)
	awaitRedis(t, "answer of the new master", func() bool { return readRedis(db, "kept") == nil })
	awaitRedis(t, "write at the new master", func() bool {
		_, err := db.Records().Apply(context.Background(), "example.com", storetest.Put("d", "v"))
		return err == nil
	})
}

// goOnWithout does what redis.conf says for the time without one of the three servers, and undoes it.
func goOnWithout(t *testing.T, o redis.Options, fleet *redistest.Fleet) {
	for _, s := range fleet.Replicas {
		s.Must(t, "CONFIG", "SET", "min-replicas-to-write", "1")
		s.Must(t, "CONFIG", "REWRITE")
	}
	o.Replicas = 1
	db := openRedis(t, o)
	awaitRedis(t, "write that one replica has", func() bool {
		_, err := db.Records().Apply(context.Background(), "example.com", storetest.Put("without", "v"))
		return err == nil
	})
	for _, s := range fleet.Replicas {
		s.Must(t, "CONFIG", "SET", "min-replicas-to-write", "2")
	}
}

// The files for a Cluster, with the lines that docs/fleet.md adds, put together by redis-cli. Slots move while it runs.
func TestPeersRedisFilesCluster(t *testing.T) {
	t.Parallel()
	f := newRedisFiles(t)
	var fleet redistest.Fleet
	create := []string{"--cluster", "create"}
	for range 6 {
		s := f.server(t, func(s *redistest.Server) []string {
			return []string{"min-replicas-to-write 2", fmt.Sprintf("min-replicas-to-write 1\ncluster-enabled yes\ntls-cluster yes\n"+
				"cluster-node-timeout 5000\ncluster-require-full-coverage no\ncluster-port %d", s.BusPort())}
		})
		fleet.Masters = append(fleet.Masters, s)
		create = append(create, fmt.Sprintf("%s@%d", s.Addr, s.BusPort()))
	}
	f.cli(t, append(create, "--cluster-replicas", "1", "--cluster-yes")...)
	fleet.Masters, fleet.Replicas = fleet.Masters[:3], fleet.Masters[3:] // as redis-cli chooses
	for _, s := range fleet.Masters {
		redistest.WaitInSync(t, s, 1)
	}
	from := fleet.Masters[0].Addr
	awaitRedis(t, "cluster that is well", func() bool { return f.run("--cluster", "check", from) == nil })
	o := f.options(t, fleet.Addresses()[:2], "mode: cluster, replicas: 1")
	db := openRedis(t, o)
	writeRedis(t, db, "kept")
	id := func(s *redistest.Server) string { return fmt.Sprint(s.Must(t, "CLUSTER", "MYID")) }
	f.cli(t, "--cluster", "reshard", from, "--cluster-from", id(fleet.Masters[0]), "--cluster-to", id(fleet.Masters[1]), "--cluster-slots", "200", "--cluster-yes")
	awaitRedis(t, "answer after slots moved", func() bool { return readRedis(db, "kept") == nil })
	allWorks(t, o, fleet.Masters)
}

// cli runs redis-cli as an operator would.
func (f *redisFiles) cli(t *testing.T, args ...string) {
	t.Helper()
	if err := f.run(args...); err != nil {
		t.Fatal(err)
	}
}

func (f *redisFiles) run(args ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	pem := f.dir + "/redis.pem"
	way := []string{"--user", "operator", "--pass", "change-me-6", "--no-auth-warning", "--tls", "--cert", pem, "--key", f.dir + "/redis.key", "--cacert", pem}
	if out, err := exec.CommandContext(ctx, "redis-cli", append(way, args...)...).CombinedOutput(); err != nil {
		return fmt.Errorf("redis-cli %v: %w\n%s", args, err, out)
	}
	return nil
}
