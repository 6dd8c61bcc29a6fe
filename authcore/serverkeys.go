package authcore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"latchkey/authcore/member"
	"latchkey/authcore/secret"
	"latchkey/authcore/store"
)

// The record of the server keys names those that anything in this store was ever made with, and a check of each, so that
// a process with others is refused before it makes what the rest cannot read. In a fleet a key is used only once it is
// noted there, and noted only once every living node holds it: a node says what it holds before it reads the record, and
// whoever notes a key looks at the nodes again before using it, so that neither misses the other.

// KeyHeld is a server key as a node tells that it holds it.
type KeyHeld = secret.Check

// KeysHeld answers those of keys.
func KeysHeld(keys *secret.Keys) []KeyHeld { return keys.Checks() }

// UsedKeysKey names the record.
var UsedKeysKey = store.Key{Partition: member.Root, Name: "server-keys"}

// UsedKeys is what the record holds.
type UsedKeys struct {
	IDs    []string          `json:"ids"`              // of those that records hang on, the oldest first
	Sign   []string          `json:"sign,omitempty"`   // of those that may sign in a fleet
	Checks map[string]string `json:"checks,omitempty"` // by id
}

// has says that the key is noted.
func (u UsedKeys) has(id string) bool {
	return slices.Contains(u.IDs, id) || slices.Contains(u.Sign, id)
}

// ReadUsedKeys reads the record, and its revision.
func ReadUsedKeys(ctx context.Context, db store.Records) (UsedKeys, int64, error) {
	var used UsedKeys
	rec, err := db.Get(ctx, UsedKeysKey)
	if errors.Is(err, store.ErrNotFound) {
		return used, 0, nil
	}
	if err == nil {
		err = json.Unmarshal(rec.Value, &used)
	}
	if err != nil {
		return used, 0, fmt.Errorf("read which server keys are needed: %w", err)
	}
	return used, rec.Revision, nil
}

// ErrKeysDiffer: the file of server keys is not the one that this store needs.
var ErrKeysDiffer = errors.New("the server keys are not those of this store")

// CheckUsedKeys refuses keys, of a file, that lack what the record needs, or have another key under the same name. Where
// several share the store it refuses an old one too that the others do not have: it would name things otherwise.
func CheckUsedKeys(keys *secret.Keys, used UsedKeys, file string, shared bool) error {
	held := map[string]KeyHeld{}
	var missing, other, extra []string
	for _, k := range keys.Checks() {
		held[k.ID] = k
		if want := used.Checks[k.ID]; want != "" && want != k.Value {
			other = append(other, k.ID)
		}
	}
	for _, id := range slices.Concat(used.IDs, used.Sign) {
		if _, ok := held[id]; !ok {
			missing = append(missing, id)
		}
	}
	if shared {
		extra = unknownOld(keys, used)
	}
	return keysRefusal(file, missing, other, extra)
}

func keysRefusal(file string, missing, other, extra []string) error {
	var why []string
	if len(missing) > 0 {
		why = append(why, fmt.Sprintf("lacks %s, which app passwords were made with: bring the file back that holds it", strings.Join(missing, ", ")))
	}
	if len(other) > 0 {
		why = append(why, fmt.Sprintf("has %s under the name of another key: bring the file of this installation", strings.Join(other, ", ")))
	}
	if len(extra) > 0 {
		why = append(why, fmt.Sprintf("has %s, older than a key in use, which the other nodes do not have: copy the file of one of them", strings.Join(extra, ", ")))
	}
	if len(why) == 0 {
		return nil
	}
	return fmt.Errorf("server keys: %s %s: %w", file, strings.Join(why, "; it "), ErrKeysDiffer)
}

// unknownOld names the keys for fingerprints that are not noted though a newer one is.
func unknownOld(keys *secret.Keys, used UsedKeys) (l []string) {
	older := false
	for _, k := range keys.Checks() {
		switch {
		case k.Kind != "mac":
		case used.has(k.ID):
			older = true
		case older:
			l = append(l, k.ID)
		}
	}
	return l
}

// NoteKeys notes the current keys, and checks of all that are needed.
func NoteKeys(ctx context.Context, db store.Records, keys *secret.Keys) error {
	return noteKeys(ctx, db, keys, []string{keys.CurrentMAC()}, nil)
}

func noteKeys(ctx context.Context, db store.Records, keys *secret.Keys, macs, signs []string) error {
	used, rev, err := ReadUsedKeys(ctx, db)
	if err != nil {
		return err
	}
	changed := false
	add := func(l *[]string, ids []string) {
		for _, id := range ids {
			if !slices.Contains(*l, id) {
				*l, changed = append(*l, id), true
			}
		}
	}
	add(&used.IDs, macs)
	add(&used.Sign, signs)
	for _, k := range keys.Checks() {
		if used.has(k.ID) && used.Checks[k.ID] == "" {
			if used.Checks == nil {
				used.Checks = map[string]string{}
			}
			used.Checks[k.ID], changed = k.Value, true
		}
	}
	if !changed {
		return nil
	}
	if _, err := db.Apply(ctx, member.Root, member.PutOp(UsedKeysKey, used, rev)); err != nil {
		return fmt.Errorf("note the server keys: %w", err)
	}
	return nil
}

// ForgetKey notes that a key is needed no more.
func ForgetKey(ctx context.Context, db store.Records, id string) error {
	used, rev, err := ReadUsedKeys(ctx, db)
	if err != nil || !used.has(id) {
		return err
	}
	is := func(x string) bool { return x == id }
	used.IDs, used.Sign = slices.DeleteFunc(used.IDs, is), slices.DeleteFunc(used.Sign, is)
	delete(used.Checks, id)
	if _, err := db.Apply(ctx, member.Root, member.PutOp(UsedKeysKey, used, rev)); err != nil {
		return fmt.Errorf("note that a server key is needed no more: %w", err)
	}
	return nil
}

// unnoted names the keys that are not to be used yet.
func unnoted(keys *secret.Keys, used UsedKeys) (l []string) {
	for _, k := range keys.Checks() {
		if !used.has(k.ID) {
			l = append(l, k.ID)
		}
	}
	return l
}

// JoinKeys makes keys those of a process that shares the store: what is not noted is held back. Of a store in which
// nothing was noted all are used.
func JoinKeys(ctx context.Context, db store.Records, keys *secret.Keys) error {
	used, _, err := ReadUsedKeys(ctx, db)
	if err != nil {
		return err
	}
	if len(used.IDs) == 0 || len(used.Sign) == 0 {
		var macs, signs []string
		for _, k := range keys.Checks() {
			if k.Kind == "mac" && len(used.IDs) == 0 {
				macs = append(macs, k.ID)
			}
			if k.Kind == "sign" && len(used.Sign) == 0 {
				signs = append(signs, k.ID)
			}
		}
		slices.Reverse(macs)
		if err := noteKeys(ctx, db, keys, macs, signs); err != nil {
			return err
		}
		if used, _, err = ReadUsedKeys(ctx, db); err != nil {
			return err
		}
	}
	keys.Hold(unnoted(keys, used))
	return nil
}

// Join says that this node lives and what keys it holds, and then refuses to go on when they are not the fleet's. It is
// called before anything is made with them.
func (c *Core) Join(ctx context.Context, file string) error {
	if !c.told() {
		return nil
	}
	if err := c.beat(ctx); err != nil {
		return err
	}
	used, _, err := ReadUsedKeys(ctx, c.o.Records)
	if err == nil {
		err = CheckUsedKeys(c.o.Keys, used, file, true)
	}
	if err == nil {
		err = c.holdLacking(ctx)
	}
	if err != nil {
		c.depart(ctx)
	}
	return err
}

// holdLacking holds back what another living node lacks: it came between the noting of a key and the second look at the
// nodes, and whoever noted it has not used it, or died.
func (c *Core) holdLacking(ctx context.Context) error {
	lacking, err := c.Lacking(ctx)
	if err != nil {
		return err
	}
	c.o.Keys.Hold(slices.Collect(maps.Keys(lacking)))
	return nil
}

func (f *fleet) differs(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.differ = err
}

// KeysLacking says what is wrong with the server keys of this process since it joined: keys were rotated while it was cut
// off. What was made with a key that it lacks it can neither let in nor refuse.
func (c *Core) KeysLacking() error {
	if c.fleet == nil {
		return nil
	}
	c.fleet.mu.Lock()
	defer c.fleet.mu.Unlock()
	return c.fleet.differ
}

// agreeOnKeys uses what all nodes hold by now. It is asked with every heartbeat.
func (c *Core) agreeOnKeys(ctx context.Context) {
	if err := c.keysAgreed(ctx); err != nil && ctx.Err() == nil && !errors.Is(err, store.ErrConflict) {
		c.log.Warn("agree on the server keys", "error", err)
	}
}

func (c *Core) keysAgreed(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, beatFor)
	defer cancel()
	used, _, err := ReadUsedKeys(ctx, c.o.Records)
	if err != nil {
		return err
	}
	err = CheckUsedKeys(c.o.Keys, used, "this node's file", true)
	c.fleet.differs(err)
	if err != nil {
		return err
	}
	pending := c.o.Keys.HeldBack()
	if len(pending) == 0 {
		return nil
	}
	shared, err := c.sharedKeys(ctx, pending)
	if err != nil || len(shared) == 0 {
		return err
	}
	macs, signs := byKind(c.o.Keys, shared)
	if err := noteKeys(ctx, c.o.Records, c.o.Keys, macs, signs); err != nil {
		return err
	}
	if shared, err = c.sharedKeys(ctx, shared); err != nil { // of those who came meanwhile too
		return err
	}
	c.o.Keys.Free(shared)
	if len(shared) > 0 {
		c.log.Info("every node holds these server keys: they are used from now on", "keys", strings.Join(shared, " "))
	}
	return nil
}

// TakeKeys has this process use keys. In a fleet what is new among them is held back until all nodes hold it.
func (c *Core) TakeKeys(next *secret.Keys) {
	if c.fleet != nil {
		back := c.o.Keys.HeldBack()
		var fresh []string
		for _, k := range next.Checks() {
			if !c.o.Keys.Has(k.ID) || slices.Contains(back, k.ID) {
				fresh = append(fresh, k.ID)
			}
		}
		next.Hold(fresh)
	}
	c.o.Keys.Take(next)
}

// sharedKeys answers those of ids that every living node holds.
func (c *Core) sharedKeys(ctx context.Context, ids []string) (l []string, err error) {
	nodes, err := c.liveNodes(ctx)
	if err != nil {
		return nil, err
	}
	for _, k := range c.o.Keys.Checks() {
		all := slices.Contains(ids, k.ID)
		for _, n := range nodes {
			all = all && slices.Contains(n.Keys, k)
		}
		if all {
			l = append(l, k.ID)
		}
	}
	return l, nil
}

func byKind(keys *secret.Keys, ids []string) (macs, signs []string) {
	for _, k := range keys.Checks() {
		switch {
		case !slices.Contains(ids, k.ID):
		case k.Kind == "mac":
			macs = append(macs, k.ID)
		default:
			signs = append(signs, k.ID)
		}
	}
	slices.Reverse(macs) // the oldest first
	return macs, signs
}

// Lacking names the other living nodes that do not hold a key of this process, by the key.
func (c *Core) Lacking(ctx context.Context) (map[string][]string, error) {
	if c.fleet == nil {
		return nil, nil
	}
	nodes, err := c.liveNodes(ctx)
	if err != nil {
		return nil, err
	}
	l := map[string][]string{}
	for _, k := range c.o.Keys.Checks() {
		for _, n := range nodes {
			if n.Process != c.fleet.process && !slices.Contains(n.Keys, k) {
				l[k.ID] = append(l[k.ID], n.Name)
			}
		}
	}
	return l, nil
}

// Others names the living nodes beside this process.
func (c *Core) Others(ctx context.Context) (l []string, err error) {
	if c.fleet == nil {
		return nil, nil
	}
	nodes, err := c.liveNodes(ctx)
	for _, n := range nodes {
		if n.Process != c.fleet.process {
			l = append(l, n.Name)
		}
	}
	return l, err
}
