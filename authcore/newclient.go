package authcore

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"time"

	"latchkey/authcore/member"
	"latchkey/authcore/notify"
	"latchkey/authcore/store"
)

// The first sign-in at a door with a credential from a network tells the member: it may not have been his. It is found out
// beside the attempts, never on their path; a crash loses nothing, for the next sign-in is looked at again.

// knownClients is what a member signed in with before: fingerprints of credential, door and network.
type knownClients struct {
	Clients []knownClient `json:"clients"` // the last seen last
	Told    []time.Time   `json:"told"`    // within the last day
}

type knownClient struct {
	Print string    `json:"print"`
	At    time.Time `json:"at"` // to the week
}

const (
	maxKnownClients = 200 // of a member; the one that was not seen for longest is forgotten
	maxToldClients  = 5   // messages to a member a day, and so in one batch
	clientSeenEvery = 7 * 24 * time.Hour
	keepClients     = 180 * 24 * time.Hour // after the last sign-in that changed the list
	maxNewClients   = 10_000               // that wait to be looked at; the rest waits for its next sign-in
	maxSeenClients  = 100_000              // in the memory of the process, about 10 MiB; then it begins anew
)

func clientsKey(d member.DomainID, id member.ID) store.Key {
	return store.Key{Partition: member.Partition(d), Name: "clients/" + string(id)}
}

// client is one sign-in at a door, as it is told.
type client struct {
	domain     member.DomainID
	member     member.ID
	credential string
	door       string
	network    netip.Prefix
}

type clientAt struct {
	at   time.Time
	from string
	name string
}

// newClient is one that waits to be looked at.
type newClient struct {
	client
	clientAt
}

// clientsOwner is whose clients they are.
type clientsOwner struct {
	domain member.DomainID
	member member.ID
}

// newClients gathers sign-ins that this process has not seen before.
type newClients struct {
	mu      sync.Mutex
	seen    map[client]time.Time // guarded by mu
	pending map[client]clientAt  // guarded by mu
}

func newNewClients() *newClients {
	return &newClients{seen: map[client]time.Time{}, pending: map[client]clientAt{}}
}

// networkOf is what a client may move about in and still be the same: a /24 of IPv4, a /64 of IPv6.
func networkOf(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := 64
	if a.Is4() {
		bits = 24
	}
	p, _ := a.Prefix(bits) // of no address it is none
	return p
}

func (n *newClients) mark(t *trial, d Decision, now time.Time) {
	addr := t.a.Conn.Client.Addr()
	k := client{d.Domain, d.Member, d.Credential, t.a.Door, networkOf(addr)}
	n.mu.Lock()
	defer n.mu.Unlock()
	if at, ok := n.seen[k]; ok && now.Sub(at) < clientSeenEvery {
		return
	}
	if len(n.pending) < maxNewClients {
		n.pending[k] = clientAt{at: now.UTC(), from: t.from, name: d.CredentialName}
	}
}

// take answers those that wait, each member's in the order in which they came.
func (n *newClients) take() map[clientsOwner][]newClient {
	n.mu.Lock()
	pending := n.pending
	n.pending = map[client]clientAt{}
	n.mu.Unlock()
	of := map[clientsOwner][]newClient{}
	for k, at := range pending {
		o := clientsOwner{k.domain, k.member}
		of[o] = append(of[o], newClient{k, at})
	}
	for _, l := range of {
		slices.SortFunc(l, func(a, b newClient) int { return a.at.Compare(b.at) })
	}
	return of
}

func (n *newClients) remember(l []newClient) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, k := range l {
		if len(n.seen) >= maxSeenClients {
			clear(n.seen)
		}
		n.seen[k.client] = k.at
	}
}

// flushClients looks at a member's clients together: in the morning, when a whole house comes, his record is read and
// written once.
func (c *Core) flushClients(ctx context.Context) {
	for o, l := range c.newClients.take() {
		err := c.retry(func() error { return c.lookAtClients(ctx, o, l) }, func() error { return nil })
		if errors.Is(err, store.ErrUnavailable) {
			c.log.Warn("look at new clients: at their next sign-in", "error", err)
			return
		}
		if err != nil {
			c.log.Warn("look at new clients", "domain", o.domain, "error", err)
			continue
		}
		c.newClients.remember(l)
	}
}

// lookAtClients tells the member of those that he was never signed in with.
func (c *Core) lookAtClients(ctx context.Context, o clientsOwner, l []newClient) error {
	key := clientsKey(o.domain, o.member)
	rec, rev, err := readDirect[knownClients](ctx, c, key)
	if err != nil {
		return err
	}
	if rec == nil {
		rec = &knownClients{}
	}
	p, err := c.dir.PersonByID(ctx, o.domain, o.member)
	if err != nil || p.Member == nil || p.Member.Status == member.Deleted {
		return err
	}
	told, changed := c.meetClients(rec, p.Member, l)
	if !changed {
		return nil
	}
	keep := member.PutOp(key, rec, rev)
	keep.ExpiresAt = l[len(l)-1].at.Add(keepClients)
	err = c.apply(ctx, o.domain, append(told, keep, unchanged(member.Key(o.domain, o.member), p.Revision))...)
	if err != nil && !errors.Is(err, store.ErrConflict) {
		return broken("write new clients", err)
	}
	return err
}

// meetClients adds clients to the record. It answers what tells the member of new ones, and whether the record changed.
func (c *Core) meetClients(rec *knownClients, m *member.Member, l []newClient) (told []store.Op, changed bool) {
	for _, k := range l {
		known, added := rec.add(c.print("client", string(k.member), k.credential, k.door, k.network.String()), k.at)
		changed = changed || added
		if known || !rec.mayTell(k.at) {
			continue
		}
		name := k.name
		if k.credential == AccountCredential {
			name = "account_password"
		}
		told = append(told, c.notice(m, notify.Event{Kind: notify.NewClient, At: k.at, From: k.from, Name: name, Door: k.door})...)
	}
	return told, changed
}

// add puts a client at the end of the list, and says whether it stood there, and whether the record changed.
func (r *knownClients) add(print string, at time.Time) (known, changed bool) {
	if i := slices.IndexFunc(r.Clients, func(k knownClient) bool { return k.Print == print }); i >= 0 {
		if at.Sub(r.Clients[i].At) < clientSeenEvery {
			return true, false
		}
		r.Clients = slices.Delete(r.Clients, i, i+1)
		known = true
	}
	r.Clients = append(r.Clients, knownClient{Print: print, At: at.Truncate(time.Second)})
	r.Clients = r.Clients[max(0, len(r.Clients)-maxKnownClients):]
	return known, true
}

// mayTell counts a message, unless there were enough in a day.
func (r *knownClients) mayTell(now time.Time) bool {
	r.Told = slices.DeleteFunc(r.Told, func(at time.Time) bool { return now.Sub(at) >= 24*time.Hour })
	if len(r.Told) >= maxToldClients {
		return false
	}
	r.Told = append(r.Told, now)
	return true
}
