package demo

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

var errNoSuchPerson = errors.New("nobody here has that address")

// person is somebody of the demo. Its fields do not change.
type person struct {
	address string
	mail    *mailboxes
	dav     *tree
}

// people finds a person by address or alias, whatever the letter case.
type people struct {
	domains []string
	now     func() time.Time

	mu   sync.RWMutex
	byID map[string]*person // guarded by mu; keys are lower case
}

func newPeople(domains []string, now func() time.Time) *people {
	p := &people{now: now, byID: make(map[string]*person)}
	for _, d := range domains {
		p.domains = append(p.domains, strings.ToLower(d))
	}
	return p
}

func (p *people) find(address string) *person {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.byID[strings.ToLower(address)]
}

// local says whether address lies in one of the demo's own domains.
func (p *people) local(address string) bool {
	_, domain, ok := cutAddress(address)
	return ok && slices.Contains(p.domains, strings.ToLower(domain))
}

func (p *people) add(address string, aliases []string) (*person, error) {
	names := append([]string{address}, aliases...)
	for _, name := range names {
		if !p.local(name) {
			return nil, fmt.Errorf("%q is not an address in one of the demo's domains", name)
		}
	}
	address = strings.ToLower(address)
	added := &person{address: address, mail: newMailboxes(p.now), dav: newTree(address, p.now)}

	p.mu.Lock()
	defer p.mu.Unlock()
	for _, name := range names {
		if p.byID[strings.ToLower(name)] != nil {
			return nil, fmt.Errorf("%q is taken", name)
		}
	}
	for _, name := range names {
		p.byID[strings.ToLower(name)] = added
	}
	return added, nil
}

// cutAddress parts an address at its last @. A local part with a slash would be no path segment of CalDAV, so it is refused.
func cutAddress(address string) (local, domain string, ok bool) {
	at := strings.LastIndexByte(address, '@')
	if at <= 0 || at == len(address)-1 || strings.ContainsAny(address, "/\x00\r\n") {
		return "", "", false
	}
	return address[:at], address[at+1:], true
}
