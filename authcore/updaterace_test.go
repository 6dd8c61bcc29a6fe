package authcore_test

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"latchkey/authcore"
	"latchkey/authcore/authtest"
)

// TestUpdateMemberOverRevisionRaces: changes over the same revision that meet each other were retried past the condition,
// so that more than one was saved.
func TestUpdateMemberOverRevisionRaces(t *testing.T) {
	t.Parallel()
	const racers = 8
	c := authtest.New(t, nil)
	a := authtest.Operator()
	for round := range 50 {
		p, err := c.MemberOf(t.Context(), a, "account@old.example")
		if err != nil {
			t.Fatal(err)
		}
		var saved atomic.Int32
		var wait sync.WaitGroup
		for i := range racers {
			wait.Go(func() {
				name := fmt.Sprint("Name ", round, i)
				_, err := c.UpdateMember(t.Context(), a, "account@old.example", authcore.MemberChange{Name: &name}, p.Revision)
				var d *authcore.Denial
				switch {
				case err == nil:
					saved.Add(1)
				case !errors.As(err, &d) || d.Reason != authcore.RevisionMismatch:
					t.Errorf("round %d: %v", round, err)
				}
			})
		}
		wait.Wait()
		if n := saved.Load(); n != 1 {
			t.Fatalf("round %d: %d of %d were saved over one revision", round, n, racers)
		}
	}
}
