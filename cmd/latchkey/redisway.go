package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"latchkey/configs"
)

// The way to Redis is gone step by step before the store is opened: what is wrong with it is then told at its key, with
// the mend, and not as a store that is away. Nothing is written on this way.

// stepLimit is the usual bound of one step: a server that answers later than this is of no use to a sign-in.
const stepLimit = 2 * time.Second

// redisWay is one walk.
type redisWay struct {
	cfg  *configs.Config
	r    configs.Redis
	pass string
	peer string // of the sentinels
	tls  *tls.Config
	at   string        // the server that answered
	step time.Duration // stepLimit

	asked atomic.Bool // the server that is tried took our side of the handshake, and asked for a certificate
}

func newRedisWay(cfg *configs.Config) (*redisWay, error) {
	o, err := redisOptions(cfg)
	if err != nil {
		return nil, err
	}
	w := &redisWay{cfg: cfg, r: cfg.Store.Redis, pass: o.Password.Reveal(), peer: o.SentinelPassword.Reveal(), tls: o.TLS, step: stepLimit}
	w.noteAsked()
	return w, nil
}

// noteAsked keeps that a server asked for our certificate. It is shown the same one as ever.
func (w *redisWay) noteAsked() {
	if w.tls == nil {
		return
	}
	ours := w.tls.Certificates
	w.tls.GetClientCertificate = func(r *tls.CertificateRequestInfo) (*tls.Certificate, error) {
		w.asked.Store(true)
		for i := range ours {
			if r.SupportsCertificate(&ours[i]) == nil {
				return &ours[i], nil
			}
		}
		return new(tls.Certificate), nil // none
	}
}

// wayToRedis answers nil where the configuration leads to a Redis of the mode that it names. One of several addresses
// that answers is enough; when none does, each is told.
func wayToRedis(ctx context.Context, cfg *configs.Config) error {
	w, err := newRedisWay(cfg)
	if err != nil {
		return err
	}
	return w.walk(ctx)
}

func (w *redisWay) walk(ctx context.Context) error {
	var away []error
	for i, address := range w.r.Addresses {
		key := fmt.Sprintf("store.redis.addresses[%d]", i)
		err := w.try(ctx, key, strings.TrimPrefix(address, "unix:"))
		var unreached *unreachedError
		if !errors.As(err, &unreached) {
			return err // well, or a mistake that the other addresses would show again
		}
		away = append(away, w.cfg.At(key, "%v", err))
	}
	return errors.Join(away...)
}

// unreachedError is of a server that may be there later.
type unreachedError struct{ text string }

func (e *unreachedError) Error() string { return e.text }

func (w *redisWay) try(ctx context.Context, key, address string) error {
	if w.r.Mode == configs.Sentinel {
		return w.sentinel(ctx, key, address)
	}
	return w.server(ctx, key, address)
}

// account is whose name and password are shown to a server, and the keys that say so.
type account struct{ user, pass, keys string }

func (w *redisWay) own() account { return account{w.r.User, w.pass, "store.redis."} }

func (w *redisWay) dial(address string, a account, database int) *redis.Client {
	w.asked.Store(false)
	return redis.NewClient(&redis.Options{
		Addr: address, Username: a.user, Password: a.pass, DB: database, TLSConfig: w.tls, Protocol: 2, DisableIdentity: true, MaxRetries: -1, DialerRetries: 1,
		DialTimeout: w.step, ReadTimeout: w.step, WriteTimeout: w.step, PoolSize: 1, ContextTimeoutEnabled: true,
	})
}

// server looks whether a server is what the mode says.
func (w *redisWay) server(ctx context.Context, key, address string) error {
	c := w.dial(address, w.own(), w.r.Database)
	defer c.Close()
	info, err := c.Info(ctx).Result()
	if err != nil {
		return w.explain(ctx, key, address, w.own(), err)
	}
	at := func(text string) bool { return strings.Contains(info, text+"\r\n") }
	switch {
	case at("redis_mode:sentinel"):
		return w.cfg.At("store.redis.mode", "is %s, and %s is a sentinel: set mode sentinel, or name the server", w.r.Mode, address)
	case w.r.Mode == configs.Cluster && !at("redis_mode:cluster"):
		return w.cfg.At("store.redis.mode", "is cluster, and %s is in none (cluster-enabled no): set mode standalone", address)
	case w.r.Mode != configs.Cluster && at("redis_mode:cluster"):
		return w.cfg.At("store.redis.mode", "is %s, and %s is a node of a Cluster: set mode cluster", w.r.Mode, address)
	case w.r.Mode == configs.Standalone && at("role:slave"):
		return w.cfg.At(key, "%s is a replica: name its master, or the sentinels with mode sentinel", address)
	}
	w.at = address
	return nil
}

// sentinel asks one sentinel for the master, and looks at that.
func (w *redisWay) sentinel(ctx context.Context, key, address string) error {
	a := account{w.r.SentinelUser, w.peer, "store.redis.sentinel_"}
	c := w.dial(address, a, 0)
	defer c.Close()
	master, err := c.Do(ctx, "SENTINEL", "get-master-addr-by-name", w.r.MasterName).StringSlice()
	if err == nil {
		err = c.Info(ctx, "replication").Err() // what the store asks of each connection first
	}
	said := ""
	if err != nil {
		said = err.Error()
	}
	switch {
	case errors.Is(err, redis.Nil), err == nil && len(master) != 2:
		return w.cfg.At("store.redis.master_name", "is %q, which the sentinel %s does not know: it is the name behind `sentinel monitor`", w.r.MasterName, address)
	case strings.Contains(said, "unknown command"):
		return w.cfg.At("store.redis.mode", "is sentinel, and %s is none: name the sentinels (port 26379), or set mode standalone", address)
	case err != nil:
		return w.explain(ctx, key, address, a, err)
	}
	return w.server(ctx, key, net.JoinHostPort(master[0], master[1]))
}

// explain finds the key that is to be changed.
func (w *redisWay) explain(ctx context.Context, key, address string, a account, err error) error {
	said := err.Error()
	secretKey := a.keys + "secret_file"
	switch {
	case strings.HasPrefix(said, "WRONGPASS"):
		return w.cfg.At(secretKey, "%s does not know this user with this password: see its ACL (ACL LIST), or requirepass", address)
	case strings.HasPrefix(said, "NOAUTH"):
		return w.cfg.At(secretKey, "is missing: %s asks for a password", address)
	case strings.HasPrefix(said, "NOPERM"):
		return w.cfg.At(a.keys+"user", "may not do at %s what is needed: configs/examples/redis-users.acl has its rights (%s)", address, said)
	case strings.Contains(said, "DB index is out of range"):
		return w.cfg.At("store.redis.database", "is %d, and %s has fewer", w.r.Database, address)
	}
	if err := w.explainTLS(ctx, address, err); err != nil {
		return err
	}
	return &unreachedError{fmt.Sprintf("%s cannot be reached: %s", address, said)}
}

// explainTLS answers nil where TLS is not what is wrong.
func (w *redisWay) explainTLS(ctx context.Context, address string, err error) error {
	const key = "store.redis.tls."
	var authority x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &authority):
		return w.cfg.At(key+"ca_file", "does not hold the authority that signed the certificate of %s", address)
	case errors.As(err, &name):
		return w.cfg.At(key+"server_name", "the certificate of %s is for other names: %v", address, err)
	case errors.As(err, &invalid):
		return w.cfg.At(key+"mode", "the certificate of %s is not valid: %v", address, err)
	case w.asked.Load() && hungUp(err) && w.r.TLS.CertFile == "":
		return w.cfg.At(key+"cert_file", "is missing: %s asks for a certificate (%v)", address, err)
	case w.asked.Load() && hungUp(err):
		return w.cfg.At(key+"cert_file", "%s asks for a certificate and does not take this one: %v", address, err)
	case w.tls != nil && w.speaksClear(ctx, address):
		return w.cfg.At(key+"mode", "is tls, and %s speaks none: name its tls-port, or set mode none where nobody else can listen", address)
	case w.tls == nil && w.speaksTLS(ctx, address):
		return w.cfg.At(key+"mode", "is none, and %s speaks TLS: set mode tls", address)
	}
	return nil
}

// hungUp: the other side ended the connection. Who does not take a certificate says so by an alert, but since TLS 1.3 our
// side is done with the handshake by then (RFC 8446 section 4.4.2.4): what we write meanwhile may be answered by a reset
// that overtakes the alert.
func hungUp(err error) bool {
	for _, end := range []error{io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.EPIPE} {
		if errors.Is(err, end) {
			return true
		}
	}
	return strings.Contains(err.Error(), "remote error: tls")
}

// knock connects and says one thing; it answers what comes back at first.
func (w *redisWay) knock(ctx context.Context, address, words string) string {
	ctx, cancel := context.WithTimeout(ctx, w.step)
	defer cancel()
	network := "tcp"
	if strings.HasPrefix(address, "/") {
		network = "unix"
	}
	c, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err != nil {
		return ""
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(w.step))
	if _, err := c.Write([]byte(words)); err != nil {
		return ""
	}
	answer := make([]byte, 1)
	n, _ := c.Read(answer)
	return string(answer[:n])
}

// speaksClear: Redis answers an inline PING with +PONG, or with an error where it wants a password first.
func (w *redisWay) speaksClear(ctx context.Context, address string) bool {
	answer := w.knock(ctx, address, "PING\r\n")
	return answer == "+" || answer == "-"
}

// speaksTLS: whatever it thinks of us, it thinks it in TLS. Nothing is sent within it.
func (w *redisWay) speaksTLS(ctx context.Context, address string) bool {
	ctx, cancel := context.WithTimeout(ctx, w.step)
	defer cancel()
	d := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}} // asks what is spoken, and trusts nobody
	c, err := d.DialContext(ctx, "tcp", address)
	if err == nil {
		return c.Close() == nil
	}
	var alert tls.AlertError
	return errors.As(err, &alert) || strings.Contains(err.Error(), "remote error: tls")
}
