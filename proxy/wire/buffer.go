package wire

import "sync"

const (
	// residentSize is what a waiting connection holds: any command of a usual client, and a TLS record of one.
	residentSize = 4 << 10
	// MaxLine bounds a line with its CRLF, whatever limit ReadLine is given: AUTH lines of SMTP have 12288 octets
	// (RFC 4954 section 4), those of IMAP may be as long, and a token of an OpenID provider fits.
	MaxLine = 16 << 10
	// maxGathered bounds a reply before it must leave: the longest capability list is a tenth of it.
	maxGathered = 16 << 10
)

// Free buffers, shared by all connections; nothing else is kept here. They are wiped before they come back, for a line
// may have been a password.
var (
	residentPool = sync.Pool{New: func() any { return new([residentSize]byte) }}
	longPool     = sync.Pool{New: func() any { return new([MaxLine]byte) }}
)

func borrowResident() []byte { return residentPool.Get().(*[residentSize]byte)[:] }
func borrowLong() []byte     { return longPool.Get().(*[MaxLine]byte)[:] }

// giveBack wipes the used part of p and returns it to the pool it is from. A buffer that was grown beyond is left to
// the collector.
func giveBack(p []byte) {
	clear(p)
	switch cap(p) {
	case residentSize:
		residentPool.Put((*[residentSize]byte)(p[:residentSize]))
	case MaxLine:
		longPool.Put((*[MaxLine]byte)(p[:MaxLine]))
	}
}
