package redis

import (
	"crypto/rand"
	"encoding/hex"
	"hash/crc32"
	"strconv"
)

// A partition's group is CRC-32C(partition) mod 256. Every key of a group carries the tag {gg}, so that the group lies
// in one slot of a Cluster. Where a key holds two names the first comes with its length, so that no two pairs share one:
//
//	prefix:{gg}:h                 the group's head: rev, its counter; n:<node>, the last revision that the node wrote
//	prefix:{gg}:p                 hash: partition → its highest revision
//	prefix:{gg}:r:<len>:<partition>:<name>   a record
//	prefix:{gg}:i:<partition>     the names of its records, a sorted set by bytes
//	prefix:{gg}:x                 what expires: sorted set of <len>:<partition>:<name> by time
//	prefix:{gg}:b:<batch>         the revision of a batch of the last 30 s
//	prefix:{gg}:o, prefix:{gg}:O  what a snapshot needs of records written since it began (snapshot.go)
//	prefix:{gg}:w, prefix:{gg}:a  who watches this master, and the alarms (watch.go)
//	prefix:{00}:meta              the store's own: id, whether a restore is under way
const groups = 256

// metaGroup is where the store's own record lies.
const metaGroup = 0

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func groupOf(partition string) int {
	return int(sumOf(0, partition) % groups)
}

// sumOf is crc32.Update for a short text, without a copy of it.
func sumOf(sum uint32, s string) uint32 {
	sum = ^sum
	for i := range len(s) {
		sum = castagnoli[byte(sum)^s[i]] ^ sum>>8
	}
	return ^sum
}

const hexDigits = "0123456789abcdef"

func tagOf(group int) string { return string([]byte{hexDigits[group>>4], hexDigits[group&15]}) }

// slotOf answers the slot of a Cluster that the group lies in.
func slotOf(group int) int { return int(crc16(tagOf(group))) % 16384 }

// keys makes the names of keys.
type keys struct{ prefix string }

func (k keys) group(group int) string { return k.prefix + ":{" + tagOf(group) + "}:" }

func (k keys) of(group int, kind string) string { return k.group(group) + kind }

func (k keys) head(group int) string       { return k.group(group) + "h" }
func (k keys) partitions(group int) string { return k.group(group) + "p" }
func (k keys) expiring(group int) string   { return k.group(group) + "x" }
func (k keys) meta() string                { return k.group(metaGroup) + "meta" }

func (k keys) index(partition string) string {
	return k.group(groupOf(partition)) + "i:" + partition
}

// records is what the keys of the partition's records begin with; the name follows.
func (k keys) records(partition string) string {
	return k.group(groupOf(partition)) + "r:" + member(partition, "")
}

// member joins a partition and a name: the length tells where the first ends.
func member(partition, name string) string {
	return strconv.Itoa(len(partition)) + ":" + partition + ":" + name
}

func appendMember(b []byte, partition, name string) []byte {
	b = append(strconv.AppendInt(b, int64(len(partition)), 10), ':')
	return append(append(append(b, partition...), ':'), name...)
}

// randomID answers 128 random bits in hex.
func randomID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the process instead
	return hex.EncodeToString(b[:])
}

// crc16 is what a Cluster hashes a tag with: XMODEM, polynomial 0x1021 (Redis Cluster specification, appendix A).
func crc16(s string) uint16 {
	var sum uint16
	for i := range len(s) {
		sum ^= uint16(s[i]) << 8
		for range 8 {
			if sum&0x8000 != 0 {
				sum = sum<<1 ^ 0x1021
			} else {
				sum <<= 1
			}
		}
	}
	return sum
}
