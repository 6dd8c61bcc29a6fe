// Package authcore is the one place that decides who may come in: at a door (Authenticate), on the web and over the API.
// It refuses to let anyone else see a hash, a counter or a policy: doors map a Reason to a reply, the API maps it to a
// problem. Denied is a value (Decision), broken is an error, and the zero value of everything refuses.
package authcore

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"latchkey/authcore/audit"
	"latchkey/authcore/lockout"
	"latchkey/authcore/member"
	"latchkey/authcore/notify"
	"latchkey/authcore/oidc"
	"latchkey/authcore/otp"
	"latchkey/authcore/password"
	"latchkey/authcore/quick"
	"latchkey/authcore/secret"
	"latchkey/authcore/session"
	"latchkey/authcore/spool"
	"latchkey/authcore/store"
	"latchkey/authcore/store/cache"
	"latchkey/policy"
)

// Options are what main gives to a Core.
type Options struct {
	Records   store.Records
	Ephemeral store.Ephemeral
	Bus       store.Bus
	Keys      *secret.Keys
	Log       *slog.Logger     // nil: nothing is logged
	Now       func() time.Time // nil: time.Now
	Node      string           // name of this process among those that share the records; empty: random
	Fleet     *Fleet           // nil: it shares them with nobody

	Cutoff       time.Time       // domains created at or after it are born with app passwords required; zero: policy.Cutoff
	Hold         time.Duration   // a refusal leaves at start + Hold at least; zero: DefaultHold, negative: none (tests)
	Hash         password.Params // of new account passwords
	HashSlots    int             // 0: one a processor but one, which is left for everybody else
	PerDoor      int             // sessions of one member at one door; 0: session.DefaultPerDoor
	CacheEntries int             // decoded records kept; 0: cache.DefaultEntries
	Recheck      time.Duration   // how often the net under the bus looks for revocations; 0: never, for a process alone
	AuditKeep    time.Duration   // of entries from now on; 0: audit.Keep
	ServeCached  bool            // while the records cannot be reached, sign-ins go on for the Lease by what this node holds (outage.go)
	Lease        time.Duration   // 0: DefaultLease
	Spool        *spool.Spool    // where they are audited meanwhile; nil: ServeCached does nothing
	StoreTime    time.Duration   // what one attempt may ask of the store in all; 0: no bound but that of each step (an embedded store)

	Senders    map[notify.Channel]notify.Sender // ways out of the house; a channel without one is not offered
	Webhooks   []notify.Webhook                 // what those among the senders want; notify.MaxWebhooks at most
	Messages   *notify.Metrics                  // counts what leaves; nil: nothing is counted
	KeepOutbox bool                             // Run sends nothing and announces nothing: for tests that count, and commands
	Codes      otp.Limits                       // on the one-time codes that leave it in an hour
	Region     string                           // of mobile numbers typed without "+", like JP; empty: they need it

	// Party is this installation as a relying party of WebAuthn; nil: neither quick login nor passkeys are offered.
	Party *quick.Party

	Providers func() []*oidc.Provider // that members may sign in with, as the configuration orders them; nil: none

	// UserByID says of an upstream, by name, that it knows members by their ids and not by their primary addresses.
	UserByID func(upstream string) bool
	// Passthrough says of an upstream, by name, that it wants the client's own account password.
	Passthrough func(upstream string) bool
	// Upstreams says which upstreams, by door, the configuration allows to a domain; nil: none is known, none is refused.
	Upstreams func(domain, door string) []string
}

// DefaultLease is how long a node goes on by what it holds of records that it cannot reach.
const DefaultLease = 30 * time.Second

// DefaultHold is the first step of the growing delay of refusals.
const DefaultHold = 2 * time.Second

// Core decides. It is safe for concurrent use; Run must run beside it.
type Core struct {
	o          Options
	log        *slog.Logger
	now        func() time.Time
	records    *cache.Cache
	dir        *member.Directory
	claims     *member.Claims
	hasher     *password.Hasher
	crowd      crowd
	outage     outage
	allows     allows
	leases     *lockout.Leases
	throttle   *lockout.Throttle
	asks       *lockout.Asks
	codes      *otp.Codes
	doors      *session.Doors
	merger     *audit.Merger
	verdicts   *verdicts
	lastUse    *lastUse
	newClients *newClients
	rekeys     rekeys
	madeRooms  chan session.Door
	fleet      *fleet            // nil: no other process shares the records
	soon       store.SoonRemover // nil: seats are waited for until they are given back
	started    time.Time
	webUse     webUse

	recheckAge, recheckLate atomic.Int64

	codeThrottle *otp.Throttle
}

// New makes a Core over what main has opened.
func New(o Options) *Core {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Node == "" {
		o.Node = rand.Text()
	}
	if o.Cutoff.IsZero() {
		o.Cutoff = policy.Cutoff()
	}
	if o.Hold == 0 {
		o.Hold = DefaultHold
	}
	if o.Lease == 0 {
		o.Lease = DefaultLease
	}
	if o.AuditKeep > 0 && o.AuditKeep != audit.Keep {
		o.Records = audit.Kept{Records: o.Records, For: o.AuditKeep}
	}
	if o.StoreTime > 0 {
		o.Records, o.Ephemeral, o.Bus = rationed{o.Records}, rationedEphemeral{o.Ephemeral}, rationedBus{o.Bus}
	}
	c := &Core{o: o, log: o.Log, now: o.Now, records: newCache(o)}
	c.dir = &member.Directory{Cache: c.records, Keys: o.Keys}
	c.claims = &member.Claims{Records: o.Records, Now: o.Now, Names: c.names}
	c.hasher = password.NewHasher(o.Hash, o.HashSlots)
	c.leases = &lockout.Leases{Records: o.Records, Now: o.Now}
	c.soon = soonRemover(o.Ephemeral)
	c.throttle = &lockout.Throttle{Ephemeral: o.Ephemeral, Hold: max(0, o.Hold)}
	c.asks = &lockout.Asks{Ephemeral: o.Ephemeral}
	c.codes = &otp.Codes{Ephemeral: o.Ephemeral, Keys: o.Keys, Now: o.Now}
	c.codeThrottle = &otp.Throttle{Ephemeral: o.Ephemeral, Now: o.Now, Limits: o.Codes}
	c.merger = &audit.Merger{Records: o.Records}
	c.verdicts = newVerdicts(o.Now)
	c.lastUse = newLastUse()
	c.newClients = newNewClients()
	c.madeRooms = make(chan session.Door, 1024)
	c.started = o.Now().UTC()
	c.fleet = newFleet(o.Fleet, o.Node, o.Now())
	if c.told() {
		c.throttle.Notes = &lockout.Notes{Bus: o.Bus, Now: o.Now}
	}
	c.doors = session.NewDoors(o.PerDoor, o.Now, c.madeRoom)
	return c
}

func newCache(o Options) *cache.Cache {
	k := cache.Options{Node: o.Node, Entries: o.CacheEntries, Kept: Cached}
	if o.Recheck > 0 {
		k.MaxAge = cacheAge
	}
	if o.ServeCached {
		k.Lease = o.Lease
	}
	return cache.New(o.Records, o.Bus, k)
}

// Run does what goes on beside the attempts, until ctx ends: it follows the bus, writes last uses, sends messages. What is still to be
// written is written before it returns.
func (c *Core) Run(ctx context.Context) error {
	done := make(chan error, 1)
	go func() { done <- c.records.Run(ctx) }()
	var beside sync.WaitGroup
	beside.Go(func() { c.deliver(ctx) })
	beside.Go(func() { c.attendOutage(ctx) })
	beside.Go(func() { c.runFleet(ctx) })
	if c.throttle.Notes != nil {
		beside.Go(func() { c.throttle.Notes.Run(ctx) })
	}
	c.writeUses(ctx)
	beside.Wait()
	c.merger.Wait()
	c.allows.wait()
	if err := <-done; ctx.Err() == nil {
		return err
	}
	return nil
}

// Cutoff is the instant from which domains are born with app passwords required.
func (c *Core) Cutoff() time.Time { return c.o.Cutoff }

// Now is the time by which Core decides.
func (c *Core) Now() time.Time { return c.now() }

// Keys tells of the server keys what may be told.
func (c *Core) Keys() []secret.KeyInfo { return c.o.Keys.List(c.now()) }

// Stats are figures for the metrics.
type Stats struct {
	CacheHits, CacheMisses, Hashes, DoorSessions int64
	HashSlotsTaken, HashSlotsWaiting             int
	RecheckAge                                   time.Duration // of the oldest re-read for revocations, among the domains in use here
	RecheckLate                                  int           // domains whose re-read is overdue: their sessions' lease runs
}

// Stats answers the figures of now.
func (c *Core) Stats() Stats {
	h, m := c.records.Counts()
	taken, waiting := c.hasher.InUse()
	return Stats{CacheHits: h, CacheMisses: m, Hashes: c.hasher.Hashes(), DoorSessions: int64(c.doors.Len()), HashSlotsTaken: taken, HashSlotsWaiting: waiting,
		RecheckAge: time.Duration(c.recheckAge.Load()), RecheckLate: int(c.recheckLate.Load())}
}

// apply writes a batch of a domain.
func (c *Core) apply(ctx context.Context, d member.DomainID, ops ...store.Op) error {
	_, err := c.records.Apply(ctx, member.Partition(d), ops...)
	if err == nil {
		c.hint(ctx, d, ops)
	}
	return err
}

// print fingerprints a name or a secret for one purpose.
func (c *Core) print(purpose string, parts ...string) string {
	return c.o.Keys.Fingerprint(purpose, parts...)
}

// broken wraps what failed; nothing of it reaches a client.
func broken(doing string, err error) error { return fmt.Errorf("%s: %w", doing, err) }
