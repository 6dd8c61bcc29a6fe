package sqlite

import (
	"database/sql/driver"
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"latchkey/authcore/store"
)

// columns of a record as every query here selects them, after partition and name where those are selected.
const columns = "revision, expires, crc, value"

// row is a record as it lies in the database, and the buffer that its checksum is taken in. Each reader and the writer
// have their own.
type row struct {
	values  [6]driver.Value // partition, name, columns
	scratch []byte
}

// The places of values.
const (
	partitionAt = iota
	nameAt
	revisionAt
	expiresAt
	crcAt
	valueAt
)

// all is for queries that select partition and name, bare for those that select only columns.
func (r *row) all() []driver.Value  { return r.values[:] }
func (r *row) bare() []driver.Value { return r.values[revisionAt:] }

// named is for queries that select the name and columns.
func (r *row) named() []driver.Value { return r.values[nameAt:] }

func (r *row) partition() string { return text(r.values[partitionAt]) }
func (r *row) name() string      { return text(r.values[nameAt]) }

func text(v driver.Value) string {
	b, _ := v.([]byte)
	return string(b)
}

// record answers what was read, or ErrCorrupt naming it. The value is the caller's.
func (r *row) record(partition, name string) (rec store.Record, expires int64, err error) {
	revision, isRevision := r.values[revisionAt].(int64)
	expires, isExpiry := r.values[expiresAt].(int64)
	sum, isSum := r.values[crcAt].(int64)
	value, isValue := r.values[valueAt].([]byte)
	// An empty blob is read as nil, like NULL; the columns are NOT NULL.
	if !isRevision || !isExpiry || !isSum || !isValue && r.values[valueAt] != nil ||
		sum != r.checksum(partition, name, revision, expires, value) {
		return store.Record{}, 0, fmt.Errorf("%w: %q in partition %q does not match its checksum", store.ErrCorrupt, name, partition)
	}
	rec = store.Record{Name: name, Value: value, Revision: revision, ExpiresAt: store.FromMilliseconds(expires)}
	return rec, expires, nil
}

// checksum is a CRC-32C over everything that makes a record, each part with its length or of a fixed one.
func (r *row) checksum(partition, name string, revision, expires int64, value []byte) int64 {
	b := r.scratch[:0]
	b = binary.BigEndian.AppendUint16(b, uint16(len(partition)))
	b = append(b, partition...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(name)))
	b = append(b, name...)
	b = binary.BigEndian.AppendUint64(b, uint64(revision))
	b = binary.BigEndian.AppendUint64(b, uint64(expires))
	r.scratch = b
	table := crc32.MakeTable(crc32.Castagnoli)
	return int64(crc32.Update(crc32.Checksum(b, table), table, value))
}

// headChecksum guards the highest revision of a partition: a lower one would give revisions out twice.
func (r *row) headChecksum(partition string, revision int64) int64 {
	return r.checksum(partition, "", revision, 0, nil)
}

// head answers the partition's highest revision out of (revision, crc).
func (r *row) head(partition string, revision, crc driver.Value) (int64, error) {
	highest, isRevision := revision.(int64)
	sum, isSum := crc.(int64)
	if !isRevision || !isSum || sum != r.headChecksum(partition, highest) {
		return 0, fmt.Errorf("%w: the revision of partition %q does not match its checksum", store.ErrCorrupt, partition)
	}
	return highest, nil
}
