// Package backup is the file that a store is saved in, whatever its engine: the way back after a loss, and from one
// engine to another. It holds every record with its revision, every partition with the highest revision it gave out,
// and the ids of the server keys that the records need; it never holds a key.
//
// A file that is truncated, altered or of a later version is refused as a whole, before a store keeps anything of it.
// The digest at its end tells damage; it is no signature, so keep backups where nobody else may write. What is in
// a backup is as secret as the store. Reading and writing take constant memory.
//
// The format, version 1, perhaps all of it within gzip: the line "LATCHKEY-BACKUP", then frames. A frame is the length
// of its payload (4 bytes, big endian), the payload, and its CRC-32C (4 bytes, big endian). A payload begins with
// a letter:
//
//	H  header, JSON; the first frame and no other
//	P  partition: name, highest revision
//	R  record of the last partition: name, revision, expiry in milliseconds since 1970 (0: never), value to the end
//	T  trailer: number of partitions, number of records, SHA-256 of every byte before this frame; the last one
//
// Names have their length before them; lengths and numbers are unsigned varints. Partitions and the names in each rise
// in byte order.
package backup

import (
	"errors"
	"fmt"
	"hash/crc32"
	"time"

	"latchkey/authcore/store"
)

// Version of the format that this package writes, and the highest it reads.
const Version = 1

const magic = "LATCHKEY-BACKUP\n"

var (
	// ErrDamaged: the file is not what was written. Take another backup.
	ErrDamaged = errors.New("the backup is damaged")
	// ErrNotBackup: the file is something else.
	ErrNotBackup = errors.New("the file is not a backup")
	// ErrVersion: a later program wrote the file. Restore it with that one.
	ErrVersion = errors.New("the backup is of a later version")
)

// Header is what a backup says of itself.
type Header struct {
	Version int       `json:"version"` // filled in by Write
	Store   string    `json:"store"`   // id of the store it was taken from
	Created time.Time `json:"created"`
	Keys    []string  `json:"keys"` // ids of the server keys without which its records are of no use
}

// Counts say how much has been written or read.
type Counts struct{ Partitions, Records, Bytes int64 }

// Bounds of frames: a header of thousands of key ids, an entry of the largest record.
const (
	maxHeader = 1 << 20
	maxEntry  = 1 + 2*10 + 10 + store.MaxName + store.MaxValue // letter, two varints and a length, name, value
)

// The letters of payloads.
const (
	headerFrame    = 'H'
	partitionFrame = 'P'
	recordFrame    = 'R'
	trailerFrame   = 'T'
)

func checksum(payload []byte) uint32 {
	return crc32.Checksum(payload, crc32.MakeTable(crc32.Castagnoli))
}

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrDamaged, fmt.Errorf(format, args...))
}
