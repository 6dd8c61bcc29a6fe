package authcore_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/authtest"
	"latchkey/authcore/session"
	"latchkey/authcore/store"
	"latchkey/authcore/store/memory"
)

// sooner is an Ephemeral that removes without being waited for: a moment later, or not at all.
type sooner struct {
	store.Ephemeral
	fails atomic.Bool
	asked atomic.Int64
}

func (s *sooner) RemoveSoon(k store.Key, member string, done func(error)) {
	s.asked.Add(1)
	go func() {
		time.Sleep(time.Millisecond)
		if s.fails.Load() {
			done(store.ErrUnavailable)
			return
		}
		done(s.Remove(context.Background(), k, member))
	}()
}

// The seat of a session that ended is free a moment later; one that could not be given back is owed until it is.
func TestEndGivesItsSeatBackSoon(t *testing.T) {
	for name, c := range map[string]struct {
		fails bool
		after time.Duration
	}{
		"given back": {false, 2 * time.Millisecond},
		"owed":       {true, 5 * time.Second}, // two heartbeats
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				soon, ahead := &sooner{}, time.Until(sampleDay)
				s := newFleet(t, 2, func(o *authcore.Options) {
					o.Now = func() time.Time { return time.Now().Add(ahead) }
					o.Records = memory.NewRecords(memory.Options{Now: o.Now})
					soon.Ephemeral = memory.NewEphemeral(memory.Options{Now: o.Now})
					o.Ephemeral, o.StoreTime = soon, authcore.DefaultStoreTime
				})
				time.Sleep(3 * time.Second)
				a := authtest.Attempt("imap", s.address("opted-in"), s.app("opted-in"))
				var in []authcore.Decision
				for range session.DefaultPerDoor {
					in = append(in, s.at(t, 0, a))
				}
				soon.fails.Store(c.fails)
				began := time.Now()
				for _, d := range in {
					s.nodes[0].Ended(t.Context(), d.Session, authcore.End{})
				}
				if took := time.Since(began); took != 0 || soon.asked.Load() != session.DefaultPerDoor {
					t.Errorf("the ends of %d took %v, and %d were removed soon", len(in), took, soon.asked.Load())
				}
				if d := s.at(t, 1, a); d.Reason != authcore.TooManyConnections {
					t.Errorf("while the seats are taken: %q", d.Reason)
				}
				time.Sleep(c.after)
				synctest.Wait()
				for i := range session.DefaultPerDoor {
					if d := s.at(t, 1, a); !d.Allowed() {
						t.Errorf("session %d after that: %q", i, d.Reason)
					}
				}
			})
		})
	}
}
