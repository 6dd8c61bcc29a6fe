package authcore

import (
	"context"
	"sync"

	"latchkey/authcore/audit"
	"latchkey/authcore/member"
	"latchkey/authcore/notify"
	"latchkey/authcore/store"
)

// What is put into an outbox is told on the bus, so that it leaves at once from whichever process hears it first.

const outboxTopic = "outbox"

func (c *Core) newOutbox() *notify.Outbox {
	return notify.NewOutbox(notify.OutboxOptions{
		Records: c.o.Records, Keys: c.o.Keys, Senders: c.o.Senders, Now: c.now, Log: c.log, Metrics: c.o.Messages, Domains: c.domainIDs,
		GaveUp: func(o notify.Outgoing) []store.Op {
			return []store.Op{audit.Op(audit.Entry{Time: c.now(), Action: audit.MessageGiveUp, Reason: string(o.Kind), Detail: o.Channel.Word()})}
		},
	})
}

// hint tells that a batch left something to do: a message to send, an announcement to make.
func (c *Core) hint(ctx context.Context, d member.DomainID, ops []store.Op) {
	if !notify.Waits(ops) && !announces(ops) {
		return
	}
	if err := c.o.Bus.Publish(context.WithoutCancel(ctx), outboxTopic, []byte(d)); err != nil {
		c.log.Warn("tell of a waiting message: it waits for the next sweep", "domain", d, "error", err)
	}
}

// deliver sends what waits and makes announcements until ctx ends.
func (c *Core) deliver(ctx context.Context) {
	if c.o.KeepOutbox {
		return
	}
	out := c.newOutbox()
	told := newJobs()
	var beside sync.WaitGroup
	defer beside.Wait()
	beside.Go(func() { out.Run(ctx) })
	beside.Go(func() { c.announceAll(ctx, told) })
	for ctx.Err() == nil {
		ch, err := c.o.Bus.Subscribe(ctx, outboxTopic)
		if err != nil {
			c.pause(ctx)
			continue
		}
		for msg := range ch {
			out.Hint(member.DomainID(msg))
			told.add(member.DomainID(msg))
		}
		out.Sweep() // hints were missed
		told.sweep()
	}
}

// domainIDs pages through all domains, by name.
func (c *Core) domainIDs(ctx context.Context, after string, limit int) (ids []member.DomainID, next string, err error) {
	prefix := member.DomainNameKey("").Name
	q := store.Query{Prefix: prefix, Limit: limit}
	if after != "" {
		q.After = prefix + after
	}
	recs, err := c.o.Records.List(ctx, member.Root, q)
	if err != nil {
		return nil, "", broken("list domains", err)
	}
	for _, r := range recs {
		var n member.DomainName
		if err := decode(r, &n); err != nil {
			return nil, "", err
		}
		ids = append(ids, n.ID)
	}
	if len(recs) == limit {
		next = recs[limit-1].Name[len(prefix):]
	}
	return ids, next, nil
}
