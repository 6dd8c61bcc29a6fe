package redis

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"
)

const (
	publishAtOnce  = 128     // messages in one pipeline: others wait for it
	publishedBytes = 4 << 20 // and bytes, above which it is sent
)

// publish sends what callers publish, in their order, and beats, one pipeline after the other.
func (h *hearing) publish() {
	tick := time.NewTicker(beatEvery)
	defer tick.Stop()
	h.send([]*publication{nil}, true) // tells others that we are there
	for n := 1; ; {
		select {
		case <-h.over:
			return
		case <-tick.C:
			var all []*publication
			if n++; n%tellEvery == 0 {
				all = append(all, nil)
			}
			h.send(all, true)
		case <-h.wanted:
			h.send(nil, true)
		case p := <-h.bus.publications:
			h.send(h.gather(p), false)
		}
	}
}

// gather takes the callers that wait already.
func (h *hearing) gather(first *publication) []*publication {
	sent, bytes := []*publication{first}, len(first.msg)
	for len(sent) < publishAtOnce && bytes < publishedBytes {
		select {
		case p := <-h.bus.publications:
			sent, bytes = append(sent, p), bytes+len(p.msg)
		default:
			return sent
		}
	}
	return sent
}

// send publishes them, nil for a beat that all hear, and then perhaps a beat of our own.
func (h *hearing) send(sent []*publication, beat bool) {
	ctx, cancel := context.WithTimeout(context.Background(), h.bus.db.options.limits.call)
	defer cancel()
	pipe := h.client.Pipeline()
	var waiting []*publication
	for _, p := range sent {
		e := envelope{from: h.id, sequence: h.sequence}
		if p != nil {
			if isClosed(p.left) {
				continue
			}
			h.sequence++
			e = envelope{h.id, h.sequence, p.topic, string(p.msg)}
			waiting = append(waiting, p)
		}
		pipe.Do(ctx, "spublish", h.common(), e.bytes())
	}
	if beat {
		pipe.Do(ctx, "spublish", h.own(), h.beat())
	}
	_, err := pipe.Exec(ctx)
	for _, p := range waiting {
		p.done <- published(err)
	}
	if err != nil {
		h.end(err)
	}
}

// beat is up to which number it admits, and the number of our last message.
func (h *hearing) beat() []byte {
	h.bus.mu.Lock()
	defer h.bus.mu.Unlock()
	b := binary.BigEndian.AppendUint64(nil, h.asked)
	return binary.BigEndian.AppendUint64(b, h.sequence)
}

func published(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("publish, perhaps done: %w", unavailable(err))
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
