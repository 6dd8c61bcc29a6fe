package redis

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"

	goredis "github.com/redis/go-redis/v9"

	"latchkey/authcore/store"
	"latchkey/authcore/store/storetest"
)

// mustOpen opens a store for a test, with a state folder of its own unless o has one.
func mustOpen(t testing.TB, o Options) *DB {
	t.Helper()
	if o.StateDir == "" {
		o.StateDir = filepath.Join(t.TempDir(), "state")
	}
	var db *DB
	eventually(t, "an open store", func() (err error) {
		if db, err = Open(context.Background(), o); err != nil && !errors.Is(err, store.ErrUnavailable) {
			t.Fatal(err)
		}
		return err
	})
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return db
}

func TestSlotOf(t *testing.T) {
	// CRC-16/XMODEM of "123456789" is 0x31C3 (Redis Cluster specification, appendix A).
	if got := crc16("123456789"); got != 0x31c3 {
		t.Errorf("got %#x, want 0x31c3", got)
	}
}

// Many callers of one lane each get their own reply, in every mode.
func TestPeersDo(t *testing.T) {
	for name, start := range servers {
		t.Run(name, func(t *testing.T) {
			db := mustOpen(t, start(t))
			var callers sync.WaitGroup
			for i := range 500 {
				callers.Go(func() {
					group := i % groups
					key := db.keys.group(group) + fmt.Sprint("try", i)
					set := goredis.NewStatusCmd(t.Context(), "set", key, i)
					get := goredis.NewIntCmd(t.Context(), "get", key)
					if err := db.do(t.Context(), group, true, set, get); err != nil || get.Val() != int64(i) {
						t.Errorf("call %d: got %d, %v", i, get.Val(), err)
					}
				})
			}
			callers.Wait()
		})
	}
}

// Two installations share a server and see nothing of each other; a prefix that would move the hash tag is refused.
func TestPeersPrefixes(t *testing.T) {
	o := servers[Standalone](t)
	names := []string{"a", "a:b", "a:"}
	var stores []*DB
	for _, prefix := range names {
		o.Prefix = prefix
		stores = append(stores, mustOpen(t, o))
	}
	for i, db := range stores {
		for _, partition := range []string{"b", "b:{00}:r", ":{00}:i:b", "\x00\xff", "{00}"} {
			mustApply(t, db.Records(), partition, storetest.PutNew("n\x00\xff", names[i]))
			if l, err := db.Records().List(t.Context(), partition, store.Query{Prefix: "n\x00"}); err != nil || len(l) != 1 || string(l[0].Value) != names[i] {
				t.Errorf("%q of %q: got %v, %v", partition, names[i], l, err)
			}
		}
	}
	o.Prefix = "a{00}"
	if _, err := Open(t.Context(), o); err == nil {
		t.Error("a prefix with a brace was taken")
	}
}
