package authtest

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"latchkey/authcore/apppass"
	"latchkey/authcore/member"
	"latchkey/authcore/password"
	"latchkey/authcore/store"
)

// Ends are Records that fail the test when a batch ends sessions at the doors, by an epoch or by a credential that is gone,
// and does not put the record by which other nodes find it when its message is lost.
type Ends struct {
	store.Records
	T testing.TB
}

// Apply keeps store.Records.
func (e Ends) Apply(ctx context.Context, partition string, ops ...store.Op) (int64, error) {
	var ending []string
	for _, op := range ops {
		if e.ends(ctx, partition, op) {
			ending = append(ending, op.Name)
		}
	}
	rev, err := e.Records.Apply(ctx, partition, ops...)
	if errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrInvalid) || len(ending) == 0 {
		return rev, err
	}
	if !slices.ContainsFunc(ops, func(op store.Op) bool { return op.Kind == store.Put && op.Name == "revoked" }) {
		e.T.Errorf("a batch ends sessions by %v and does not put \"revoked\"", ending)
	}
	return rev, err
}

// ApplySoon keeps store.SoonApplier: what nobody waits for is a sign-in's record, and ends nothing.
func (e Ends) ApplySoon(ctx context.Context, partition string, ops []store.Op, done func(int64, error)) {
	for _, op := range ops {
		if e.ends(ctx, partition, op) {
			e.T.Errorf("a batch that nobody waits for ends sessions by %s", op.Name)
		}
	}
	store.ApplySoon(ctx, e.Records, partition, ops, done)
}

// ends compares an operation with the record that is there.
func (e Ends) ends(ctx context.Context, partition string, op store.Op) bool {
	kind, _, _ := strings.Cut(op.Name, "/")
	if op.Kind == store.Check || !slices.Contains([]string{"member", "domain", "password", "app-passwords", "ended"}, kind) {
		return false
	}
	if kind == "ended" {
		return true
	}
	old, err := e.Records.Get(ctx, store.Key{Partition: partition, Name: op.Name})
	if err != nil {
		return false
	}
	switch kind {
	case "member":
		return changed(old, op, func(was, is member.Member) bool { return was.AtDoors() != is.AtDoors() })
	case "domain":
		return changed(old, op, func(was, is member.Domain) bool {
			return was.Epoch != is.Epoch || slices.ContainsFunc(was.Doors, func(d string) bool { return was.DoorEpoch(d) != is.DoorEpoch(d) })
		})
	case "password":
		return changed(old, op, func(was, is password.Record) bool { return was.Epoch != is.Epoch })
	default:
		return changed(old, op, func(was, is apppass.Record) bool {
			return slices.ContainsFunc(was.Items, func(i apppass.Item) bool { return !is.Has(i.ID) })
		})
	}
}

// changed says whether what was and what the operation leaves differ; a deleted record leaves nothing.
func changed[T any](old store.Record, op store.Op, differ func(was, is T) bool) bool {
	var was, is T
	if json.Unmarshal(old.Value, &was) != nil || op.Kind == store.Put && json.Unmarshal(op.Value, &is) != nil {
		return false // what nobody can read ends nothing
	}
	return differ(was, is)
}
