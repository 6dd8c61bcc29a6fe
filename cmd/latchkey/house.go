package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"latchkey/authcore"
	"latchkey/authcore/notify"
	"latchkey/authcore/oidc"
	"latchkey/authcore/otp"
	"latchkey/authcore/password"
	"latchkey/authcore/quick"
	"latchkey/authcore/resumption"
	"latchkey/authcore/secret"
	"latchkey/authcore/spool"
	"latchkey/configs"
	"latchkey/policy"
	"latchkey/proxy"
	"latchkey/proxy/dav"
	"latchkey/proxy/relay"
	"latchkey/proxy/upstream"
)

// house is everything that one process runs on: main builds it and owns it.
type house struct {
	log      *slog.Logger
	level    *slog.LevelVar
	metrics  *prometheus.Registry
	keys     *secret.Keys
	keysTurn sync.Mutex // of who changes keys: a command, a reload
	signer   *oidc.Signer
	db       engine
	core     *authcore.Core
	spool    *spool.Spool        // nil: sign-ins are refused while the store cannot be reached
	silence  silence             // of the store
	desk     *desk               // the core, until another process has the store
	auth     proxy.Authenticator // the desk, counted
	certs    *proxy.Certificates
	tickets  *resumption.Keys // of TLS sessions
	live     *proxy.Live
	relay    *relay.Relay
	server   *proxy.Server
	door     *dav.Door
	ebb      proxy.Ebb                // of the doors and the API over HTTP
	first    *configs.Config          // of the start
	now      atomic.Pointer[settings] // what a reload changes
	started  time.Time
	draining atomic.Bool             // it is about to end: nobody new should come
	handing  sync.Mutex              // of who takes over
	renewal  renewal                 // by a process of this program
	program  string                  // the file that this process runs
	more     map[string]http.Handler // on the private listener
	web      http.Handler            // the API and the pages, of every listener that serves them
}

// settings is what a reload changes: a snapshot that each connection reads once.
type settings struct {
	cfg       *configs.Config
	pool      *upstream.Pool
	providers []*oidc.Provider
}

func newLog(c configs.Log, w io.Writer, level *slog.LevelVar) *slog.Logger {
	_ = level.UnmarshalText([]byte(c.Level)) // validated
	o := &slog.HandlerOptions{Level: level}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}

// build opens the store and makes everything that serves; close gives it back.
func build(ctx context.Context, cfg *configs.Config, log io.Writer) (*house, error) {
	out, m := waysOutOf(cfg)
	if len(m) > 0 {
		return nil, mistakes(m)
	}
	return buildWith(ctx, cfg, log, out)
}

// buildWith is build with other ways for messages to leave.
func buildWith(ctx context.Context, cfg *configs.Config, log io.Writer, out waysOut) (*house, error) {
	h := &house{level: new(slog.LevelVar), metrics: prometheus.NewRegistry(), started: time.Now()}
	h.log = newLog(cfg.Log, log, h.level)
	h.metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	out.metrics = notify.NewMetrics(h.metrics)
	if err := h.openStore(ctx, cfg, out); err != nil {
		return nil, err
	}
	if err := h.core.Join(ctx, cfg.Keys); err != nil {
		return nil, errors.Join(err, h.db.Close())
	}
	if err := h.buildDoors(cfg); err != nil {
		return nil, errors.Join(err, h.db.Close())
	}
	return h, nil
}

func (h *house) openStore(ctx context.Context, cfg *configs.Config, out waysOut) (err error) {
	if err := notLeftBehind(cfg); err != nil {
		return err
	}
	if h.db, err = h.openEngine(ctx, cfg); err != nil {
		return mendStore(err, cfg)
	}
	if h.keys, err = h.ownKeys(ctx, cfg); err != nil {
		return errors.Join(mendRollback(err, cfg), h.db.Close())
	}
	h.signer = &oidc.Signer{Keys: h.keys, Issuer: cfg.Tokens.Issuer, Now: time.Now}
	party, err := partyOf(cfg)
	if err != nil {
		return errors.Join(err, h.db.Close())
	}
	h.spool = h.newSpool(cfg)
	h.core = authcore.New(authcore.Options{
		Party:   party,
		Records: h.db, Ephemeral: h.db.Ephemeral(), Bus: h.db.Bus(), Node: h.db.NodeID(), Fleet: fleetFor(cfg, out.keep), Keys: h.keys, Log: h.log,
		Cutoff: cfg.Cutoff, Hold: holdOf(cfg), HashSlots: cfg.Limits.HashSlots, PerDoor: cfg.Limits.PerMemberAndDoor, CacheEntries: cfg.Limits.CacheEntries,
		StoreTime: storeTime(cfg), ServeCached: h.spool != nil, Lease: cfg.Store.Lease, Spool: h.spool, Recheck: recheckOf(cfg),
		AuditKeep: time.Duration(cfg.Audit.KeepDays) * 24 * time.Hour,
		Hash:      password.Params{MemoryKiB: uint32(cfg.Limits.HashMemoryKiB), Time: uint32(cfg.Limits.HashTime)},
		Senders:   out.senders, Webhooks: out.webhooks, Messages: out.metrics, KeepOutbox: out.keep,
		Codes: codeLimits(cfg.SignIn.Codes), Region: cfg.SignIn.DefaultCountry,
		Providers:   func() []*oidc.Provider { return h.snapshot().providers },
		UserByID:    func(name string) bool { return h.snapshot().pool.UserByID(name) },
		Passthrough: func(name string) bool { return h.snapshot().pool.Passthrough(name) },
		Upstreams:   func(domain, door string) []string { return allowed(h.snapshot().cfg, domain, door) },
	})
	h.first = cfg
	h.now.Store(&settings{cfg: cfg})
	return nil
}

// ownKeys loads the server keys of the store that was opened, once it is sure that this is the one that is meant.
func (h *house) ownKeys(ctx context.Context, cfg *configs.Config) (*secret.Keys, error) {
	if !cfg.Fleet() {
		return needKeys(ctx, cfg, h.db)
	}
	if err := h.notBesideAnother(ctx, cfg); err != nil {
		return nil, err
	}
	keys, err := needKeys(ctx, cfg, h.db)
	if err == nil {
		err = noteRedis(cfg, h.db.ID())
	}
	return keys, err
}

// partyOf is this installation as a relying party of WebAuthn.
func partyOf(cfg *configs.Config) (*quick.Party, error) {
	w := cfg.Party()
	p, err := quick.NewParty(quick.Settings{ID: w.RPID, Name: w.Name, Origins: w.Origins, AppOrigins: w.AppOrigins})
	if err != nil {
		return nil, cfg.At("webauthn", "%v", err)
	}
	return p, nil
}

func codeLimits(k configs.Codes) otp.Limits {
	return otp.Limits{Source: k.PerSource, Address: k.PerAddress, Prefix: k.PerCountry, All: k.PerChannel}
}

// recheck is how often a node of a fleet looks for revocations of which the bus said nothing: half of the second in which
// they must be found.
const recheck = 500 * time.Millisecond

// recheckOf: a process alone hears every message.
func recheckOf(cfg *configs.Config) time.Duration {
	if cfg.Fleet() {
		return recheck
	}
	return 0
}

// holdOf: a hold of 0s in the file means none.
func holdOf(cfg *configs.Config) time.Duration {
	if cfg.Limits.Hold == 0 {
		return -1
	}
	return cfg.Limits.Hold
}

func (h *house) snapshot() *settings { return h.now.Load() }

// allowed names the upstreams that a domain may be led to at a door, in the order of their names.
func allowed(cfg *configs.Config, domain, door string) []string {
	var names []string
	for name, u := range cfg.Upstreams {
		if u.Protocol == protocolOf(door) && (len(u.Domains) == 0 || slices.Contains(u.Domains, domain)) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func protocolOf(door string) string {
	if door == policy.CalDAV || door == policy.CardDAV {
		return upstream.HTTPProtocol
	}
	return door
}

func (h *house) buildDoors(cfg *configs.Config) (err error) {
	s, err := h.newSettings(cfg)
	if err != nil {
		return err
	}
	h.now.Store(s)
	if h.certs, err = h.loadCertificates(cfg); err != nil {
		return err
	}
	most := cfg.Limits.Connections
	if most == 0 {
		if most, err = proxy.MaxConnections(); err != nil {
			return err
		}
	}
	metrics := proxy.NewMetrics(h.metrics)
	h.certs.CountTickets(metrics)
	h.tickets = resumption.New(resumption.Options{Ephemeral: h.db.Ephemeral(), Keys: h.keys, Use: h.certs.SetTicketKeys, Log: h.log})
	h.desk = &desk{Authenticator: h.core}
	h.auth = metrics.Counting(h.desk)
	h.live = proxy.NewLive()
	h.live.Lease = cfg.Store.Lease
	h.relay = relay.New(relay.Settings{Idle: cfg.Limits.IdleTimeout})
	h.server = proxy.NewServer(proxy.Options{
		Auth: h.auth, Dialer: h, Live: h.live, Relay: h.relay, MaxConnections: most, MaxPerSource: cfg.Limits.PerSource,
		Metrics: metrics, Log: h.log,
	})
	h.door = dav.New(dav.Options{
		Auth: h.auth, Live: h.live, Drain: cfg.Limits.DrainTimeout, Ebb: &h.ebb, Metrics: metrics, Log: h.log,
		Upstream: func(name string) (dav.Upstream, error) { return h.snapshot().pool.HTTP(name) },
	})
	h.countCore()
	h.web = h.apiHandler()
	return nil
}

// Dial reaches an upstream of the settings of now.
func (h *house) Dial(ctx context.Context, u authcore.Upstream, c authcore.ConnInfo) (*proxy.Leg, error) {
	return h.snapshot().pool.Dial(ctx, u, c)
}

func (h *house) loadCertificates(cfg *configs.Config) (*proxy.Certificates, error) {
	var pairs []proxy.KeyPair
	for _, c := range cfg.Certificates {
		pairs = append(pairs, proxy.KeyPair{CertFile: c.CertFile, KeyFile: c.KeyFile})
	}
	certs, warnings, err := proxy.LoadCertificates(pairs)
	for _, w := range warnings {
		h.log.Warn("certificate", "file", w.File, "warning", w.Text)
	}
	return certs, err
}

// newSettings builds what a reload swaps.
func (h *house) newSettings(cfg *configs.Config) (*settings, error) {
	servers, err := servers(cfg)
	if err != nil {
		return nil, err
	}
	pool, err := upstream.New(upstream.Options{Servers: servers, HelloName: cfg.Hostname, Log: h.log,
		Token: func(_ context.Context, c upstream.Claims) (secret.String, error) {
			return h.signer.Token(oidc.Claims{Issuer: c.Issuer, Audience: c.Audience, Subject: c.Subject})
		}})
	if err != nil {
		return nil, fmt.Errorf("upstreams: %w", err)
	}
	l, err := providers(cfg)
	if err != nil {
		return nil, err
	}
	return &settings{cfg: cfg, pool: pool, providers: l}, nil
}

// servers turns the configuration's upstreams into the pool's, in the order of their names.
func servers(cfg *configs.Config) ([]upstream.Server, error) {
	var l []upstream.Server
	for _, name := range slices.Sorted(maps.Keys(cfg.Upstreams)) {
		u := cfg.Upstreams[name]
		sec, err := u.Secret()
		if err != nil {
			return nil, cfg.At("upstreams."+name+".secret_file", "%v", err)
		}
		l = append(l, server(cfg, name, u, sec))
	}
	return l, nil
}

func server(cfg *configs.Config, name string, u configs.Upstream, sec secret.String) upstream.Server {
	return upstream.Server{
		Name: name, Protocol: u.Protocol, Addresses: u.Addresses, SourceAddresses: u.SourceAddresses, Warm: u.Warm, Way: proxy.Way(u.SignIn), Master: u.Master, Secret: sec,
		TLS:    upstream.TLS{Mode: upstream.TLSMode(u.TLS.Mode), CAFile: u.TLS.CAFile, ServerName: u.TLS.ServerName, CertFile: u.TLS.CertFile, KeyFile: u.TLS.KeyFile, Insecure: u.TLS.Insecure},
		Token:  upstream.TokenSettings{Audience: u.Audience, Issuer: cfg.Tokens.Issuer},
		Header: u.Header, BasicUser: u.BasicUser, Facts: upstream.Facts(u.Facts), User: upstream.User(u.User),
		AuthenticatesOnlyDoor: u.AuthenticatesOnlyDoor, ProbeUser: u.ProbeUser,
	}
}

// countCore shows the core's figures among the metrics.
func (h *house) countCore() {
	gauge := func(name, help string, f func(authcore.Stats) float64) {
		h.metrics.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "latchkey", Name: name, Help: help},
			func() float64 { return f(h.core.Stats()) }))
	}
	counter := func(name, help string, f func(authcore.Stats) float64) {
		h.metrics.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Namespace: "latchkey", Name: name, Help: help},
			func() float64 { return f(h.core.Stats()) }))
	}
	counter("record_cache_hits", "Decoded records answered from memory.", func(s authcore.Stats) float64 { return float64(s.CacheHits) })
	counter("record_cache_misses", "Records that were read and decoded.", func(s authcore.Stats) float64 { return float64(s.CacheMisses) })
	gauge("revocation_recheck_seconds", "Of a fleet: how long ago the revocations of a domain in use here were read, of the one that waits longest.",
		func(s authcore.Stats) float64 { return s.RecheckAge.Seconds() })
	gauge("revocation_recheck_late", "Of a fleet: domains whose revocations could not be read in time; the lease of their sessions runs.",
		func(s authcore.Stats) float64 { return float64(s.RecheckLate) })
	gauge("password_hashes", "Slow hashes computed.", func(s authcore.Stats) float64 { return float64(s.Hashes) })
	gauge("hash_slots_taken", "Slots for slow hashes in use.", func(s authcore.Stats) float64 { return float64(s.HashSlotsTaken) })
	gauge("hash_slots_waiting", "Attempts that wait for a slot.", func(s authcore.Stats) float64 { return float64(s.HashSlotsWaiting) })
	counter("tls_ticket_keys_refused_total", "Looks at a key of TLS session tickets in the store that could not be opened: nodes with other server keys, or somebody else's writing.",
		func(authcore.Stats) float64 { return float64(h.tickets.Refused()) })
	counter("tls_ticket_keys_unread_total", "Looks at a key of TLS session tickets in the store that failed.",
		func(authcore.Stats) float64 { return float64(h.tickets.Failed()) })
	h.countSpool()
	h.countStore()
	h.metrics.MustRegister(addressesUp{h})
	gauge("door_sessions", "Live sessions at the doors.", func(s authcore.Stats) float64 { return float64(s.DoorSessions) })
}
