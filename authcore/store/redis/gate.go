package redis

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

// What the gate asks of a server, and why:
//
//   - appendonly yes, appendfsync always, no-appendfsync-on-rewrite no: Redis then answers a write only after fsync
//     (beforeSleep flushes the file before it sends replies, redis 7.0 server.c). With everysec a second or two may be
//     lost, unless each write waits for the fsync (WAITAOF, 7.2).
//   - maxmemory-policy noeviction: any other one deletes records when memory is short.
//   - replicas above zero where a fail-over may happen, and min-replicas-to-write no lower: only what a replica has
//     acknowledged survives its promotion. A max-lag of 0 switches min-replicas off (redis.conf).
//   - cluster-allow-reads-when-down no: a master that is cut off must not answer with what others have changed since.
//
// The save lines are not asked for: the append-only file is what a durable server starts from.

// ErrLossy: the server may lose a write that it acknowledged; the text says what to set.
var ErrLossy = errors.New("this Redis may lose what it acknowledged")

// oldest is the version that the scripts and the gate are written for; waitAOF the one that knows WAITAOF.
var (
	oldest  = version{7, 0}
	waitAOF = version{7, 2}
)

// gate is what the configuration says of the servers.
type gate struct {
	replicas int    // that acknowledge each write
	failover bool   // another server may be promoted: Sentinel, Cluster
	cluster  bool   // of a Cluster
	user     string // whose rights a hint may name
}

// verdict is what the gate found at one master.
type verdict struct {
	Lossy   []string // each says what to set
	Windows []string // what the settings promise no more, though nothing is wrong with them
	Version string
	WaitAOF bool // the server knows it, so it is used
}

// err joins all that is to be set; nil for a durable server.
func (v verdict) err() error {
	if len(v.Lossy) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %s", ErrLossy, strings.Join(v.Lossy, "; "))
}

// settings that the gate reads, in one CONFIG GET (several at once since 7.0).
var settings = []string{
	"appendonly", "appendfsync", "no-appendfsync-on-rewrite", "maxmemory-policy",
	"min-replicas-to-write", "min-replicas-max-lag", "cluster-allow-reads-when-down",
}

// inspect asks one master. An error says that it could not be asked, not that it is lossy.
func (g gate) inspect(ctx context.Context, c *goredis.Client) (verdict, error) {
	text, err := c.Info(ctx).Result()
	if err != nil {
		return verdict{}, fmt.Errorf("ask Redis how durable it is: %w", unavailable(err))
	}
	info := infoFields(text)
	v := verdict{Version: info["redis_version"]}
	at := parseVersion(v.Version)
	v.WaitAOF = !at.below(waitAOF)
	if at.below(oldest) {
		v.lossy("it is version %s: use 7.0 or later", v.Version)
		return v, nil
	}
	v.replicas(g, info)
	conf, err := configGet(ctx, c)
	switch {
	case isForbidden(err):
		v.unproven(g, info, err)
		return v, nil
	case err != nil:
		return verdict{}, fmt.Errorf("ask Redis how durable it is: %w", unavailable(err))
	}
	v.file(conf)
	v.memory(conf)
	v.acknowledgements(g, conf)
	return v, nil
}

// isForbidden tells a server that never lets us ask, by its ACL or because the command was renamed, from one that cannot
// answer now.
func isForbidden(err error) bool {
	return err != nil && (strings.HasPrefix(err.Error(), "NOPERM") || strings.HasPrefix(err.Error(), "ERR unknown command"))
}

func (v *verdict) lossy(format string, args ...any) {
	v.Lossy = append(v.Lossy, fmt.Sprintf(format, args...))
}

func (v *verdict) file(conf map[string]string) {
	if conf["appendonly"] != "yes" {
		v.lossy("it keeps no append-only file (save lines do not make up for it): set `appendonly yes`")
	}
	switch fsync := conf["appendfsync"]; {
	case fsync == "always", fsync == "everysec" && v.WaitAOF:
	default:
		v.lossy("appendfsync is %q: set `appendfsync always`", fsync)
	}
	if conf["no-appendfsync-on-rewrite"] != "no" {
		v.lossy("it syncs nothing while the file is rewritten: set `no-appendfsync-on-rewrite no`")
	}
}

func (v *verdict) memory(conf map[string]string) {
	if p := conf["maxmemory-policy"]; p != "noeviction" {
		v.lossy("maxmemory-policy %q deletes records when memory is short: set `maxmemory-policy noeviction`", p)
	}
}

func (v *verdict) acknowledgements(g gate, conf map[string]string) {
	if g.cluster && conf["cluster-allow-reads-when-down"] != "no" {
		v.lossy("a master that is cut off answers with what is old: set `cluster-allow-reads-when-down no`")
	}
	if g.replicas == 0 {
		return
	}
	if n, err := strconv.Atoi(conf["min-replicas-to-write"]); err != nil || n < g.replicas {
		v.lossy("min-replicas-to-write is %q and %d replicas shall acknowledge: set `min-replicas-to-write %d`",
			conf["min-replicas-to-write"], g.replicas, g.replicas)
	}
	if lag, err := strconv.Atoi(conf["min-replicas-max-lag"]); err != nil || lag == 0 {
		v.lossy("min-replicas-max-lag %q switches min-replicas-to-write off: set `min-replicas-max-lag 10`", conf["min-replicas-max-lag"])
	}
}

// replicas compares what follows the master with what is configured.
func (v *verdict) replicas(g gate, info map[string]string) {
	connected := online(info)
	switch {
	case g.replicas == 0 && connected > 0:
		v.lossy("%d replicas follow it and none acknowledges, though one may be promoted: set `replicas: %d` of the store", connected, connected)
	case g.replicas == 0 && g.failover:
		v.Windows = append(v.Windows, "no replica is connected, and none would be waited for: set `replicas` of the store before one is added")
	case connected > g.replicas:
		v.Windows = append(v.Windows, fmt.Sprintf(
			"%d replicas follow and %d acknowledge: what those alone have is lost when another one is promoted", connected, g.replicas))
	case connected < g.replicas:
		v.Windows = append(v.Windows, fmt.Sprintf("%d of %d replicas are connected: no write is acknowledged until the others are", connected, g.replicas))
	}
}

// online counts the replicas that could be promoted. One that only fetches a file, as `redis-cli --rdb` does, never is.
func online(info map[string]string) (n int) {
	for name, value := range info {
		if number, is := strings.CutPrefix(name, "slave"); is && strings.Contains(value, "state=online") {
			if _, err := strconv.Atoi(number); err == nil {
				n++
			}
		}
	}
	return n
}

// unproven is for a server that does not let us read its settings. INFO alone can only prove that it is lossy.
func (v *verdict) unproven(g gate, info map[string]string, why error) {
	if info["aof_enabled"] == "0" {
		v.lossy("it keeps no append-only file: set `appendonly yes`")
	}
	user := g.user
	if user == "" {
		user = "default"
	}
	v.lossy("its settings cannot be read (%s): allow it with `ACL SETUSER %s +config|get`", why, user)
}

func configGet(ctx context.Context, c *goredis.Client) (map[string]string, error) {
	args := []any{"CONFIG", "GET"}
	for _, s := range settings {
		args = append(args, s)
	}
	cmd := goredis.NewMapStringStringCmd(ctx, args...)
	if err := c.Process(ctx, cmd); err != nil {
		return nil, err
	}
	return cmd.Val(), nil
}

// infoFields are the lines of an answer to INFO.
func infoFields(text string) map[string]string {
	m := make(map[string]string)
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			m[name] = value
		}
	}
	return m
}

type version struct{ major, minor int }

func (v version) below(o version) bool {
	return v.major < o.major || v.major == o.major && v.minor < o.minor
}

// parseVersion answers zero, which is below all, for what it does not understand.
func parseVersion(text string) version {
	major, rest, _ := strings.Cut(text, ".")
	minor, _, _ := strings.Cut(rest, ".")
	a, errA := strconv.Atoi(major)
	b, errB := strconv.Atoi(minor)
	if errA != nil || errB != nil {
		return version{}
	}
	return version{a, b}
}

// acknowledgement is what stands behind the writes of a pipeline, in the same one and never in a MULTI, where it does
// not wait. It speaks for all that the connection was answered before it, reads too: Redis notes the offset of the
// replication stream after each command (processCommand, redis 7.0 server.c).
type acknowledgement struct {
	replicas int
	aof      bool // WAITAOF, which waits for the fsync of this server and of the replicas
	within   time.Duration
}

// command answers nil when there is nothing to wait for: the answer of a server that syncs always is enough.
func (a acknowledgement) command(ctx context.Context) *goredis.Cmd {
	switch {
	case a.aof:
		return goredis.NewCmd(ctx, "WAITAOF", 1, a.replicas, a.within.Milliseconds())
	case a.replicas > 0:
		return goredis.NewCmd(ctx, "WAIT", a.replicas, a.within.Milliseconds())
	}
	return nil
}

// enough reads the answer of command: nil when all have acknowledged.
func (a acknowledgement) enough(cmd *goredis.Cmd) error {
	if cmd == nil {
		return nil
	}
	if err := cmd.Err(); err != nil {
		return fmt.Errorf("wait for %d replicas: %w", a.replicas, err)
	}
	local, replicas := int64(1), int64(0)
	switch v := cmd.Val().(type) {
	case int64:
		replicas = v
	case []any: // WAITAOF: of this server, of replicas
		local = 0
		if len(v) == 2 {
			local, _ = v[0].(int64)
			replicas, _ = v[1].(int64)
		}
	}
	if local < 1 || replicas < int64(a.replicas) {
		return fmt.Errorf("%d of %d replicas acknowledged within %v, on disk here: %t", replicas, a.replicas, a.within, local > 0)
	}
	return nil
}
