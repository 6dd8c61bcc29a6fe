package redis

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"latchkey/authcore/store"
)

// A record lies under its key as: one byte of version; its revision, twice, for it is given by the server and no
// checksum of the writer could hold it; its expiry, in milliseconds since 1970; the CRC-32C of partition, name, expiry
// and value; the value. Numbers are big-endian. What the writer makes is the body: from the expiry on.
const (
	recordVersion = 1
	bodyAt        = 1 + 8 + 8
	valueAt       = bodyAt + 8 + 4 // apply.lua knows it
)

// body makes what the server stamps with a revision.
func body(partition, name string, expires int64, value []byte) []byte {
	return appendBody(make([]byte, 0, valueAt-bodyAt+len(value)), partition, name, expires, value)
}

// appendBody has the checksum's other parts behind b for a moment: of bytes that lie together it costs next to nothing.
func appendBody(b []byte, partition, name string, expires int64, value []byte) []byte {
	at := len(b)
	b = append(binary.BigEndian.AppendUint16(b, uint16(len(partition))), partition...)
	b = append(binary.BigEndian.AppendUint16(b, uint16(len(name))), name...)
	b = binary.BigEndian.AppendUint64(b, uint64(expires))
	sum := crc32.Update(crc32.Checksum(b[at:], castagnoli), castagnoli, value)
	b = binary.BigEndian.AppendUint64(b[:at], uint64(expires))
	b = binary.BigEndian.AppendUint32(b, sum)
	return append(b, value...)
}

// stamped is a whole record, for a restore.
func stamped(revision int64, body []byte) []byte {
	b := make([]byte, 0, bodyAt+len(body))
	b = append(b, recordVersion)
	b = binary.BigEndian.AppendUint64(b, uint64(revision))
	b = binary.BigEndian.AppendUint64(b, uint64(revision))
	return append(b, body...)
}

// parse answers the record under a key, its value a copy, or ErrCorrupt naming it.
func parse(partition, name, raw string) (store.Record, error) {
	if len(raw) < valueAt || raw[0] != recordVersion || raw[1:9] != raw[9:17] {
		return store.Record{}, corrupt(partition, name)
	}
	var head [valueAt]byte
	copy(head[:], raw)
	value := []byte(raw[valueAt:])
	if binary.BigEndian.Uint32(head[bodyAt+8:]) != checksum(partition, name, int64(binary.BigEndian.Uint64(head[bodyAt:])), value) {
		return store.Record{}, corrupt(partition, name)
	}
	return store.Record{
		Name: name, Value: value,
		Revision:  int64(binary.BigEndian.Uint64(head[1:])),
		ExpiresAt: store.FromMilliseconds(int64(binary.BigEndian.Uint64(head[bodyAt:]))),
	}, nil
}

func corrupt(partition, name string) error {
	return fmt.Errorf("%w: %q in partition %q is not what was written", store.ErrCorrupt, name, partition)
}

// checksum takes each name with its length.
func checksum(partition, name string, expires int64, value []byte) uint32 {
	var b [8]byte
	sum := sumOf(0, string(binary.BigEndian.AppendUint16(b[:0], uint16(len(partition)))))
	sum = sumOf(sum, partition)
	sum = sumOf(sum, string(binary.BigEndian.AppendUint16(b[:0], uint16(len(name)))))
	sum = sumOf(sum, name)
	sum = sumOf(sum, string(binary.BigEndian.AppendUint64(b[:0], uint64(expires))))
	return crc32.Update(sum, castagnoli, value)
}
