package api_test

import (
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/store"
	"latchkey/authcore/store/memory"
	"latchkey/authcore/store/storetest"
	"latchkey/policy/admin"
	"latchkey/policy/api"
	"latchkey/policy/self"
)

const key = "8e03978e-40d5-43dd-bc93-6894a57f9324"

// creations are the operations that take a key: by whom, with what, and where what they made is listed.
func creations() map[string]struct {
	who, path, list string
	body            m
} {
	return map[string]struct {
		who, path, list string
		body            m
	}{
		"app password": {"account", "/me/app-passwords", "/me/app-passwords", m{"name": "Phone"}},
		"API token":    {"admin", "/me/api-tokens", "/me/api-tokens", m{"name": "Deploy", "scopes": []string{"read"}}},
		"member":       {"admin", "/domains/old.example/members", "/domains/old.example/members?q=fresh", m{"address": "fresh@old.example"}},
		"domain":       {"operator", "/domains", "/domains", m{"name": "third.example"}},
	}
}

// The same key and request answer the same, and do it once; racing ones too.
func TestIdempotency(t *testing.T) {
	t.Parallel()
	for name, c := range creations() {
		t.Run(name, func(t *testing.T) {
			h := open(t, nil)
			token := h.token(t, c.who)
			list := func() int { return len(h.call(t, token, "GET", c.list, nil).items()) }
			before := list()
			first := h.call(t, token, "POST", c.path, c.body, "Idempotency-Key", `"`+key+`"`).is(201)
			for _, k := range []string{`"` + key + `"`, key} {
				if again := h.call(t, token, "POST", c.path, c.body, "Idempotency-Key", k).is(201); string(again.body) != string(first.body) {
					t.Errorf("first\n%s, again\n%s", first.body, again.body)
				}
			}
			if got := list(); got != before+1 {
				t.Errorf("%d were made", got-before)
			}
			other := m{}
			for k, v := range c.body {
				other[k] = v
			}
			other["name"] = "other.example"
			h.call(t, token, "POST", c.path, other, "Idempotency-Key", key).is(422, "idempotency_mismatch")
			h.call(t, token, "POST", c.path, c.body, "Idempotency-Key", "short").is(422, "invalid")
			h.call(t, token, "POST", c.path, c.body, "Idempotency-Key", key+" "+key).is(422, "invalid")
		})
	}
}

func TestIdempotencyUnderARace(t *testing.T) {
	t.Parallel()
	for name, c := range creations() {
		t.Run(name, func(t *testing.T) {
			h := open(t, nil)
			token := h.token(t, c.who)
			list := func() int { return len(h.call(t, token, "GET", c.list, nil).items()) }
			before := list()
			bodies := race(100, func(int) string {
				return string(h.call(t, token, "POST", c.path, c.body, "Idempotency-Key", key).is(201).body)
			})
			if got := list(); got != before+1 || len(bodies) != 1 {
				t.Errorf("%d were made, %d different answers", got-before, len(bodies))
			}
		})
	}
}

// What broke after it was written is not done again.
func TestIdempotencyAfterABreak(t *testing.T) {
	t.Parallel()
	for name, c := range creations() {
		for _, fault := range []storetest.Fault{storetest.FailBefore, storetest.FailAfter} {
			t.Run(name, func(t *testing.T) {
				var breaks func(ops []store.Op) storetest.Fault
				h := open(t, func(o *authcore.Options) {
					o.Records = &storetest.Faulty{Records: o.Records, OnApply: func(_ string, ops []store.Op) storetest.Fault {
						if breaks != nil {
							return breaks(ops)
						}
						return storetest.NoFault
					}}
				})
				token := h.token(t, c.who)
				list := func() int { return len(h.call(t, token, "GET", c.list, nil).items()) }
				before := list()
				breaks = func(ops []store.Op) storetest.Fault {
					for _, op := range ops {
						if strings.HasPrefix(op.Name, "idempotency/") {
							breaks = nil
							return fault
						}
					}
					return storetest.NoFault
				}
				first := h.call(t, token, "POST", c.path, c.body, "Idempotency-Key", key)
				if want := map[storetest.Fault]int{storetest.FailBefore: 503, storetest.FailAfter: 201}[fault]; first.status != want {
					t.Errorf("first: %d, want %d", first.status, want)
				}
				h.call(t, token, "POST", c.path, c.body, "Idempotency-Key", key).is(201)
				if got := list(); got != before+1 {
					t.Errorf("%d were made", got-before)
				}
			})
		}
	}
}

// Whichever write of a creation is not acknowledged, done or not: sent again with its key it comes to one creation and to
// the answer of it.
func TestIdempotencyAfterABreakAtEveryWrite(t *testing.T) {
	t.Parallel()
	for name, c := range creations() {
		for _, fault := range []storetest.Fault{storetest.FailBefore, storetest.FailAfter} {
			t.Run(name+" "+fault.String(), func(t *testing.T) {
				for at := 1; at == 1 || !breakAtWrite(t, c.who, c.path, c.list, c.body, at, fault); at++ {
					if at > 20 {
						t.Fatal("it never ends")
					}
				}
			})
		}
	}
}

// breakAtWrite answers whether there was no such write.
func breakAtWrite(t *testing.T, who, path, list string, body m, at int, fault storetest.Fault) (none bool) {
	t.Helper()
	var writes, breaks atomic.Int64
	h := open(t, func(o *authcore.Options) {
		o.Records = &storetest.Faulty{Records: o.Records, OnApply: func(string, []store.Op) storetest.Fault {
			if breaks.Load() > 0 && writes.Add(1) == breaks.Load() {
				return fault
			}
			return storetest.NoFault
		}}
	})
	token := h.token(t, who)
	count := func() int { return len(h.call(t, token, "GET", list, nil).items()) }
	before := count()
	breaks.Store(int64(at))
	first := h.call(t, token, "POST", path, body, "Idempotency-Key", key)
	none = writes.Load() < int64(at)
	breaks.Store(0)
	switch {
	case first.status == 503:
		if first.header.Get("Retry-After") == "" || !strings.Contains(string(first.body), "same Idempotency-Key") {
			t.Errorf("write %d: %v %s", at, first.header, first.body)
		}
	case first.status != 201:
		t.Errorf("write %d: %d %s", at, first.status, first.body)
	}
	second := h.call(t, token, "POST", path, body, "Idempotency-Key", key).is(201)
	third := h.call(t, token, "POST", path, body, "Idempotency-Key", key).is(201)
	if string(second.body) != string(third.body) || first.status == 201 && string(first.body) != string(second.body) {
		t.Errorf("write %d: answered %s, then %s, then %s", at, first.body, second.body, third.body)
	}
	if got := count(); got != before+1 {
		t.Errorf("write %d: %d were made", at, got-before)
	}
	return none
}

// A key is one member's, for a day, and its answer is asked for with the same rights.
func TestIdempotencyIsTheMembersOwn(t *testing.T) {
	t.Parallel()
	h := open(t, func(o *authcore.Options) { o.Records = memory.NewRecords(memory.Options{Now: o.Now}) })
	one, two := h.token(t, "account"), h.token(t, "admin")
	first := h.call(t, one, "POST", "/me/app-passwords", m{"name": "Phone"}, "Idempotency-Key", key).is(201)
	if other := h.call(t, two, "POST", "/me/app-passwords", m{"name": "Phone"}, "Idempotency-Key", key).is(201); other.text("id") == first.text("id") {
		t.Error("another member got the answer")
	}
	h.clock.pass(11 * time.Minute)
	h.call(t, one, "POST", "/me/app-passwords", m{"name": "Phone"}, "Idempotency-Key", key).is(403, "reauthentication_required")
	h.clock.pass(24 * time.Hour)
	if later := h.call(t, h.token(t, "account"), "POST", "/me/app-passwords", m{"name": "Phone"}, "Idempotency-Key", key).is(201); later.text("id") == first.text("id") {
		t.Error("a key is remembered for more than a day")
	}
}

func TestRates(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	token, other := h.token(t, "account"), h.token(t, "admin")
	s := httptest.NewServer(api.New(api.Options{Core: h.Core.Core, Rates: api.Rates{PerMember: 40, PerSource: 120}, Now: h.clock.now}, self.Register, admin.Register))
	defer s.Close()
	h.url = s.URL
	for range 10 {
		h.call(t, token, "GET", "/me", nil).is(200)
	}
	if a := h.call(t, token, "GET", "/me", nil).is(429, "throttled"); a.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	h.call(t, other, "GET", "/me", nil).is(200)
	for range 18 {
		h.call(t, "", "GET", "/me", nil).is(401)
	}
	for _, path := range []string{"/me", "/nothing", "/sign-in"} {
		h.call(t, other, "GET", path, nil).is(429, "throttled")
	}
}
