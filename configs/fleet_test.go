package configs

import (
	"os"
	"strings"
	"testing"
)

func readFleet(t *testing.T) (*Config, string) {
	t.Helper()
	p, err := os.ReadFile("fleet.yaml")
	if err != nil {
		t.Fatal(err)
	}
	c, err := Parse("fleet.yaml", []byte(withSecrets(t, string(p))))
	if err != nil {
		t.Fatal(err)
	}
	return c, string(p)
}

// What the file tells an operator of a fleet is so: durable, shared, behind a load balancer, and nothing that differs
// from node to node but what it marks.
func TestFleetConfiguration(t *testing.T) {
	c, text := readFleet(t)
	if !c.Fleet() || c.Store.Redis.AllowLossy || c.Store.Redis.Replicas != 2 || c.Store.Redis.TLS.Mode != "tls" || c.NodeName() != "mx1" {
		t.Errorf("the store is %+v of node %s", c.Store, c.NodeName())
	}
	for _, l := range c.Listeners {
		if len(l.ProxyFrom) == 0 {
			t.Errorf("listener %s does not hear who the client is", l.Name)
		}
	}
	if n := strings.Count(text, "This node's "); n != 3 {
		t.Errorf("%d keys are marked as this node's, want node, data and ops", n)
	}
}

// Which stores can be configured.
func TestStores(t *testing.T) {
	for name, store := range map[string]string{
		"embedded":            `{engine: sqlite}`,
		"left out":            `{}`,
		"one server":          `{engine: redis, redis: {addresses: ["127.0.0.1:6379"], replicas: 0}}`,
		"a socket":            `{engine: redis, redis: {addresses: ["unix:/run/redis/redis.sock"], replicas: 0}}`,
		"elsewhere, clear":    `{engine: redis, redis: {addresses: ["10.0.0.1:6379"], tls: {mode: none}}}`,
		"elsewhere, tls":      `{engine: redis, redis: {addresses: ["redis.example.net:6379"], tls: {mode: tls}}}`,
		"sentinels":           `{engine: redis, redis: {mode: sentinel, master_name: m, addresses: ["[::1]:26379", "localhost:26380"]}}`,
		"a cluster":           `{engine: redis, redis: {mode: cluster, addresses: ["127.0.0.1:7000", "127.0.0.1:7001"], replicas: 2}}`,
		"cached in an outage": `{engine: redis, redis: {addresses: ["127.0.0.1:6379"]}, outage: serve_cached, lease: 5m}`,
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Parse("x.yaml", []byte(whole("node: mx-1.example\nstore: "+store+"\n"))); err != nil {
				t.Error(err)
			}
		})
	}
}

// A node that was not named has its host's name.
func TestNodeName(t *testing.T) {
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	c := Default()
	if c.NodeName() != host {
		t.Errorf("got %q, want %q", c.NodeName(), host)
	}
}
