package configs

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"latchkey/authcore/secret"
)

// Store says where the records lie: in the folder data, or in Redis, which several nodes share.
type Store struct {
	Engine string        `yaml:"engine"` // sqlite, redis
	Redis  Redis         `yaml:"redis"`
	Outage string        `yaml:"outage"` // refuse, serve_cached
	Lease  time.Duration `yaml:"lease"`
}

// Redis is how the fleet's store is reached.
type Redis struct {
	Mode               string   `yaml:"mode"` // standalone, sentinel, cluster
	Addresses          []string `yaml:"addresses"`
	MasterName         string   `yaml:"master_name"`
	User               string   `yaml:"user"`
	SecretFile         string   `yaml:"secret_file"`
	SentinelUser       string   `yaml:"sentinel_user"`
	SentinelSecretFile string   `yaml:"sentinel_secret_file"`
	TLS                StoreTLS `yaml:"tls"`
	Database           int      `yaml:"database"`
	Prefix             string   `yaml:"prefix"`
	Replicas           int      `yaml:"replicas"`
	AllowLossy         bool     `yaml:"allow_lossy"`
}

// StoreTLS says how the way to Redis is protected. There is no mode that verifies nothing.
type StoreTLS struct {
	Mode       string `yaml:"mode"` // tls, none
	CAFile     string `yaml:"ca_file"`
	ServerName string `yaml:"server_name"`
	CertFile   string `yaml:"cert_file"`
	KeyFile    string `yaml:"key_file"`
}

// The engines of the store.
const (
	SQLite      = "sqlite"
	RedisEngine = "redis"
)

// How Redis is run.
const (
	Standalone = "standalone"
	Sentinel   = "sentinel"
	Cluster    = "cluster"
)

// What a node does while the store cannot be reached.
const (
	Refuse      = "refuse"
	ServeCached = "serve_cached"
)

// Fleet says that several nodes may share the store.
func (c *Config) Fleet() bool { return c.Store.Engine == RedisEngine }

// NodeName is the configured name, or the host's.
func (c *Config) NodeName() string {
	if c.Node != "" {
		return c.Node
	}
	name, err := os.Hostname()
	if err != nil {
		return "node"
	}
	return name
}

// Secret reads the password of Redis.
func (r Redis) Secret() (secret.String, error) { return ReadSecret(r.SecretFile) }

// SentinelSecret reads the password of the sentinels.
func (r Redis) SentinelSecret() (secret.String, error) { return ReadSecret(r.SentinelSecretFile) }

// unixPrefix stands before the path of a socket.
const unixPrefix = "unix:"

// Here says that every address is on this host.
func (r Redis) Here() bool {
	for _, a := range r.Addresses {
		if !here(a) {
			return false
		}
	}
	return true
}

func here(address string) bool {
	if strings.HasPrefix(address, unixPrefix) {
		return true
	}
	host, _, err := net.SplitHostPort(address)
	ip, ipErr := netip.ParseAddr(host)
	return err == nil && (host == "localhost" || ipErr == nil && ip.IsLoopback())
}

// inPublic says that an address is one of the Internet, as far as it tells without a look-up.
func inPublic(address string) bool {
	host, _, _ := net.SplitHostPort(address)
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsGlobalUnicast() && !ip.IsPrivate()
}

var (
	// nodeName goes into lists, logs and metrics.
	nodeName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)
	// storePrefix has no brace, which would move every key to another slot of a cluster, and no colon, which ends it.
	storePrefix = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,31}$`)
)

const (
	maxStoreAddresses = 64    // a cluster tells its other nodes itself
	maxReplicas       = 8     // of one shard: each one's acknowledgement is waited for
	maxDatabase       = 16383 // `databases` of redis.conf is 16 unless somebody raised it
)

func (c *Config) validateStore(bad badFunc) {
	if c.Node != "" && !nodeName.MatchString(c.Node) {
		bad("node", "must be a name of letters, digits, . _ and -, at most 63, is %q", c.Node)
	}
	oneOf(bad, "store.engine", c.Store.Engine, SQLite, RedisEngine)
	oneOf(bad, "store.outage", c.Store.Outage, Refuse, ServeCached)
	// Under 5 s one slow election of Sentinel would cut every session; over 5 min a member who was suspended would be
	// kept in for longer than anybody would guess.
	if l := c.Store.Lease; l < 5*time.Second || l > 5*time.Minute {
		bad("store.lease", "must be 5s to 5m, is %v", l)
	}
	if !c.Fleet() && c.Store.Outage == ServeCached {
		bad("store.outage", "is for engine redis: an embedded store is never away")
	}
	if _, named := c.lines["store.redis"]; named || c.Fleet() {
		c.Store.Redis.validate(bad)
	}
}

func (r Redis) validate(bad badFunc) {
	oneOf(bad, "store.redis.mode", r.Mode, Standalone, Sentinel, Cluster)
	r.validateAddresses(bad)
	r.validateMode(bad)
	r.validateSecrets(bad)
	r.validateTLS(bad)
	if !storePrefix.MatchString(r.Prefix) {
		bad("store.redis.prefix", "must be small letters, digits, _ and -, at most 32, is %q", r.Prefix)
	}
	if r.Replicas < 0 || r.Replicas > maxReplicas {
		bad("store.redis.replicas", "must be 0 to %d, is %d: how many replicas each shard has, for every write waits for them", maxReplicas, r.Replicas)
	}
}

func (r Redis) validateAddresses(bad badFunc) {
	const key = "store.redis.addresses"
	switch n := len(r.Addresses); {
	case n == 0:
		bad(key, "is missing: host:port of the server, of the sentinels, or of some nodes of the cluster")
	case n > maxStoreAddresses:
		bad(key, "are %d: %d at most", n, maxStoreAddresses)
	case n > 1 && r.Mode == Standalone:
		bad(key, "are %d: standalone has one server; several are sentinel or cluster", n)
	}
	seen := map[string]bool{}
	for i, a := range r.Addresses {
		at := fmt.Sprintf("%s[%d]", key, i)
		path, socket := strings.CutPrefix(a, unixPrefix)
		host, _, _ := net.SplitHostPort(a)
		switch port, err := portOf(a); {
		case seen[a]:
			bad(at, "stands twice")
		case socket && !filepath.IsAbs(path):
			bad(at, "must be unix: and an absolute path, is %q", a)
		case socket && r.Mode != Standalone:
			bad(at, "is a socket of this host: sentinels and clusters name their servers by host and port")
		case !socket && (err != nil || port == 0 || host == ""):
			bad(at, "must be host:port or unix:/path, is %q", a)
		}
		seen[a] = true
	}
}

// validateMode holds the keys that are one mode's alone to it.
func (r Redis) validateMode(bad badFunc) {
	if r.Mode == Sentinel && r.MasterName == "" {
		bad("store.redis.master_name", "is missing: the name behind `sentinel monitor` in sentinel.conf")
	}
	if r.Mode == Cluster && r.Database != 0 {
		bad("store.redis.database", "must be 0 for a cluster, is %d", r.Database)
	}
	if r.Database < 0 || r.Database > maxDatabase {
		bad("store.redis.database", "must be 0 to %d, is %d", maxDatabase, r.Database)
	}
	for key, value := range map[string]string{"master_name": r.MasterName, "sentinel_user": r.SentinelUser, "sentinel_secret_file": r.SentinelSecretFile} {
		if value != "" && r.Mode != Sentinel {
			bad("store.redis."+key, "is for mode sentinel alone")
		}
	}
}

func (r Redis) validateSecrets(bad badFunc) {
	for key, l := range map[string]struct{ user, file string }{
		"": {r.User, r.SecretFile}, "sentinel_": {r.SentinelUser, r.SentinelSecretFile},
	} {
		at := "store.redis." + key + "secret_file"
		switch _, err := ReadSecret(l.file); {
		case l.file == "" && l.user != "":
			bad(at, "is missing: the file with the password of %q", l.user)
		case l.file != "" && !filepath.IsAbs(l.file):
			absolute(bad, at, l.file)
		case err != nil:
			bad(at, "%v", err)
		}
	}
}

// validateTLS lets the clear way be chosen, never happen: who reads it has the fleet's records, who writes to it is
// every member.
func (r Redis) validateTLS(bad badFunc) {
	t := r.TLS
	const key = "store.redis.tls"
	switch {
	case t.Mode != "" && t.Mode != "none" && t.Mode != "tls":
		oneOf(bad, key+".mode", t.Mode, "tls", "none")
	case t.Mode == "" && !r.Here():
		bad(key+".mode", "is missing: tls, or none in a network where nobody else can listen")
	}
	for i, a := range r.Addresses {
		if t.Mode == "none" && inPublic(a) {
			bad(key+".mode", "is none, and store.redis.addresses[%d] is in the Internet: use tls", i)
			break
		}
	}
	for name, file := range map[string]string{"ca_file": t.CAFile, "cert_file": t.CertFile, "key_file": t.KeyFile} {
		if file != "" {
			absolute(bad, key+"."+name, file)
		}
	}
	if t.Mode != "tls" && (t.CAFile != "" || t.ServerName != "" || t.CertFile != "" || t.KeyFile != "") {
		bad(key, "has ca_file, server_name, cert_file or key_file, which go with mode tls")
	}
	if (t.CertFile == "") != (t.KeyFile == "") {
		bad(key, "needs both cert_file and key_file, or none")
	}
}
