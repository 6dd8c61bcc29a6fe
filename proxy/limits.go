package proxy

import (
	"fmt"
	"net/netip"
	"sync"
	"syscall"
)

const (
	// defaultPerSource is how many connections of one source may be on their way to a sign-in: an office behind one
	// address starts its programs at once, and each opens four or five.
	defaultPerSource = 50
	// webPerSource is how many HTTP connections one source may have, signed in or not: HTTP has no moment from which
	// on a connection is a member's. An office of fifty behind one address has a browser and a calendar program each, with
	// two connections.
	webPerSource = 200
	// reservedDescriptors are kept for the store, listeners, logs, DAV and the connections that are being refused.
	reservedDescriptors = 256
	// descriptorsPerConnection: the client's and the upstream's.
	descriptorsPerConnection = 2
	// maxRefusals bounds how many clients are told at the same time why they may not come in. Those beyond are closed
	// without a word: a refusal costs a TLS handshake.
	maxRefusals = 64
)

// limits counts the connections of a Server.
type limits struct {
	total int

	mu       sync.Mutex
	arriving sources // not yet signed in; guarded by mu
	web      sources // of HTTP; guarded by mu
	open     int     // guarded by mu
	refusing int     // guarded by mu
}

// sources counts connections by where they come from.
type sources struct {
	most int // of one source
	of   map[netip.Prefix]int
}

func newLimits(perSource, total int) *limits {
	if perSource == 0 {
		perSource = defaultPerSource
	}
	return &limits{
		total:    total,
		arriving: sources{most: perSource, of: make(map[netip.Prefix]int)},
		web:      sources{most: webPerSource, of: make(map[netip.Prefix]int)},
	}
}

// MaxConnections answers how many connections the process has descriptors for.
func MaxConnections() (int, error) {
	var r syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r); err != nil {
		return 0, fmt.Errorf("ask for the limit of descriptors: %w", err)
	}
	return connectionsFor(r.Cur)
}

func connectionsFor(descriptors uint64) (int, error) {
	if descriptors < 2*reservedDescriptors {
		return 0, fmt.Errorf("only %d descriptors (RLIMIT_NOFILE): at least %d are needed", descriptors, 2*reservedDescriptors)
	}
	const plenty = 1 << 22 // more than the memory of any machine holds, and "unlimited" is beyond an int
	return int((min(descriptors, plenty) - reservedDescriptors) / descriptorsPerConnection), nil
}

// enter counts a connection; false: there is no room, and it must not be counted out.
func (l *limits) enter() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open >= l.total {
		return false
	}
	l.open++
	return true
}

func (l *limits) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open--
}

// arrive counts a connection that has not signed in; depart is called once, at the sign-in or its failure. False: its
// source has as many as it may.
func (l *limits) arrive(client netip.Addr) (depart func(), ok bool) {
	return l.count(&l.arriving, client)
}

// browse counts a connection of HTTP until depart is called, at its end.
func (l *limits) browse(client netip.Addr) (depart func(), ok bool) { return l.count(&l.web, client) }

func (l *limits) count(in *sources, client netip.Addr) (depart func(), ok bool) {
	source := sourceOf(client)
	l.mu.Lock()
	defer l.mu.Unlock()
	if in.of[source] >= in.most {
		return nil, false
	}
	in.of[source]++
	return sync.OnceFunc(func() { l.depart(in, source) }), true
}

func (l *limits) depart(from *sources, source netip.Prefix) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if from.of[source]--; from.of[source] == 0 {
		delete(from.of, source)
	}
}

// refuse takes a place among those who are told why; false: there is none.
func (l *limits) refuse() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.refusing >= maxRefusals {
		return false
	}
	l.refusing++
	return true
}

func (l *limits) refused() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refusing--
}

// sourceOf is what counts as one source: an IPv4 address, or the /64 that one customer of an IPv6 provider has.
func sourceOf(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := 64
	if a.Is4() {
		bits = 32
	}
	p, _ := a.Prefix(bits) // fails for the zero Addr alone, whose source is the zero Prefix
	return p
}
