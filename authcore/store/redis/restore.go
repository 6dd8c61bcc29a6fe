package redis

import (
	"cmp"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"iter"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"latchkey/authcore/store"
)

// A restore is no single step in Redis. So it first marks the store, then claims each group if it is empty (batches
// wait then), writes, and takes the marks away. It is done when the store's mark says so: what is interrupted before is
// refused by Open and wiped by the next restore, what is interrupted after is ended by the next Open.

//go:embed restore.lua
var restoreSource string

var restoreScript = newScript(restoreSource)

// restoreBytes is how much one script writes.
const restoreBytes = 1 << 20

// Restore keeps store.Restorer. Nothing else may use the store meanwhile: its batches would wait and then fail.
func (r *Records) Restore(ctx context.Context, entries iter.Seq2[store.Entry, error]) error {
	if err := r.db.heads.closed(); err != nil {
		return err
	}
	s := &restore{db: r.db, token: randomID()}
	if err := s.run(ctx, entries); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	return nil
}

type restore struct {
	db    *DB
	token string

	head    store.Entry    // the partition under way
	records []store.Record // of it, not yet written
	size    int
	highest [groups]int64
}

func (s *restore) run(ctx context.Context, entries iter.Seq2[store.Entry, error]) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	err := s.claim(ctx)
	if err == nil {
		err = s.write(ctx, entries)
	}
	if err == nil {
		err = s.commit(ctx)
	}
	if err != nil {
		return errors.Join(err, s.undo(context.WithoutCancel(ctx))) // each call has its limit
	}
	return s.db.finishRestore(ctx, s.token)
}

// undo wipes what was written. A commit may have been written though it failed: first it is taken back.
func (s *restore) undo(ctx context.Context) error {
	meta := s.db.keys.meta()
	back := goredis.NewIntCmd(ctx, "hset", meta, "restoring", s.token)
	if err := s.db.do(ctx, metaGroup, true, back, goredis.NewIntCmd(ctx, "hdel", meta, "restored")); err != nil {
		return err
	}
	if err := s.wipe(ctx); err != nil {
		return err
	}
	return s.db.do(ctx, metaGroup, true, goredis.NewIntCmd(ctx, "hdel", meta, "restoring"))
}

// enter marks the store. What an earlier restore left is wiped, if the store was opened for that.
func (s *restore) enter(ctx context.Context) error {
	set := goredis.NewBoolCmd(ctx, "hsetnx", s.db.keys.meta(), "restoring", s.token) // of a repeat it says no
	get := goredis.NewStringCmd(ctx, "hget", s.db.keys.meta(), "restoring")
	if err := s.db.do(ctx, metaGroup, true, set, get); err != nil {
		return err
	}
	if set.Val() || get.Val() == s.token {
		return nil
	}
	if !s.db.options.Restoring {
		return ErrHalfRestored
	}
	s.token = get.Val()
	return s.wipe(ctx)
}

// claim takes every group, each if it is empty.
func (s *restore) claim(ctx context.Context) error {
	return s.db.eachGroup(ctx, func(ctx context.Context, g int) error {
		taken, err := s.db.restoreStep(ctx, g, "", "claim", s.token)
		if err == nil && !taken {
			err = s.claimed(ctx, g)
		}
		return err
	})
}

// claimed: a claim that was repeated finds its own.
func (s *restore) claimed(ctx context.Context, group int) error {
	get := goredis.NewStringCmd(ctx, "hget", s.db.keys.head(group), "restoring")
	if err := s.db.do(ctx, group, false, get); err != nil {
		return err
	}
	if get.Val() != s.token {
		return store.ErrNotEmpty
	}
	return nil
}

// restoreStep runs restore.lua without records.
func (db *DB) restoreStep(ctx context.Context, group int, partition string, args ...any) (bool, error) {
	prefix := db.keys.group(group)
	call := restoreScript.call(ctx, []string{prefix + "h", prefix + "p", prefix + "i:" + partition, prefix + "x"}, args...)
	if err := db.do(ctx, group, true, call); err != nil {
		return false, err
	}
	n, err := call.Int()
	if err != nil {
		return false, unavailable(err)
	}
	return n == 1, nil
}

func (s *restore) write(ctx context.Context, entries iter.Seq2[store.Entry, error]) error {
	for e, err := range entries {
		if err = cmp.Or(err, ctx.Err()); err == nil {
			err = e.Check(s.head)
		}
		if err == nil {
			err = s.add(ctx, e)
		}
		if err != nil {
			return err
		}
	}
	return s.flush(ctx)
}

// add takes one entry; what has gathered is written when it is enough, or when a partition ends.
func (s *restore) add(ctx context.Context, e store.Entry) error {
	if e.IsHead() {
		if err := s.flush(ctx); err != nil {
			return err
		}
		s.head = e
		g := groupOf(e.Partition)
		s.highest[g] = max(s.highest[g], e.Highest)
		return nil
	}
	s.records = append(s.records, e.Record)
	s.size += len(e.Record.Value)
	if len(s.records) < store.MaxOps && s.size < restoreBytes {
		return nil
	}
	return s.flush(ctx)
}

func (s *restore) flush(ctx context.Context) error {
	if s.head.Partition == "" {
		return nil
	}
	partition, group, k := s.head.Partition, groupOf(s.head.Partition), s.db.keys
	prefix := k.group(group)
	keys := []string{prefix + "h", prefix + "p", prefix + "i:" + partition, prefix + "x"}
	args := []any{"put", s.token, partition, s.head.Highest, member(partition, "")}
	for _, rec := range s.records {
		expires := store.Milliseconds(rec.ExpiresAt)
		if store.Expired(expires, time.Now()) {
			continue
		}
		keys = append(keys, k.records(partition)+rec.Name)
		args = append(args, rec.Name, expires, stamped(rec.Revision, body(partition, rec.Name, expires, rec.Value)))
	}
	s.records, s.size = s.records[:0], 0
	call := restoreScript.call(ctx, keys, args...)
	if err := s.db.do(ctx, group, true, call); err != nil {
		return err
	}
	if n, err := call.Int(); err != nil || n != 1 {
		return fmt.Errorf("%w: the claim of the restore is gone", store.ErrUnavailable)
	}
	return nil
}

// commit sets the groups' revisions and then, in one step, says that the restore is done.
func (s *restore) commit(ctx context.Context) error {
	err := s.db.eachGroup(ctx, func(ctx context.Context, g int) error {
		if s.highest[g] == 0 {
			return nil
		}
		done, err := s.db.restoreStep(ctx, g, "", "rise", s.token, s.highest[g])
		if err == nil && !done {
			err = fmt.Errorf("%w: the claim of the restore is gone", store.ErrUnavailable)
		}
		return err
	})
	if err != nil {
		return err
	}
	// HSET of both fields at once: "restoring" empty is none.
	set := goredis.NewIntCmd(ctx, "hset", s.db.keys.meta(), "restoring", "", "restored", s.token)
	return s.db.do(ctx, metaGroup, true, set)
}

// finishRestore gives the groups free after a restore that is done.
func (db *DB) finishRestore(ctx context.Context, token string) error {
	err := db.eachGroup(ctx, func(ctx context.Context, g int) error {
		_, err := db.restoreStep(ctx, g, "", "release", token)
		return err
	})
	if err != nil {
		return err
	}
	return db.do(ctx, metaGroup, true, goredis.NewIntCmd(ctx, "hdel", db.keys.meta(), "restoring", "restored"))
}

// wipe removes what was written under the token, and the claims.
func (s *restore) wipe(ctx context.Context) error {
	return s.db.eachGroup(ctx, func(ctx context.Context, g int) error {
		if err := s.claimed(ctx, g); err != nil {
			if errors.Is(err, store.ErrNotEmpty) {
				return nil // not ours
			}
			return err
		}
		partitions := make(map[string]bool)
		if err := s.db.scanPartitions(ctx, g, func(p string, _ int64) { partitions[p] = true }); err != nil {
			return err
		}
		for p := range partitions {
			for more := true; more; {
				var err error
				if more, err = s.db.restoreStep(ctx, g, p, "wipe", s.token, p, s.db.keys.records(p)); err != nil {
					return err
				}
			}
		}
		_, err := s.db.restoreStep(ctx, g, "", "free", s.token)
		return err
	})
}
