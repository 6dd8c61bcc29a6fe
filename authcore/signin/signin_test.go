package signin

import (
	"fmt"
	"slices"
	"testing"
)

func subsets(all []Method) (l [][]Method) {
	for bits := range 1 << len(all) {
		var s []Method
		for i, m := range all {
			if bits>>i&1 == 1 {
				s = append(s, m)
			}
		}
		l = append(l, s)
	}
	return l
}

var (
	both    = []bool{false, true}
	factors = []Factor{Password, Phone, QuickPIN, QuickBiometric, Passkey, "line", "oidc.acme"}
	states  = []State{SignedIn, TwoStepRequired, PasswordRequired, EnrolmentRequired, TwoStepUnavailable, ""}
	events  = []Event{SecondStepPassed, PasswordSet, MethodEnrolled, ""}
)

// everyFacts calls f with every combination of facts that makes a difference.
func everyFacts(f func(Facts)) {
	methods, enrollable := subsets([]Method{ByEmail, ByMobile, ByApp, ByRecovery, ByPasskey}), subsets([]Method{ByEmail, ByMobile, ByApp})
	for _, factor := range factors {
		for _, must := range both {
			for _, asked := range both {
				for _, have := range methods {
					for _, proven := range both {
						for _, managed := range both {
							for _, reset := range []Method{"", ByEmail, ByMobile} {
								for _, may := range enrollable {
									f(Facts{Factor: factor, MustChange: must, TwoStepAsked: asked, Methods: have, Proven: proven, Reset: reset, Managed: managed, Enrollable: may})
								}
							}
						}
					}
				}
			}
		}
	}
}

// walk follows every event from every step, the forbidden ones too, and hands each way to its end.
func walk(t *testing.T, f Facts, p Progress, way []Event, end func(way []Event, last Step)) {
	next := Next(f, p)
	if len(way) > 3 || next == nil {
		t.Fatalf("%+v: after %v comes %v", f, way, next)
	}
	on := 0
	for _, at := range states {
		for _, e := range events {
			q, err := Do(at, e, f, p)
			if err != nil {
				if q != p {
					t.Fatalf("%+v after %v: a refused %s at %s made %+v of %+v", f, way, e, at, q, p)
				}
				continue
			}
			if on++; on > 1 || at != next.State() || slices.Contains(way, e) {
				t.Fatalf("%+v after %v: %s at %s is done, the step is %v", f, way, e, at, next)
			}
			walk(t, f, q, append(slices.Clone(way), e), end)
		}
	}
	if on == 0 {
		end(way, next)
	}
}

// Every combination of facts, every event at every step. What is asserted here is said in other words than in the table.
func TestEveryWay(t *testing.T) {
	n := 0
	everyFacts(func(f Facts) {
		for _, trusted := range both {
			n++
			walk(t, f, Progress{Trusted: trusted}, nil, func(way []Event, last Step) {
				if bad := wrong(f, trusted, way, last); bad != "" {
					t.Fatalf("%s: %+v, trusted %v: %v, then %#v", bad, f, trusted, way, last)
				}
			})
		}
	})
	if n < 100_000 {
		t.Errorf("%d combinations were walked", n)
	}
}

func wrong(f Facts, trusted bool, way []Event, last Step) string {
	second, password, enrolled := slices.Index(way, SecondStepPassed), slices.Index(way, PasswordSet), slices.Index(way, MethodEnrolled)
	must := f.Factor == Password && f.MustChange
	switch last.(type) {
	case Missing:
		switch {
		case len(way) > 0:
			return "the account changed before the sign-in failed"
		case !f.TwoStepAsked:
			return "a method is missed that nobody asked for"
		}
		return ""
	case Done:
	default:
		return "a step leads nowhere"
	}
	switch {
	case (password >= 0) != must:
		return "a new password exactly where one must be set"
	case second >= 0 && second != 0:
		return "something was done before the second step"
	case f.TwoStepAsked && second < 0 && enrolled < 0 && !trusted:
		return "the second step was skipped"
	case f.TwoStepAsked && len(f.Methods) == 0 && enrolled < 0:
		return "enrolment was skipped"
	case enrolled >= 0 && (len(f.Methods) > 0 || f.Proven || f.Managed || second >= 0 || enrolled != len(way)-1):
		return "a method was enrolled in the place of the second step"
	case second >= 0 && (trusted || !f.TwoStepAsked || len(f.Methods) == 0):
		return "a second step that nobody asked for"
	}
	return ""
}

func TestMethodsOfAStep(t *testing.T) {
	all := []Method{ByEmail, ByMobile, ByApp, ByRecovery, ByPasskey}
	for _, c := range []struct {
		name string
		f    Facts
		want Step
	}{
		{"password", Facts{Factor: Password, Methods: all}, TwoStep{all}},
		{"phone, by e-mail only", Facts{Factor: Phone, Methods: []Method{ByEmail, ByMobile}}, TwoStep{[]Method{ByEmail}}},
		{"phone, or another method", Facts{Factor: Phone, Methods: all}, TwoStep{[]Method{ByEmail, ByApp, ByRecovery, ByPasskey}}},
		{"phone, no e-mail", Facts{Factor: Phone, Methods: []Method{ByMobile}}, Missing{}},
		{"phone, nothing yet", Facts{Factor: Phone, Enrollable: []Method{ByEmail, ByMobile, ByApp}}, Enrolment{[]Method{ByEmail, ByApp}}},
		{"phone, nothing but SMS", Facts{Factor: Phone, Enrollable: []Method{ByMobile}}, Missing{}},
		{"passkey", Facts{Factor: Passkey, Methods: []Method{ByEmail, ByPasskey}}, TwoStep{[]Method{ByEmail}}},
		{"passkey alone", Facts{Factor: Passkey, Methods: []Method{ByPasskey}}, Missing{}},
		{"LINE", Facts{Factor: "line", Methods: []Method{ByMobile}}, TwoStep{[]Method{ByMobile}}},
		{"reset by e-mail", Facts{Factor: Password, Reset: ByEmail, Methods: []Method{ByEmail, ByMobile}}, TwoStep{[]Method{ByMobile}}},
		{"reset by e-mail, no other", Facts{Factor: Password, Reset: ByEmail, Methods: []Method{ByEmail}}, TwoStep{[]Method{ByEmail}}},
		{"reset by e-mail, then LINE", Facts{Factor: "line", Reset: ByEmail, Methods: []Method{ByEmail, ByMobile}}, TwoStep{[]Method{ByEmail, ByMobile}}},
		{"nothing yet", Facts{Factor: Password, Enrollable: []Method{ByEmail}}, Enrolment{[]Method{ByEmail}}},
		{"nothing yet, profile managed elsewhere", Facts{Factor: Password, Managed: true, Enrollable: []Method{ByEmail}}, Missing{}},
		{"a contact saved, profile managed elsewhere", Facts{Factor: Password, Managed: true, Methods: []Method{ByEmail}}, TwoStep{[]Method{ByEmail}}},
		{"a method that cannot be used now", Facts{Factor: Password, Proven: true, Enrollable: []Method{ByEmail}}, Missing{}},
	} {
		c.f.TwoStepAsked = true
		if got := Next(c.f, Progress{}); fmt.Sprintf("%#v", got) != fmt.Sprintf("%#v", c.want) {
			t.Errorf("%s: %#v, want %#v", c.name, got, c.want)
		}
	}
}

// What becomes true between two steps is asked for before anything else is done.
func TestFactsThatChangeBetweenSteps(t *testing.T) {
	before := Facts{Factor: Password, MustChange: true}
	if got := Next(before, Progress{}).State(); got != PasswordRequired {
		t.Fatalf("begins at %s", got)
	}
	now := before
	now.TwoStepAsked, now.Methods = true, []Method{ByEmail}
	if _, err := Do(PasswordRequired, PasswordSet, now, Progress{}); err == nil {
		t.Error("a new password before a second step that is asked by now")
	}
	now.Methods, now.Enrollable = nil, []Method{ByEmail}
	p, err := Do(PasswordRequired, PasswordSet, now, Progress{})
	if err != nil || Next(now, p).State() != EnrolmentRequired {
		t.Errorf("%v: then %v", err, Next(now, p))
	}
	now.Methods = []Method{ByEmail}
	if _, err := Do(EnrolmentRequired, MethodEnrolled, now, p); err == nil {
		t.Error("enrolled although a method exists by now")
	}
}

func TestZeroFactsLetNobodyOn(t *testing.T) {
	if s := Next(Facts{}, Progress{SecondStep: true, Password: true, Enrolled: true}); s != nil {
		t.Errorf("got %v", s)
	}
	for _, at := range states {
		for _, e := range events {
			if _, err := Do(at, e, Facts{MustChange: true, TwoStepAsked: true, Methods: []Method{ByEmail}}, Progress{}); err == nil {
				t.Errorf("%s at %s without a first factor", e, at)
			}
		}
	}
}

// A trusted browser is spared a second step that could be asked, and nothing else.
func TestTrustedBrowser(t *testing.T) {
	trusted := Progress{Trusted: true}
	for _, c := range []struct {
		name string
		f    Facts
		want State
	}{
		{"has a method", Facts{Factor: Password, Methods: []Method{ByEmail}}, SignedIn},
		{"must change the password too", Facts{Factor: Password, MustChange: true, Methods: []Method{ByEmail}}, PasswordRequired},
		{"has none", Facts{Factor: Password, Enrollable: []Method{ByEmail}}, EnrolmentRequired},
		{"none that is a second one", Facts{Factor: Phone, Methods: []Method{ByMobile}}, TwoStepUnavailable},
	} {
		c.f.TwoStepAsked = true
		if got := Next(c.f, trusted).State(); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}
