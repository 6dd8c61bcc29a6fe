package authcore_test

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"latchkey/authcore"
	"latchkey/authcore/authtest"
	"latchkey/authcore/sample"
	"latchkey/authcore/store"
	"latchkey/authcore/store/storetest"
	"latchkey/policy"
)

// overs are what ends the session of a person, by somebody else or by himself elsewhere.
func overs() map[string]func(t testing.TB, s *stage) {
	return map[string]func(t testing.TB, s *stage){
		"signed out everywhere": func(t testing.TB, s *stage) {
			if _, err := s.SignOutEverywhere(t.Context(), authtest.Operator(), s.address("account")); err != nil {
				t.Error(err)
			}
		},
		"a new password": func(t testing.TB, s *stage) {
			if _, _, err := s.ResetPassword(t.Context(), authtest.Operator(), s.address("account"), false); err != nil {
				t.Error(err)
			}
		},
		"suspended": func(t testing.TB, s *stage) {
			if _, err := s.Suspend(t.Context(), authtest.Operator(), s.address("account")); err != nil {
				t.Error(err)
			}
		},
	}
}

// A session that is ended while it links a number links none: whoever was signed out keeps no way back in.
func TestEndedSessionLinksNoNumber(t *testing.T) {
	for name, end := range overs() {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, nil).phones(t)
			a := s.actor(t, "account")
			asked, err := s.LinkPhone(t.Context(), a, number)
			if err != nil {
				t.Fatal(err)
			}
			var once atomic.Bool
			s.fail(func(partition string, _ []store.Op) storetest.Fault {
				if strings.HasPrefix(partition, "c:") && once.CompareAndSwap(false, true) {
					end(t, s)
				}
				return storetest.NoFault
			})
			_, err = s.ConfirmPhoneLink(t.Context(), a, asked.Ticket, secretOf(s.Code(t, sample.Old, number)))
			s.fail(nil)
			if !denied(err, authcore.NotSignedIn) || !once.Load() {
				t.Errorf("got %v", err)
			}
			if err := s.link(t, s.actor(t, "app-only"), number); err != nil {
				t.Errorf("the number is not free: %v", err)
			}
		})
	}
}

// What is denied while a number is being linked is linked no more.
func TestNumberIsNotLinkedOnceDenied(t *testing.T) {
	s := newStage(t, nil).phones(t)
	a := s.actor(t, "account")
	asked, err := s.LinkPhone(t.Context(), a, number)
	if err != nil {
		t.Fatal(err)
	}
	var once atomic.Bool
	s.fail(func(partition string, _ []store.Op) storetest.Fault {
		if strings.HasPrefix(partition, "c:") && once.CompareAndSwap(false, true) {
			s.policy(t, sample.Old, func(p *policy.Policy) { p.SignIn.Phone = policy.Deny })
		}
		return storetest.NoFault
	})
	_, err = s.ConfirmPhoneLink(t.Context(), a, asked.Ticket, secretOf(s.Code(t, sample.Old, number)))
	s.fail(nil)
	if !denied(err, authcore.WayDenied) || s.linked(t, a).Masked != "" {
		t.Errorf("got %v, linked %q", err, s.linked(t, a).Masked)
	}
}

// The same at a provider, which may take its time to answer.
func TestEndedSessionLinksNoProvider(t *testing.T) {
	t.Parallel()
	for name, end := range overs() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newProviderStage(t, nil)
			a := s.Actor(t, "account")
			b, err := s.LinkProvider(t.Context(), a, "corp")
			if err != nil {
				t.Fatal(err)
			}
			given := s.corp.Authorize(t, b.AuthorizeURL, "subject")
			s.corp.Lock()
			s.corp.Serve = func(w http.ResponseWriter, q *http.Request, rest http.HandlerFunc) {
				if q.URL.Path == "/token" {
					end(t, s.stage)
				}
				rest(w, q)
			}
			s.corp.Unlock()
			if _, err := s.LinkProviderCallback(t.Context(), a, "corp", b.Ticket, given); !denied(err, authcore.NotSignedIn) {
				t.Errorf("got %v", err)
			}
			if _, err := s.come(t, "corp", "subject"); !denied(err, authcore.NotLinked) {
				t.Errorf("the account signs in: %v", err)
			}
			if err := s.link(t, s.Actor(t, "admin"), "corp", "subject"); err != nil {
				t.Errorf("the account is not free: %v", err)
			}
		})
	}
}
