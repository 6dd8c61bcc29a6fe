package member

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"latchkey/authcore/store"
)

// What must be unique across domains, a phone number or the subject of an OpenID provider, is a claim in a partition of
// its own, for a batch is atomic inside one partition only. It is written pending first, then the member's own record
// names the value, then the claim is confirmed. A pending claim whose member does not name the value after PendingFor is
// free: the process died in between.

// Claim says whose a value is.
type Claim struct {
	Domain  DomainID  `json:"domain"`
	Member  ID        `json:"member"`
	Pending time.Time `json:"pending,omitzero"` // since when; zero: confirmed
}

// PendingFor is how long a claim waits for its member's record.
const PendingFor = time.Minute

// ErrClaimed: the value is somebody else's.
var ErrClaimed = errors.New("claimed by another member")

// ClaimKey names the claim of a value. The hash only makes a name of bounded length: it hides nothing.
func ClaimKey(kind, value string) store.Key {
	h := sha256.Sum256([]byte(kind + "\x00" + value))
	return store.Key{Partition: "c:" + hex.EncodeToString(h[:]), Name: "claim"}
}

// Claims makes and frees them.
type Claims struct {
	Records store.Records
	Now     func() time.Time
	// Names says from the member's own records whether he has the value: what decides about a pending claim that is old.
	Names func(ctx context.Context, d DomainID, id ID, kind, value string) (bool, error)
}

// Holder answers whose the value is; nil when it is nobody's. The member's own record decides, whether the claim was
// confirmed or not: the process may have died before it was, or before it was dropped.
func (c *Claims) Holder(ctx context.Context, kind, value string) (*Claim, error) {
	held, _, err := c.read(ctx, kind, value)
	if err != nil || held == nil {
		return nil, err
	}
	names, err := c.Names(ctx, held.Domain, held.Member, kind, value)
	if err != nil || !names {
		return nil, err
	}
	return held, nil
}

// Look answers the claim of a value as it is written, whether or not the member's record names the value.
func (c *Claims) Look(ctx context.Context, kind, value string) (*Claim, error) {
	held, _, err := c.read(ctx, kind, value)
	return held, err
}

// takeTries bounds how often Take meets others that take or free the same value.
const takeTries = 8

// Take writes a pending claim. The member who has the value may take it again; ErrClaimed when it is another's.
func (c *Claims) Take(ctx context.Context, kind, value string, d DomainID, id ID) error {
	for range takeTries {
		held, rev, err := c.read(ctx, kind, value)
		if err != nil {
			return err
		}
		if free, err := c.free(ctx, held, kind, value, d, id); err != nil || !free {
			return cmp.Or(err, ErrClaimed)
		}
		err = c.write(ctx, kind, value, PutOp(ClaimKey(kind, value), Claim{Domain: d, Member: id, Pending: c.Now().UTC()}, rev))
		if !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
	return ErrClaimed // whoever is faster every time
}

// free says whether the member may take what is held: it is his own already, or its member does not name the value, and
// is not about to.
func (c *Claims) free(ctx context.Context, held *Claim, kind, value string, d DomainID, id ID) (bool, error) {
	switch {
	case held == nil || held.by(d, id):
		return true, nil
	case !held.Pending.IsZero() && c.Now().Sub(held.Pending) < PendingFor:
		return false, nil
	}
	names, err := c.Names(ctx, held.Domain, held.Member, kind, value)
	return !names, err
}

// Confirm says that the member's record names the value now. ErrClaimed: it took too long, and the value is another's:
// the record must not name it any more.
func (c *Claims) Confirm(ctx context.Context, kind, value string, d DomainID, id ID) error {
	held, rev, err := c.read(ctx, kind, value)
	if err != nil {
		return err
	}
	if held == nil || !held.by(d, id) {
		return ErrClaimed
	}
	err = c.write(ctx, kind, value, PutOp(ClaimKey(kind, value), Claim{Domain: d, Member: id}, rev))
	if errors.Is(err, store.ErrConflict) { // by another request of the member, or another member: once more
		held, _, err = c.read(ctx, kind, value)
		if err == nil && (held == nil || !held.by(d, id)) {
			return ErrClaimed
		}
	}
	return err
}

// Drop frees the value, if it is the member's and his record does not name it any more.
func (c *Claims) Drop(ctx context.Context, kind, value string, d DomainID, id ID) error {
	held, rev, err := c.read(ctx, kind, value)
	if err != nil || held == nil || !held.by(d, id) {
		return err
	}
	if names, err := c.Names(ctx, d, id, kind, value); err != nil || names {
		return err
	}
	k := ClaimKey(kind, value)
	err = c.write(ctx, kind, value, store.Op{Kind: store.Delete, Name: k.Name, IfRevision: rev})
	if errors.Is(err, store.ErrConflict) {
		return nil // taken anew meanwhile
	}
	return err
}

func (c *Claim) by(d DomainID, id ID) bool { return c.Domain == d && c.Member == id }

func (c *Claims) write(ctx context.Context, kind, value string, op store.Op) error {
	if _, err := c.Records.Apply(ctx, ClaimKey(kind, value).Partition, op); err != nil {
		return fmt.Errorf("write claim of %s: %w", kind, err)
	}
	return nil
}

func (c *Claims) read(ctx context.Context, kind, value string) (*Claim, int64, error) {
	rec, err := c.Records.Get(ctx, ClaimKey(kind, value))
	if errors.Is(err, store.ErrNotFound) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, fmt.Errorf("read claim of %s: %w", kind, err)
	}
	var held Claim
	if err := json.Unmarshal(rec.Value, &held); err != nil {
		return nil, 0, fmt.Errorf("claim of %s: %w", kind, store.ErrCorrupt)
	}
	return &held, rec.Revision, nil
}
