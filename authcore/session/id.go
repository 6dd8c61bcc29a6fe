// Package session keeps web sessions and the registry of live door sessions. It refuses to end a session by anything but
// an epoch, its own end, or its time.
package session

import (
	"crypto/rand"
	"strings"
	"sync"
)

// ID names a session, live at a door or on the web: 26 characters, unguessable, no secret by itself.
type ID string

const (
	idSize = 26
	// idsAtOnce are made in one piece of memory. One alone would lie among the many of its size that a sign-in leaves, and
	// keep their page for as long as the session lasts; of more at once, the last one to live would keep too many.
	idsAtOnce = 8
)

// unused holds the rest of such pieces, as *string.
var unused sync.Pool

// NewID makes an ID.
func NewID() ID {
	rest, _ := unused.Get().(*string)
	if rest == nil {
		rest = new(string)
		*rest = randomText(idsAtOnce)
	}
	id := ID((*rest)[:idSize])
	if *rest = (*rest)[idSize:]; len(*rest) >= idSize {
		unused.Put(rest)
	}
	return id
}

func randomText(ids int) string {
	var s strings.Builder
	s.Grow(ids * idSize)
	for range ids {
		s.WriteString(rand.Text())
	}
	return s.String()
}
