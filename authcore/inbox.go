package authcore

import (
	"context"
	"errors"
	"slices"
	"strings"

	"latchkey/authcore/audit"
	"latchkey/authcore/member"
	"latchkey/authcore/notify"
	"latchkey/authcore/store"
	"latchkey/policy"
)

// inbox is what the actor may read of his own. API tokens see no codes: a code is for a person.
func (c *Core) inbox(a Actor) notify.Inbox {
	in := notify.Inbox{Records: c.o.Records}
	if a.web != nil && !a.IsToken() {
		in.Keys, in.Since = c.o.Keys, a.web.CreatedAt
	}
	return in
}

// Messages answers the actor's inbox, newest first, and where to go on.
func (c *Core) Messages(ctx context.Context, a Actor, after string, limit int) ([]notify.Message, string, error) {
	if _, err := c.self(ctx, a); err != nil {
		return nil, "", err
	}
	return c.inbox(a).List(ctx, a.Domain, a.Member, after, limit)
}

// MarkMessage marks one of the actor's messages as read, or as unread.
func (c *Core) MarkMessage(ctx context.Context, a Actor, id string, read bool) error {
	return c.changeInbox(ctx, a, func(in notify.Inbox) (store.Op, error) { return in.MarkOp(ctx, a.Domain, a.Member, id, read) })
}

// DeleteMessage takes one of the actor's messages away.
func (c *Core) DeleteMessage(ctx context.Context, a Actor, id string) error {
	return c.changeInbox(ctx, a, func(in notify.Inbox) (store.Op, error) { return in.DeleteOp(ctx, a.Domain, a.Member, id) })
}

func (c *Core) changeInbox(ctx context.Context, a Actor, change func(notify.Inbox) (store.Op, error)) error {
	if _, err := c.self(ctx, a); err != nil {
		return err
	}
	return c.retry(func() error {
		op, err := change(c.inbox(a))
		if errors.Is(err, store.ErrNotFound) {
			return deny(NotFound, "")
		}
		if err != nil {
			return err
		}
		return c.apply(ctx, a.Domain, op)
	}, func() error { return nil })
}

// SetLanguage chooses the language of the actor's messages.
func (c *Core) SetLanguage(ctx context.Context, a Actor, language string) (Profile, error) {
	t, err := c.self(ctx, a)
	if err != nil {
		return Profile{}, err
	}
	if m := languageMistakes(language); len(m) > 0 {
		return Profile{}, invalid(m...)
	}
	err = c.changeMember(ctx, a, &t, audit.MemberUpdate, func(m *member.Member) error {
		m.Language = language
		return nil
	})
	if err != nil {
		return Profile{}, err
	}
	return c.Me(ctx, a)
}

func languageMistakes(language string) []policy.Mistake {
	if slices.Contains(notify.Languages(), language) {
		return nil
	}
	return []policy.Mistake{{Field: "language", Reason: "must be one of " + strings.Join(notify.Languages(), ", ")}}
}
