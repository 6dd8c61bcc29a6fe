// Package session keeps web sessions and the registry of live door sessions. It refuses to end a session by anything but
// an epoch, its own end, or its time.
package session

import "crypto/rand"

// ID names a session, live at a door or on the web: 26 characters, unguessable, no secret by itself.
type ID string

// NewID makes an ID.
func NewID() ID { return ID(rand.Text()) }
