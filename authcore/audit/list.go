package audit

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"latchkey/authcore/store"
)

// Filter selects entries; its zero value selects all.
type Filter struct {
	Actions []Action
	Reasons []string
	Member  string // member id of the target
	Text    string // part of actor or target, in lower case
	Door    string
	From    time.Time // not before
	To      time.Time // before
	MaxScan int       // bounds how many entries one List looks at, below the bound of the same name; 0: that one
}

// Takes says whether the entry is selected.
func (f Filter) Takes(e Entry) bool {
	switch {
	case len(f.Actions) > 0 && !slices.Contains(f.Actions, e.Action),
		len(f.Reasons) > 0 && !slices.Contains(f.Reasons, e.Reason),
		f.Member != "" && f.Member != e.MemberID,
		f.Door != "" && f.Door != e.Door,
		f.Text != "" && !strings.Contains(strings.ToLower(e.Actor+"\n"+e.Target), f.Text),
		!f.From.IsZero() && e.Time.Before(f.From),
		!f.To.IsZero() && !e.Time.Before(f.To):
		return false
	}
	return true
}

// page is how many records are read at once: a bound on memory, not on the answer.
const page = 500

// MaxScan bounds how many entries one List looks at; what is left comes with the next page.
const MaxScan = 20_000

// List answers up to limit entries, newest first, and where to go on; next is empty at the end. after is a next of
// before.
func List(ctx context.Context, r store.Records, partition string, f Filter, after string, limit int) (entries []Entry, next string, err error) {
	q := store.Query{Prefix: Prefix, Reverse: true, Limit: page}
	if after != "" {
		q.After = Prefix + after
	} else if !f.To.IsZero() {
		q.After = name(f.To.Add(time.Minute), "")
	}
	most := MaxScan
	if f.MaxScan > 0 {
		most = min(most, f.MaxScan)
	}
	for scanned := 0; scanned < most; {
		recs, err := r.List(ctx, partition, q)
		if err != nil {
			return nil, "", fmt.Errorf("list audit: %w", err)
		}
		for _, rec := range recs {
			scanned++
			q.After = rec.Name
			var e Entry
			if err := json.Unmarshal(rec.Value, &e); err != nil {
				return nil, "", fmt.Errorf("list audit: %s: %w", rec.Name, store.ErrCorrupt)
			}
			if !f.From.IsZero() && e.Time.Before(f.From.Add(-time.Hour)) {
				return entries, "", nil
			}
			if f.Takes(e) {
				entries = append(entries, e)
			}
			if len(entries) == limit {
				return entries, strings.TrimPrefix(rec.Name, Prefix), nil
			}
		}
		if len(recs) < page {
			return entries, "", nil
		}
	}
	return entries, strings.TrimPrefix(q.After, Prefix), nil
}
