package authcore

import (
	"slices"
	"strings"
	"time"
)

// cachedNames begin the names of the records that are read through the cache: those that say who somebody is and what he
// may do. A record of any other name is never kept, and no other node is told that it was written.
var cachedNames = []string{
	"address/", "app-passwords/", "domain/", "failures/", "member/", "operator/", "passkeys/", "password/", "sources/", "two-step/",
}

// Cached says whether records of this name are kept by the nodes, and told of.
func Cached(name string) bool {
	return name == "domain" || name == "policy" ||
		slices.ContainsFunc(cachedNames, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
}

// cacheAge bounds, in a fleet, how long a change can stay unseen of which the message was lost and nobody noticed.
const cacheAge = time.Minute
