package authcore

import (
	"context"

	"latchkey/authcore/audit"
	"latchkey/authcore/member"
)

// activityScan bounds how many entries of the domain one page of a member's activity looks at: every member may ask, and a
// large domain has millions. What is left comes with the next page, which may then be the first with anything on it.
const activityScan = 5_000

// MyActivity answers what happened to the actor's own account, newest first, and where to go on; next is empty at the end.
// Of what an administrator did, it tells who did what and when: what he was signed in with and from where is his own.
func (c *Core) MyActivity(ctx context.Context, a Actor, after string, limit int) ([]audit.Entry, string, error) {
	if _, err := c.self(ctx, a); err != nil {
		return nil, "", err
	}
	f := audit.Filter{Member: string(a.Member), MaxScan: activityScan}
	l, next, err := audit.List(ctx, c.o.Records, member.Partition(a.Domain), f, after, limit)
	for i := range l {
		if e := &l[i]; e.Actor != "" && e.Actor != a.Address {
			e.From, e.Agent, e.Kind, e.Session, e.Changes = "", "", "", "", nil
			if e.Action != audit.AppPasswordDelete {
				e.Credential, e.Name = "", ""
			}
		}
	}
	return l, next, err
}
