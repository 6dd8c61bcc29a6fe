package redis

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// envelope is a message on the common channel: version, publisher, number, length of the topic, topic, message. One
// without a topic is a beat, whose number is that of the last message.
type envelope struct {
	from     string
	sequence uint64
	topic    string
	msg      string
}

const (
	envelopeVersion = 1
	envelopeHead    = 1 + 16 + 8 + 2
)

func (e envelope) bytes() []byte {
	b := make([]byte, 0, envelopeHead+len(e.topic)+len(e.msg))
	b = append(append(b, envelopeVersion), e.from...)
	b = binary.BigEndian.AppendUint64(b, e.sequence)
	b = binary.BigEndian.AppendUint16(b, uint16(len(e.topic)))
	return append(append(b, e.topic...), e.msg...)
}

func parseEnvelope(s string) (envelope, error) {
	if len(s) < envelopeHead || s[0] != envelopeVersion {
		return envelope{}, fmt.Errorf("a message of %d bytes that is none of ours", len(s))
	}
	head := []byte(s[:envelopeHead])
	topic := int(binary.BigEndian.Uint16(head[25:]))
	if len(s) < envelopeHead+topic {
		return envelope{}, errors.New("a message that ends within its topic")
	}
	return envelope{
		from: s[1:17], sequence: binary.BigEndian.Uint64(head[17:]),
		topic: s[envelopeHead : envelopeHead+topic], msg: s[envelopeHead+topic:],
	}, nil
}
