package store

import (
	"fmt"
	"time"
)

// The checks of the contract stand here once, so that every engine refuses the same calls with the same words. A name
// may be in the error, for names are no secrets; a value never is.

// CheckKey answers ErrInvalid unless k can name a record.
func CheckKey(k Key) error {
	if err := CheckPartition(k.Partition); err != nil {
		return err
	}
	return checkName("name", k.Name)
}

// CheckPartition answers ErrInvalid unless partition can be one.
func CheckPartition(partition string) error { return checkName("partition", partition) }

// CheckTopic answers ErrInvalid unless topic can be one.
func CheckTopic(topic string) error { return checkName("topic", topic) }

// CheckMember answers ErrInvalid unless member can be in a set.
func CheckMember(member string) error { return checkName("member", member) }

// CheckValue answers ErrInvalid for a value over MaxValue.
func CheckValue(value []byte) error {
	if len(value) > MaxValue {
		return fmt.Errorf("%w: a value of %d bytes, at most %d", ErrInvalid, len(value), MaxValue)
	}
	return nil
}

// CheckBatch answers ErrInvalid unless ops can be applied to partition: 1 to MaxOps of them, no name twice, and nothing
// in an Op that its Kind would ignore.
func CheckBatch(partition string, ops []Op) error {
	if err := CheckPartition(partition); err != nil {
		return err
	}
	if len(ops) == 0 || len(ops) > MaxOps {
		return fmt.Errorf("%w: %d operations in a batch, 1 to %d", ErrInvalid, len(ops), MaxOps)
	}
	for i := range ops {
		if err := checkOp(&ops[i]); err != nil {
			return fmt.Errorf("operation %d: %w", i, err)
		}
	}
	if name, twice := repeated(ops); twice {
		return fmt.Errorf("%w: name %q twice in one batch", ErrInvalid, name)
	}
	return nil
}

// Limits answers q.Limit with its default filled in, and ErrInvalid for bounds that do not hold.
func (q Query) Limits() (limit int, err error) {
	if len(q.Prefix) > MaxName || len(q.After) > MaxName {
		return 0, fmt.Errorf("%w: a prefix or start over %d bytes", ErrInvalid, MaxName)
	}
	if q.Limit < 0 || q.Limit > MaxListLimit {
		return 0, fmt.Errorf("%w: limit %d, at most %d", ErrInvalid, q.Limit, MaxListLimit)
	}
	if q.Limit == 0 {
		return MaxListLimit, nil
	}
	return q.Limit, nil
}

// Range answers the half-open range of names, low <= name < high, that q selects. Every name is below an empty high.
func (q Query) Range() (low, high string) {
	low, high = q.Prefix, prefixEnd(q.Prefix)
	switch {
	case q.After == "":
	case q.Reverse:
		if high == "" || q.After < high {
			high = q.After
		}
	default:
		low = max(low, q.After+"\x00") // the next name in byte order
	}
	return low, high
}

// prefixEnd answers the first name behind all those that begin with prefix; empty if there is none.
func prefixEnd(prefix string) string {
	for i := len(prefix) - 1; i >= 0; i-- {
		if prefix[i] != 0xff {
			return prefix[:i] + string([]byte{prefix[i] + 1})
		}
	}
	return ""
}

func checkName(what, s string) error {
	if s == "" || len(s) > MaxName {
		return fmt.Errorf("%w: a %s of %d bytes, 1 to %d", ErrInvalid, what, len(s), MaxName)
	}
	return nil
}

func checkOp(op *Op) error {
	if err := checkName("name", op.Name); err != nil {
		return err
	}
	if op.IfRevision < AnyRevision {
		return fmt.Errorf("%w: revision %d", ErrInvalid, op.IfRevision)
	}
	switch op.Kind {
	case Put:
		return checkPut(op)
	case Delete, Check:
		if op.Value != nil || !op.ExpiresAt.IsZero() {
			return fmt.Errorf("%w: a value or an expiry that would be ignored", ErrInvalid)
		}
		if op.Kind == Check && op.IfRevision == AnyRevision {
			return fmt.Errorf("%w: a check that checks nothing", ErrInvalid)
		}
		return nil
	}
	return fmt.Errorf("%w: operation of kind %d", ErrInvalid, op.Kind)
}

// lastYear is the last that RFC 3339 can write. Milliseconds since 1970 are exact up to it in every engine, in the doubles
// of a Redis script too.
const lastYear = 9999

func checkPut(op *Op) error {
	if !op.ExpiresAt.IsZero() && (op.ExpiresAt.Before(time.UnixMilli(1)) || op.ExpiresAt.UTC().Year() > lastYear) {
		return fmt.Errorf("%w: an expiry before 1970 or after %d", ErrInvalid, lastYear)
	}
	return CheckValue(op.Value)
}

// repeated finds a name that stands twice in ops. Most batches are a handful, where comparing beats a map.
func repeated(ops []Op) (string, bool) {
	if len(ops) > 16 {
		return repeatedInMany(ops)
	}
	for i := range ops {
		for j := range i {
			if ops[i].Name == ops[j].Name {
				return ops[i].Name, true
			}
		}
	}
	return "", false
}

func repeatedInMany(ops []Op) (string, bool) {
	seen := make(map[string]bool, len(ops))
	for i := range ops {
		if seen[ops[i].Name] {
			return ops[i].Name, true
		}
		seen[ops[i].Name] = true
	}
	return "", false
}

// Milliseconds is how an expiry is kept: whole milliseconds since 1970, rounded down, 0 for never. It is what a Redis
// server counts in.
func Milliseconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// FromMilliseconds is the way back, in UTC.
func FromMilliseconds(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// Expired reports whether a record with this expiry counts as absent at now: from its very millisecond on.
func Expired(expires int64, now time.Time) bool {
	return expires != 0 && expires <= now.UnixMilli()
}
