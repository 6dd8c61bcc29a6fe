package backup

import (
	"encoding/binary"
	"math"

	"latchkey/authcore/store"
)

// appendEntry encodes e as a payload behind b.
func appendEntry(b []byte, e store.Entry) []byte {
	if e.IsHead() {
		b = appendName(append(b, partitionFrame), e.Partition)
		return binary.AppendUvarint(b, uint64(e.Highest))
	}
	b = appendName(append(b, recordFrame), e.Record.Name)
	b = binary.AppendUvarint(b, uint64(e.Record.Revision))
	b = binary.AppendUvarint(b, uint64(store.Milliseconds(e.Record.ExpiresAt)))
	return append(b, e.Record.Value...)
}

func appendName(b []byte, name string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(name))), name...)
}

// parseEntry decodes the payload of a partition or of a record of that partition. The value is a copy.
func parseEntry(payload []byte, partition string) (store.Entry, error) {
	p := parser{rest: payload[1:]}
	name := p.name()
	number := p.number()
	if payload[0] == partitionFrame {
		if p.failed || len(p.rest) > 0 {
			return store.Entry{}, damaged("a partition cannot be read")
		}
		return store.Entry{Partition: name, Highest: number}, nil
	}
	expires := p.number()
	if p.failed || name == "" {
		return store.Entry{}, damaged("a record of partition %q cannot be read", partition)
	}
	value := append([]byte{}, p.rest...)
	return store.Entry{Partition: partition, Record: store.Record{
		Name: name, Revision: number, ExpiresAt: store.FromMilliseconds(expires), Value: value,
	}}, nil
}

// parser takes a payload apart. Once something failed, the rest is nothing.
type parser struct {
	rest   []byte
	failed bool
}

// number answers one that an int64 holds.
func (p *parser) number() int64 {
	n, size := binary.Uvarint(p.rest)
	if size <= 0 || n > math.MaxInt64 {
		p.failed, p.rest = true, nil
		return 0
	}
	p.rest = p.rest[size:]
	return int64(n)
}

func (p *parser) name() string {
	n := p.number()
	if n > int64(len(p.rest)) || n > store.MaxName {
		p.failed, p.rest = true, nil
		return ""
	}
	name := string(p.rest[:n])
	p.rest = p.rest[n:]
	return name
}
