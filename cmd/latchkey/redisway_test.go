package main

import (
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"latchkey/authcore/store/redistest"
	"latchkey/configs"
)

// storeConfig is a whole configuration with this store, as a file.
func storeConfig(t *testing.T, store string) *configs.Config {
	t.Helper()
	dir := t.TempDir()
	if err := demoCertificate(dir); err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("data: %s/data\nkeys: %s/keys.json\nhostname: localhost\ncertificates: [{cert_file: %s/server.pem, key_file: %s/server.key}]\n"+
		"listeners: [{name: api, protocol: api, address: '127.0.0.1:0'}]\nstore:\n  engine: redis\n  redis: {%s}\n", dir, dir, dir, dir, strings.ReplaceAll(store, "DIR", dir))
	file := filepath.Join(dir, "latchkey.yaml")
	for name, content := range map[string]string{"latchkey.yaml": text, "right": "right\n", "wrong": "wrong-password\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cfg, err := configs.Load(file)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return cfg
}

// walkPatiently is wayToRedis for a machine that stands still now and then.
func walkPatiently(t *testing.T, cfg *configs.Config) error {
	t.Helper()
	w, err := newRedisWay(cfg)
	if err != nil {
		t.Fatal(err)
	}
	w.step = 10 * time.Second // who speaks no TLS is waited for as long
	return w.walk(t.Context())
}

// tlsConf are the lines of redis.conf for a port with TLS beside the plain one, and that port's address.
func tlsConf(t *testing.T, more ...string) (conf []string, address string) {
	t.Helper()
	dir := t.TempDir()
	if err := demoCertificate(dir); err != nil {
		t.Fatal(err)
	}
	address = unusedAddress(t, "127.0.0.1")
	_, port, _ := net.SplitHostPort(address)
	conf = append(conf, "tls-port "+port, "tls-cert-file "+dir+"/server.pem", "tls-key-file "+dir+"/server.key", "tls-ca-cert-file "+dir+"/ca.pem", "tls-auth-clients no")
	return append(conf, more...), address
}

func caOf(conf []string) string {
	for _, line := range conf {
		if file, ok := strings.CutPrefix(line, "tls-ca-cert-file "); ok {
			return file
		}
	}
	return ""
}

// A server that refuses our certificate, or that we have none, says so by an alert; but it may close first, and what we
// write meanwhile is answered by a reset. Since TLS 1.3 that is after our side has done its handshake (RFC 8446 section
// 4.4.2.4). The sentence is the same.
func TestWayToRedisThatResets(t *testing.T) {
	for name, c := range map[string]struct {
		asks tls.ClientAuthType
		ours string // more of store.redis.tls
		end  func(c *net.TCPConn)
		says string
	}{
		"none of ours and a reset":   {tls.RequestClientCert, "", reset, "store.redis.tls.cert_file: is missing: ADDR asks for a certificate"},
		"none of ours and an end":    {tls.RequestClientCert, "", nil, "store.redis.tls.cert_file: is missing: ADDR asks for a certificate"},
		"ours and a reset":           {tls.RequestClientCert, "cert_file: DIR/server.pem, key_file: DIR/server.key", reset, "store.redis.tls.cert_file: ADDR asks for a certificate and does not take this one"},
		"none asked for and a reset": {tls.NoClientCert, "", reset, "store.redis.addresses[0]: ADDR cannot be reached: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addr, ca := strictServer(t, c.asks, c.end)
			cfg := storeConfig(t, "addresses: ['"+addr+"'], tls: {mode: tls, ca_file: "+ca+", "+c.ours+"}")
			err := walkPatiently(t, cfg)
			if want := strings.ReplaceAll(c.says, "ADDR", addr); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v\nwant %s", err, want)
			}
		})
	}
}

func reset(c *net.TCPConn) { _ = c.SetLinger(0) }

// strictServer does the handshake, reads a little, and closes without a word.
func strictServer(t *testing.T, asks tls.ClientAuthType, end func(*net.TCPConn)) (addr, ca string) {
	t.Helper()
	dir := t.TempDir()
	if err := demoCertificate(dir); err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(dir+"/server.pem", dir+"/server.key")
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for c, err := ln.Accept(); err == nil; c, err = ln.Accept() {
			_ = c.SetDeadline(time.Now().Add(patience))
			if s := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: asks}); s.Handshake() == nil {
				_, _ = s.Read(make([]byte, 1))
			}
			if end != nil {
				end(c.(*net.TCPConn))
			}
			_ = c.Close()
		}
	}()
	t.Cleanup(func() { _ = ln.Close(); <-done })
	return ln.Addr().String(), dir + "/ca.pem"
}

// A way that leads nowhere is told at its key, with the mend; nothing of a password is.
func TestPeersWayToRedis(t *testing.T) {
	t.Parallel()
	conf, secure := tlsConf(t)
	open := redistest.Standalone(t, conf...)
	strictConf, strict := tlsConf(t, "tls-auth-clients yes")
	redistest.Standalone(t, strictConf...)
	closed := redistest.Standalone(t, "user mx on >right ~* &* +@all", "user poor on >right ~* &* -@all +ping")
	closed.Must(t, "ACL", "SETUSER", "default", "off")
	master, replicas := redistest.Replicated(t, 1)
	fleet := redistest.Sentinel(t)
	sentinel := fleet.Sentinels[0].Addr
	cluster := redistest.Cluster(t)
	strictSentinel := redistest.SentinelWith(t, redistest.Options{Sentinels: 1, Sentinel: []string{
		"user right on >right allchannels -@all +auth +hello +ping +info +subscribe +sentinel|get-master-addr-by-name +sentinel|sentinels",
		"user poor on >right allchannels -@all +auth +hello +ping +subscribe +sentinel|get-master-addr-by-name +sentinel|sentinels",
	}}).Sentinels[0].Addr
	gone := "127.0.0.1:1"
	for name, c := range map[string]struct{ store, says string }{
		"well":                        {"addresses: ['" + open.Addr + "']", ""},
		"well with tls":               {"addresses: ['" + secure + "'], tls: {mode: tls, ca_file: " + caOf(conf) + "}", ""},
		"well with a password":        {"addresses: ['" + closed.Addr + "'], user: mx, secret_file: DIR/right", ""},
		"well by sentinel":            {"mode: sentinel, master_name: latchkey, addresses: ['" + gone + "', '" + sentinel + "']", ""},
		"well at a cluster":           {"mode: cluster, addresses: ['" + gone + "', '" + cluster.Masters[0].Addr + "']", ""},
		"nobody there":                {"addresses: ['" + gone + "']", "store.redis.addresses[0]: " + gone + " cannot be reached: dial tcp"},
		"well with a sentinel's user": {"mode: sentinel, master_name: latchkey, addresses: ['" + strictSentinel + "'], sentinel_user: right, sentinel_secret_file: DIR/right", ""},
		"no right to ask a sentinel what it is": {"mode: sentinel, master_name: latchkey, addresses: ['" + strictSentinel + "'], sentinel_user: poor, sentinel_secret_file: DIR/right",
			"store.redis.sentinel_user: may not do at " + strictSentinel},
		"no sentinel there":     {"mode: sentinel, master_name: latchkey, addresses: ['" + gone + "', '127.0.0.1:2']", "store.redis.addresses[1]: 127.0.0.1:2 cannot be reached"},
		"wrong password":        {"addresses: ['" + closed.Addr + "'], user: mx, secret_file: DIR/wrong", "store.redis.secret_file: " + closed.Addr + " does not know this user with this password"},
		"no password":           {"addresses: ['" + closed.Addr + "']", "store.redis.secret_file: is missing: " + closed.Addr + " asks for a password"},
		"no rights":             {"addresses: ['" + closed.Addr + "'], user: poor, secret_file: DIR/right", "store.redis.user: may not do at " + closed.Addr},
		"a database too many":   {"addresses: ['" + open.Addr + "'], database: 99", "store.redis.database: is 99"},
		"tls to a plain server": {"addresses: ['" + open.Addr + "'], tls: {mode: tls}", "store.redis.tls.mode: is tls, and " + open.Addr + " speaks none"},
		"plain to a tls server": {"addresses: ['" + secure + "']", "store.redis.tls.mode: is none, and " + secure + " speaks TLS"},
		"another authority":     {"addresses: ['" + secure + "'], tls: {mode: tls, ca_file: DIR/ca.pem}", "store.redis.tls.ca_file: does not hold the authority"},
		"another name":          {"addresses: ['" + secure + "'], tls: {mode: tls, server_name: redis.example, ca_file: " + caOf(conf) + "}", "store.redis.tls.server_name: the certificate"},
		"no certificate of ours": {"addresses: ['" + strict + "'], tls: {mode: tls, ca_file: " + caOf(strictConf) + "}",
			"store.redis.tls.cert_file: is missing: " + strict + " asks for a certificate"},
		"a certificate of others": {"addresses: ['" + strict + "'], tls: {mode: tls, ca_file: " + caOf(strictConf) + ", cert_file: DIR/server.pem, key_file: DIR/server.key}",
			"store.redis.tls.cert_file: " + strict + " asks for a certificate and does not take this one"},
		"a cluster as standalone":  {"addresses: ['" + cluster.Masters[0].Addr + "']", "store.redis.mode: is standalone, and " + cluster.Masters[0].Addr + " is a node of a Cluster"},
		"standalone as a cluster":  {"mode: cluster, addresses: ['" + open.Addr + "']", "store.redis.mode: is cluster, and " + open.Addr + " is in none"},
		"a sentinel as standalone": {"addresses: ['" + sentinel + "']", "store.redis.mode: is standalone, and " + sentinel + " is a sentinel"},
		"a server as sentinel":     {"mode: sentinel, master_name: latchkey, addresses: ['" + open.Addr + "']", "store.redis.mode: is sentinel, and " + open.Addr + " is none"},
		"another master":           {"mode: sentinel, master_name: mymaster, addresses: ['" + sentinel + "']", `store.redis.master_name: is "mymaster", which the sentinel ` + sentinel + " does not know"},
		"a replica":                {"addresses: ['" + replicas[0].Addr + "']", "store.redis.addresses[0]: " + replicas[0].Addr + " is a replica"},
		"its master":               {"addresses: ['" + master.Addr + "']", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := storeConfig(t, c.store)
			err := walkPatiently(t, cfg)
			if c.says == "" {
				if err != nil {
					t.Errorf("got %v, want a way", err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), cfg.Path()+":8: ") {
				t.Errorf("got %v\nwant line 8: %s", err, c.says)
			}
			if err != nil && strings.Contains(err.Error(), "wrong-password") {
				t.Errorf("the password is told: %v", err)
			}
		})
	}
}
