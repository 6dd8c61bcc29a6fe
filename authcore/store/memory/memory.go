// Package memory keeps the storage contract in the memory of one process. Ephemeral and Bus are what a single node runs
// on: both are bounded, and the value that was used longest ago goes first. Records are for tests of other packages:
// they have the semantics of the durable engines and lose everything at exit, so no server is built on them.
package memory

import (
	"fmt"
	"time"

	"latchkey/authcore/store"
)

// Options of the engines; the zero value works.
type Options struct {
	Now     func() time.Time // nil: time.Now
	Entries int              // Ephemeral: values and set members kept at most; 0: DefaultEntries
	Bytes   int              // Ephemeral: bytes of keys, values and members kept at most; 0: DefaultBytes
}

// Defaults of a node: throttles and tickets of some 100 000 people take 20 to 30 MB.
const (
	DefaultEntries = 500_000
	DefaultBytes   = 64 << 20
)

func (o Options) filled() Options {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Entries <= 0 {
		o.Entries = DefaultEntries
	}
	if o.Bytes <= 0 {
		o.Bytes = DefaultBytes
	}
	return o
}

func checkSpan(what string, d time.Duration) error {
	if d <= 0 {
		return fmt.Errorf("%w: %s %v", store.ErrInvalid, what, d)
	}
	return nil
}
