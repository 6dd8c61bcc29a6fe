package authcore_test

import (
	"encoding/json"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/apppass"
	"latchkey/authcore/authtest"
	"latchkey/authcore/secret"
	"latchkey/authcore/store"
	"latchkey/authcore/store/storetest"
)

// copied is the same keys as another process holds them: read from the file.
func copied(t *testing.T, k *secret.Keys) *secret.Keys {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keys.json")
	if err := k.Create(path); err != nil {
		t.Fatal(err)
	}
	l, err := secret.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestCheckUsedKeys(t *testing.T) {
	now := time.Now()
	keys, err := secret.NewKeys(now)
	must(t, err)
	newer, err := keys.Rotated(now, true, false)
	must(t, err)
	other, err := secret.NewKeys(now)
	must(t, err)
	id := keys.CurrentMAC()
	used := func(k *secret.Keys) (u authcore.UsedKeys) {
		u.Checks = map[string]string{}
		for _, c := range k.Checks() {
			u.Checks[c.ID] = c.Value
			if c.Kind == "mac" {
				u.IDs = append(u.IDs, c.ID)
			}
		}
		return u
	}
	disguised := used(keys)
	disguised.Checks[id] = used(other).Checks[other.CurrentMAC()]
	onlyNewer := used(newer)
	onlyNewer.IDs = slices.DeleteFunc(onlyNewer.IDs, func(x string) bool { return x == id })
	for _, c := range []struct {
		name   string
		keys   *secret.Keys
		used   authcore.UsedKeys
		shared bool
		want   string
	}{
		{"nothing noted", keys, authcore.UsedKeys{}, true, ""},
		{"the same", keys, used(keys), true, ""},
		{"noted before there were checks", keys, authcore.UsedKeys{IDs: []string{id}}, true, ""},
		{"a newer one, not used yet", newer, used(keys), true, ""},
		{"one is missing", keys, used(newer), true, "lacks " + newer.CurrentMAC()},
		{"another key of that name", keys, disguised, false, "has " + id + " under the name of another key"},
		{"others altogether", other, used(keys), true, "lacks " + id},
		{"an older one that the others dropped", newer, onlyNewer, true, "has " + id + ", older than a key in use"},
		{"which one process alone may have", newer, onlyNewer, false, ""},
	} {
		err := authcore.CheckUsedKeys(c.keys, c.used, "/etc/latchkey/keys.json", c.shared)
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.want != "" && (!errors.Is(err, authcore.ErrKeysDiffer) || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
}

// Three nodes, one of which lacks the new key: nothing is made with it until that one has it.
func TestNewKeyWaitsForAllNodes(t *testing.T) {
	inFleet(t, 1, func(t *testing.T, s *fleetOf) {
		ctx := t.Context()
		must(t, authcore.JoinKeys(ctx, s.Records, s.Keys))
		all := []*secret.Keys{s.Keys}
		for range 2 {
			k := copied(t, s.Keys)
			must(t, authcore.JoinKeys(ctx, s.Records, k))
			all = append(all, k)
			must(t, s.add(t, func(o *authcore.Options) { o.Keys = k }).Join(ctx, "keys.json"))
		}
		old := s.Keys.CurrentMAC()
		next, err := s.Keys.Rotated(time.Now(), true, true)
		must(t, err)
		fresh := next.CurrentMAC()
		rest := func(want ...string) {
			t.Helper()
			time.Sleep(10 * time.Second)
			synctest.Wait()
			for i, k := range all {
				if got := k.CurrentMAC(); got != want[i] {
					t.Errorf("node %d makes things with %s, want %s", i, got, want[i])
				}
			}
		}
		s.nodes[0].TakeKeys(copied(t, next))
		rest(old, old, old)
		s.nodes[1].TakeKeys(copied(t, next))
		rest(old, old, old)
		if l, err := s.nodes[0].Lacking(ctx); err != nil || !slices.Equal(l[fresh], []string{"node-2"}) {
			t.Errorf("lacking: %v, %v", l, err)
		}
		if signs := s.Keys.SigningAt(time.Now().Add(48 * time.Hour)).ID; signs != s.Keys.Checks()[2+1].ID {
			t.Errorf("a token would be signed with %s", signs)
		}
		// From now on a node needs it to come in, as it needs those before.
		s.nodes[2].TakeKeys(copied(t, next))
		rest(fresh, fresh, fresh)
		late := s.add(t, func(o *authcore.Options) { o.Keys = copied(t, all[0]) })
		must(t, late.Join(ctx, "keys.json"))
		lacks, err := next.Without(old, time.Now())
		must(t, err)
		bad := s.add(t, func(o *authcore.Options) { o.Keys = lacks })
		if err := bad.Join(ctx, "keys.json"); !errors.Is(err, authcore.ErrKeysDiffer) || !strings.Contains(err.Error(), old) {
			t.Errorf("a node without %s: %v", old, err)
		}
	})
}

// A node that lacks the new key and says that it lives between the noting of it and the next look holds it back.
func TestKeyIsHeldForWhoCameMeanwhile(t *testing.T) {
	inFleet(t, 1, func(t *testing.T, s *fleetOf) {
		ctx := t.Context()
		must(t, authcore.JoinKeys(ctx, s.Records, s.Keys))
		old := copied(t, s.Keys)
		next, err := s.Keys.Rotated(time.Now(), true, false)
		must(t, err)
		came := false
		s.fail(func(partition string, ops []store.Op) storetest.Fault {
			if (store.Key{Partition: partition, Name: ops[0].Name}) == authcore.UsedKeysKey && !came {
				came = true
				node, _ := json.Marshal(authcore.Node{Process: "x/1", ID: "x", Name: "came", Keys: authcore.KeysHeld(old)})
				must(t, s.lossy.Put(ctx, store.Key{Partition: "nodes", Name: "node/x/1"}, node, time.Hour))
				_, err := s.lossy.Add(ctx, store.Key{Partition: "nodes", Name: "live"}, "x/1", 10*time.Second)
				must(t, err)
			}
			return storetest.NoFault
		})
		s.nodes[0].TakeKeys(copied(t, next))
		time.Sleep(7 * time.Second)
		synctest.Wait()
		if got := s.Keys.CurrentMAC(); !came || got != old.CurrentMAC() {
			t.Errorf("came %v: things are made with %s, which the one that came does not have", came, got)
		}
		time.Sleep(10 * time.Second) // it is refused, and gone
		synctest.Wait()
		if got := s.Keys.CurrentMAC(); got != next.CurrentMAC() {
			t.Errorf("afterwards: %s", got)
		}
	})
}

// A node that is taken for dead while a key is rotated misses it. When it is heard again it says that it cannot tell, and
// never that what was made under the new key is wrong.
func TestNodeThatMissedARotationRefusesNobody(t *testing.T) {
	inFleet(t, 1, func(t *testing.T, s *fleetOf) {
		ctx := t.Context()
		must(t, authcore.JoinKeys(ctx, s.Records, s.Keys))
		k := copied(t, s.Keys)
		must(t, authcore.JoinKeys(ctx, s.Records, k))
		must(t, s.add(t, func(o *authcore.Options) { o.Keys = k }).Join(ctx, "keys.json"))
		s.away[1].Store(true)
		time.Sleep(15 * time.Second)
		next, err := s.Keys.Rotated(time.Now(), true, false)
		must(t, err)
		s.nodes[0].TakeKeys(copied(t, next))
		time.Sleep(10 * time.Second)
		if got := s.Keys.CurrentMAC(); got != next.CurrentMAC() {
			t.Fatalf("things are made with %s, want %s", got, next.CurrentMAC())
		}
		_, fresh, err := s.nodes[0].CreateAppPassword(ctx, s.Actor(t, "opted-in"), apppass.Wish{Name: "new"})
		must(t, err)
		s.away[1].Store(false)
		time.Sleep(10 * time.Second)
		a := authtest.Attempt("imap", s.address("opted-in"), fresh.Reveal())
		if d := s.at(t, 0, a); !d.Allowed() {
			t.Errorf("where the key is: %q", d.Reason)
		}
		if d, err := s.nodes[1].Authenticate(ctx, a); err == nil || d.Reason != authcore.Unavailable {
			t.Errorf("where it is not: %q, %v", d.Reason, err)
		}
		if d := s.at(t, 1, authtest.Attempt("imap", s.address("opted-in"), s.app("opted-in"))); !d.Allowed() {
			t.Errorf("an app password of before: %q", d.Reason)
		}
		if lacks := s.nodes[1].KeysLacking(); lacks == nil || !strings.Contains(lacks.Error(), next.CurrentMAC()) {
			t.Errorf("what it says of its keys: %v", lacks)
		}
		s.nodes[1].TakeKeys(copied(t, next))
		time.Sleep(5 * time.Second)
		if d := s.at(t, 1, a); !d.Allowed() {
			t.Errorf("once it has it: %q", d.Reason)
		}
		if lacks := s.nodes[1].KeysLacking(); lacks != nil {
			t.Errorf("once it has it: %v", lacks)
		}
	})
}

// A key that is noted and that a living node lacks is held back by a node that starts, too.
func TestJoiningNodeHoldsWhatOthersLack(t *testing.T) {
	inFleet(t, 1, func(t *testing.T, s *fleetOf) {
		ctx := t.Context()
		must(t, authcore.JoinKeys(ctx, s.Records, s.Keys))
		next, err := s.Keys.Rotated(time.Now(), true, false)
		must(t, err)
		must(t, authcore.NoteKeys(ctx, s.Records, next)) // and then it died
		k := copied(t, next)
		must(t, authcore.JoinKeys(ctx, s.Records, k))
		must(t, s.add(t, func(o *authcore.Options) { o.Keys = k }).Join(ctx, "keys.json"))
		time.Sleep(10 * time.Second)
		if got := k.CurrentMAC(); got != s.Keys.CurrentMAC() {
			t.Errorf("things are made with %s, which the first node lacks", got)
		}
		s.nodes[0].TakeKeys(copied(t, next))
		time.Sleep(10 * time.Second)
		if got := k.CurrentMAC(); got != next.CurrentMAC() {
			t.Errorf("when all have it: %s", got)
		}
	})
}
