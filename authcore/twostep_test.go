package authcore_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/authtest"
	"latchkey/authcore/member"
	"latchkey/authcore/notify"
	"latchkey/authcore/otp"
	"latchkey/authcore/sample"
	"latchkey/authcore/secret"
	"latchkey/authcore/signin"
	"latchkey/authcore/store/memory"
	"latchkey/policy"
)

func (s *stage) profileContacts(t testing.TB, address string, l ...member.Contact) {
	t.Helper()
	if _, err := s.UpdateMember(t.Context(), authtest.Operator(), address, authcore.MemberChange{Contacts: &l}, 0); err != nil {
		t.Fatal(err)
	}
}

func mail(value string) member.Contact  { return member.Contact{Kind: member.Email, Value: value} }
func phone(value string) member.Contact { return member.Contact{Kind: member.Mobile, Value: value} }

// enters adds a contact as the member himself, with its code.
func (s *stage) enters(t testing.TB, a authcore.Actor, w authcore.ContactWish) authcore.TwoStepView {
	t.Helper()
	sent, err := s.BeginContact(t.Context(), a, w)
	if err != nil {
		t.Fatal(err)
	}
	_, domain, _ := strings.Cut(a.Address, "@")
	v, err := s.VerifyContact(t.Context(), a, sent.Contact, secret.New(s.Code(t, domain, w.Value)))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// withApp enrols an authenticator app and answers its secret. The code of the present step is spent.
func (s *stage) withApp(t testing.TB, a authcore.Actor) secret.String {
	t.Helper()
	n, err := s.BeginApp(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.ConfirmApp(t.Context(), a, s.codeNow(t, n.Secret, 0)); err != nil {
		t.Fatal(err)
	}
	return n.Secret
}

// codeNow is what the app shows so many steps from now.
func (s *stage) codeNow(t testing.TB, key secret.String, steps int) secret.String {
	t.Helper()
	now := time.Now()
	if s.options.Now != nil {
		now = s.options.Now()
	}
	code, err := otp.CodeAt(key, now.Add(time.Duration(steps)*30*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	return code
}

func (s *stage) second(t testing.TB, a authcore.Actor, method signin.Method, typed string) error {
	t.Helper()
	return s.TrySecondStep(t.Context(), a.Client, "ticket", a.Domain, a.Member, method, secret.New(typed))
}

func TestAppCodeIsSpentOnce(t *testing.T) {
	for name, engine := range map[string]func(*authcore.Options){"memory": nil, "sqlite": onSQLite(t)} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, engine)
			a := s.Actor(t, "account")
			key := s.withApp(t, a)
			if err := s.second(t, a, signin.ByApp, s.codeNow(t, key, 0).Reveal()); !denied(err, authcore.BadCode) {
				t.Errorf("the code that enrolled it: %v", err)
			}
			next := s.codeNow(t, key, 1).Reveal()
			if got := s.guesses(t, 8, func(int) error { return s.second(t, a, signin.ByApp, next) }); got[""] != 1 {
				t.Errorf("racing: %v, want one", got)
			}
			c := s.anew()
			if err := c.second(t, a, signin.ByApp, next); !denied(err, authcore.BadCode) {
				t.Errorf("after a restart: %v", err)
			}
		})
	}
}

func TestAppCodeWindow(t *testing.T) {
	for steps, want := range map[int]bool{-2: false, -1: true, 0: true, 1: true, 2: false} {
		inBubble(t, nil, func(t *testing.T, s *stage) {
			a := s.Actor(t, "account")
			key := s.withApp(t, a)
			time.Sleep(10 * time.Minute)
			if err := s.second(t, a, signin.ByApp, s.codeNow(t, key, steps).Reveal()); (err == nil) != want {
				t.Errorf("%d steps from now: %v", steps, err)
			}
			if want {
				if err := s.second(t, a, signin.ByApp, s.codeNow(t, key, steps-1).Reveal()); err == nil {
					t.Errorf("a step before the one that was spent is right")
				}
			}
		})
	}
}

// After a rotation an app's secret is sealed anew at its next right code, and only then; after that the old key may go.
func TestAppIsSealedUnderTheCurrentKeyAtNextUse(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *stage) {
		a := s.Actor(t, "account")
		key := s.withApp(t, a)
		sealedUnder := func() string {
			l := s.all(t, sample.Old, "two-step/"+string(a.Member))
			var m otp.Methods
			if len(l) != 1 || json.Unmarshal(l[0].Value, &m) != nil || !m.HasApp() {
				t.Fatalf("%d records: %v", len(l), values(l))
			}
			return m.App.Secret.KeyID
		}
		was := s.rotate(t)
		time.Sleep(10 * time.Minute)
		if err := s.second(t, a, signin.ByApp, "000000"); !denied(err, authcore.BadCode) || sealedUnder() != was {
			t.Errorf("after a wrong code: %v, sealed under %s, want %s", err, sealedUnder(), was)
		}
		if err := s.second(t, a, signin.ByApp, s.codeNow(t, key, 0).Reveal()); err != nil || sealedUnder() != s.Keys.CurrentMAC() {
			t.Errorf("after a right code: %v, sealed under %s, want %s", err, sealedUnder(), s.Keys.CurrentMAC())
		}
		less, err := s.Keys.Without(was, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		s.Keys.Take(less)
		time.Sleep(time.Minute)
		if err := s.second(t, a, signin.ByApp, s.codeNow(t, key, 0).Reveal()); err != nil {
			t.Errorf("without the old key: %v", err)
		}
	})
}

// A sealed secret opens for its member alone, and a code is that of RFC 6238 appendix B.
func TestAppSecretBelongsToItsMember(t *testing.T) {
	keys, err := secret.NewKeys(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	key := secret.New("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ")
	app := otp.Seal(keys, "d", "m", key, time.Now())
	code, err := otp.CodeAt(key, time.Unix(59, 0))
	if err != nil || code.Reveal() != "287082" {
		t.Errorf("the code of RFC 6238: %q, %v", code.Reveal(), err)
	}
	if _, err := app.Spend(keys, "d", "another", code, time.Unix(59, 0)); err == nil || errors.Is(err, otp.ErrWrong) {
		t.Errorf("it opens for another member: %v", err)
	}
	if _, err := app.Spend(keys, "d", "m", code, time.Unix(59, 0)); err != nil {
		t.Errorf("its own: %v", err)
	}
}

func TestRecoveryCodes(t *testing.T) {
	for name, engine := range map[string]func(*authcore.Options){"memory": nil, "sqlite": onSQLite(t)} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, engine)
			a := s.Actor(t, "account")
			void, err := s.NewRecoveryCodes(t.Context(), a)
			if err != nil {
				t.Fatal(err)
			}
			codes, err := s.NewRecoveryCodes(t.Context(), a)
			if err != nil || len(codes) != otp.RecoveryCodes {
				t.Fatalf("%d codes, %v", len(codes), err)
			}
			if err := s.second(t, a, signin.ByRecovery, void[0].Reveal()); !denied(err, authcore.BadCode) {
				t.Errorf("one of the old ones: %v", err)
			}
			if got := s.guesses(t, 8, func(int) error { return s.second(t, a, signin.ByRecovery, codes[0].Reveal()) }); got[""] != 1 {
				t.Errorf("racing: %v, want one", got)
			}
			for i, c := range codes[1:] {
				typed := c.Reveal()
				if i%2 == 1 {
					typed = strings.ToUpper(strings.ReplaceAll(typed, "-", " "))
				}
				if err := s.anew().second(t, a, signin.ByRecovery, typed); err != nil && throttled(err) == 0 {
					t.Errorf("code %d: %v", i+1, err)
				}
			}
		})
	}
}

// A request that was sent twice makes no second codes, which would void those that were printed.
func TestRecoveryCodesOnce(t *testing.T) {
	s := newStage(t, nil)
	a := s.Actor(t, "account")
	ctx := authcore.WithIdempotencyKey(t.Context(), secret.New("an idempotency key"), "request")
	first, err := s.NewRecoveryCodes(ctx, a)
	if err != nil {
		t.Fatal(err)
	}
	again, err := s.NewRecoveryCodes(ctx, a)
	if err != nil || len(again) != otp.RecoveryCodes || again[0].Reveal() != first[0].Reveal() {
		t.Errorf("sent again: %d codes, %v; the same %t", len(again), err, len(again) > 0 && again[0].Reveal() == first[0].Reveal())
	}
	other, err := s.NewRecoveryCodes(authcore.WithIdempotencyKey(t.Context(), secret.New("another one of them"), "request"), a)
	if err != nil || other[0].Reveal() == first[0].Reveal() {
		t.Errorf("under another key: %v", err)
	}
}

func TestRecoveryCodesRunOut(t *testing.T) {
	s := newStage(t, nil)
	a := s.Actor(t, "account")
	codes, _ := s.NewRecoveryCodes(t.Context(), a)
	for i, c := range codes {
		if err := s.second(t, a, signin.ByRecovery, c.Reveal()); err != nil {
			t.Fatalf("code %d: %v", i+1, err)
		}
	}
	v, err := s.MyTwoStep(t.Context(), a)
	if err != nil || v.RecoveryLeft != 0 || slices.Contains(v.Methods, signin.ByRecovery) {
		t.Errorf("left %d, methods %v, %v", v.RecoveryLeft, v.Methods, err)
	}
	used, few := 0, 0
	l, _, _ := s.Messages(t.Context(), a, "", 100)
	for _, m := range l {
		if m.Kind == notify.MethodChanged && strings.Contains(m.Text, "was used") {
			used++
			if strings.Contains(m.Text, "make new ones") {
				few++
			}
		}
	}
	if used != 10 || few != 4 {
		t.Errorf("%d messages, %d of them ask for new codes; want 10, and 4 of them with 3 or less left", used, few)
	}
}

// Wrong app and recovery codes count with the wrong codes that were sent.
func TestWrongCodesOfAllMethodsCountTogether(t *testing.T) {
	s := newStage(t, nil)
	a := s.Actor(t, "account")
	key := s.withApp(t, a)
	codes, _ := s.NewRecoveryCodes(t.Context(), a)
	methods := []signin.Method{signin.ByApp, signin.ByRecovery, signin.ByEmail}
	got := s.guesses(t, 200, func(i int) error { return s.second(t, a, methods[i%3], "x") })
	if got[authcore.BadCode] != otp.WrongADay {
		t.Errorf("got %v, want %d compared", got, otp.WrongADay)
	}
	for method, typed := range map[signin.Method]string{signin.ByApp: s.codeNow(t, key, 1).Reveal(), signin.ByRecovery: codes[0].Reveal()} {
		if err := s.second(t, a, method, typed); throttled(err) == 0 {
			t.Errorf("a right one by %s: %v", method, err)
		}
	}
}

func TestContactOfOnesOwn(t *testing.T) {
	s := newStage(t, nil)
	a := s.Actor(t, "account")
	v := s.enters(t, a, authcore.ContactWish{Kind: member.Email, Value: "ann@mail.example"})
	if len(v.Contacts) != 1 || !v.Contacts[0].Verified {
		t.Fatalf("contacts %+v", v.Contacts)
	}
	first := v.Contacts[0].ContactID()
	sent, err := s.BeginContact(t.Context(), a, authcore.ContactWish{Kind: member.Email, Value: "new@mail.example", Replaces: first})
	if err != nil {
		t.Fatal(err)
	}
	if k, err := s.MyContact(t.Context(), a, sent.Contact); err != nil || k.Value != "new@mail.example" || k.Verified {
		t.Errorf("the contact that waits: %+v, %v", k, err)
	}
	if k, err := s.MyContact(t.Context(), a, first); err != nil || !k.Verified {
		t.Errorf("the contact that is saved: %+v, %v", k, err)
	}
	if _, err := s.MyContact(t.Context(), s.Actor(t, "account"), sent.Contact); !denied(err, authcore.NotFound) {
		t.Errorf("what another session entered: %v", err)
	}
	if v, _ := s.MyTwoStep(t.Context(), a); v.Contacts[0].Value != "ann@mail.example" {
		t.Errorf("the change counts before the code: %+v", v.Contacts)
	}
	if _, err := s.VerifyContact(t.Context(), a, sent.Contact, secret.New("x")); !denied(err, authcore.BadCode) {
		t.Errorf("a wrong code: %v", err)
	}
	v, err = s.VerifyContact(t.Context(), a, sent.Contact, secret.New(s.Code(t, sample.Old, "new@mail.example")))
	if err != nil || len(v.Contacts) != 1 || v.Contacts[0].Value != "new@mail.example" || !v.Contacts[0].Verified {
		t.Fatalf("contacts %+v, %v", v.Contacts, err)
	}
	if !s.told(t, "ann@mail.example", notify.ContactChanged) {
		t.Error("the old contact is not told")
	}
	if err := s.RemoveContact(t.Context(), a, v.Contacts[0].ContactID()); err != nil {
		t.Errorf("remove: %v", err)
	}
	if !s.told(t, "new@mail.example", notify.ContactChanged) {
		t.Error("the removed contact is not told")
	}
}

func (s *stage) told(t testing.TB, to string, k notify.Kind) bool {
	return slices.ContainsFunc(s.Sent(t, sample.Old, to), func(o notify.Outgoing) bool { return o.Kind == k })
}

// A number is read as people write it.
func TestContactNumber(t *testing.T) {
	s := newStage(t, func(o *authcore.Options) { o.Region = "JP" })
	a := s.Actor(t, "account")
	for typed, ok := range map[string]bool{"090-1234-5678": true, "+81 90 1234 5679": true, "03-1234-5678": false, "x": false, "": false, "110": false} {
		_, err := s.BeginContact(t.Context(), a, authcore.ContactWish{Kind: member.Mobile, Value: typed})
		if (err == nil) != ok || err != nil && !denied(err, authcore.Invalid) {
			t.Errorf("%q: %v", typed, err)
		}
	}
	if len(s.Sent(t, sample.Old, "+819012345678")) != 1 {
		t.Error("no code went to the number in E.164")
	}
}

func TestContactsNeedAFreshSignIn(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *stage) {
		s.profileContacts(t, s.address("account"), mail("ann@mail.example"))
		a := s.Actor(t, "account")
		id := mail("ann@mail.example").ContactID()
		time.Sleep(11 * time.Minute)
		for what, err := range map[string]error{
			"enter":  second(s.BeginContact(t.Context(), a, authcore.ContactWish{Kind: member.Email, Value: "x@mail.example"})),
			"remove": s.RemoveContact(t.Context(), a, id),
			"app":    second(s.BeginApp(t.Context(), a)),
			"no app": s.RemoveApp(t.Context(), a),
			"codes":  second(s.NewRecoveryCodes(t.Context(), a)),
			"on":     second(s.SwitchTwoStep(t.Context(), a, true, true)),
			"off":    second(s.SwitchTwoStep(t.Context(), a, false, false)),
		} {
			if !denied(err, authcore.ReauthenticationRequired) {
				t.Errorf("%s: %v", what, err)
			}
		}
		if _, err := s.SendContactCode(t.Context(), a, id); err != nil {
			t.Errorf("verifying what is saved needs none: %v", err)
		}
	})
}

func second[T any](_ T, err error) error { return err }

func TestManagedProfile(t *testing.T) {
	s := newStage(t, nil)
	s.profileContacts(t, s.address("account"), mail("ann@mail.example"))
	s.policy(t, sample.Old, func(p *policy.Policy) { p.ProfileManagedExternally = true })
	a := s.Actor(t, "account")
	id := mail("ann@mail.example").ContactID()
	if _, err := s.BeginContact(t.Context(), a, authcore.ContactWish{Kind: member.Email, Value: "x@mail.example"}); !denied(err, authcore.ProfileManagedExternally) {
		t.Errorf("enter: %v", err)
	}
	if err := s.RemoveContact(t.Context(), a, id); !denied(err, authcore.ProfileManagedExternally) {
		t.Errorf("remove: %v", err)
	}
	if _, err := s.SendContactCode(t.Context(), a, id); err != nil {
		t.Fatalf("verify what is saved: %v", err)
	}
	v, err := s.VerifyContact(t.Context(), a, id, secret.New(s.Code(t, sample.Old, "ann@mail.example")))
	if err != nil || !v.Contacts[0].Verified || !v.Managed {
		t.Errorf("verify what is saved: %+v, %v", v, err)
	}
}

// A profile that becomes managed while a contact waits for its code stays as it is.
func TestManagedProfileStopsAPendingChange(t *testing.T) {
	s := newStage(t, nil)
	a := s.Actor(t, "account")
	sent, err := s.BeginContact(t.Context(), a, authcore.ContactWish{Kind: member.Email, Value: "x@mail.example"})
	if err != nil {
		t.Fatal(err)
	}
	s.policy(t, sample.Old, func(p *policy.Policy) { p.ProfileManagedExternally = true })
	if _, err := s.VerifyContact(t.Context(), a, sent.Contact, secret.New(s.Code(t, sample.Old, "x@mail.example"))); !denied(err, authcore.ProfileManagedExternally) {
		t.Errorf("got %v", err)
	}
}

// What an administrator enters counts at once and keeps what was verified; the contact that went is told.
func TestContactsByAnAdministrator(t *testing.T) {
	s := newStage(t, nil)
	a := s.Actor(t, "account")
	s.enters(t, a, authcore.ContactWish{Kind: member.Email, Value: "ann@mail.example"})
	s.profileContacts(t, a.Address, mail("Ann@Mail.example"), phone("+819012345678"))
	p := s.profile(t, a.Address)
	if len(p.Member.Contacts) != 2 || !p.Member.Contacts[0].Verified || p.Member.Contacts[1].Verified {
		t.Errorf("contacts %+v, want the first verified still and the second not", p.Member.Contacts)
	}
	s.profileContacts(t, a.Address, phone("+819012345678"))
	if !s.told(t, "ann@mail.example", notify.ContactChanged) {
		t.Error("the old contact is not told")
	}
	s.profileContacts(t, a.Address, mail("ann@mail.example"))
	if p := s.profile(t, a.Address); p.Member.Contacts[0].Verified {
		t.Error("a contact that came back is verified without a code")
	}
}

func TestSwitchTwoStep(t *testing.T) {
	s := newStage(t, nil)
	a := s.Actor(t, "account")
	if _, err := s.SwitchTwoStep(t.Context(), a, true, false); !denied(err, authcore.TwoStepMethodMissing) {
		t.Errorf("without a method: %v", err)
	}
	s.profileContacts(t, a.Address, mail("ann@mail.example"), phone("+819012345678"))
	if _, err := s.SwitchTwoStep(t.Context(), a, true, false); !denied(err, authcore.Invalid) {
		t.Errorf("before the contacts are verified: %v", err)
	}
	if _, err := s.SwitchTwoStep(t.Context(), a, true, true); !denied(err, authcore.TwoStepMethodMissing) {
		t.Errorf("with none that is verified: %v", err)
	}
	for _, k := range []member.Contact{mail("ann@mail.example"), phone("+819012345678")} {
		if _, err := s.SendContactCode(t.Context(), a, k.ContactID()); err != nil {
			t.Fatal(err)
		}
		if _, err := s.VerifyContact(t.Context(), a, k.ContactID(), secret.New(s.Code(t, sample.Old, k.Value))); err != nil {
			t.Fatal(err)
		}
	}
	d := s.open(t, "imap", a.Address, s.account("account"))
	v, err := s.SwitchTwoStep(t.Context(), a, true, false)
	if err != nil || !v.On || v.By != member.ByMember {
		t.Fatalf("on: %+v, %v", v, err)
	}
	if s.try(t, a.Address, s.account("account")) == authcore.Allowed || s.stands(t, d) {
		t.Error("the account password still counts at the door, or its session stands")
	}
	for _, k := range v.Contacts[1:] {
		if err := s.RemoveContact(t.Context(), a, k.ContactID()); err != nil {
			t.Errorf("remove one of two: %v", err)
		}
	}
	if err := s.RemoveContact(t.Context(), a, v.Contacts[0].ContactID()); !denied(err, authcore.TwoStepMethodMissing) {
		t.Errorf("remove the last: %v", err)
	}
	s.policy(t, sample.Old, func(p *policy.Policy) { p.SignIn.TwoStep = policy.TwoStepRequired })
	if _, err := s.SwitchTwoStep(t.Context(), a, false, false); !denied(err, authcore.TwoStepRequiredByPolicy) {
		t.Errorf("off under required: %v", err)
	}
	s.policy(t, sample.Old, func(p *policy.Policy) { p.SignIn.TwoStep = policy.TwoStepOptional })
	if v, err = s.SwitchTwoStep(t.Context(), a, false, false); err != nil || v.On {
		t.Errorf("off: %+v, %v", v, err)
	}
	if s.try(t, a.Address, s.account("account")) != authcore.Allowed {
		t.Error("after it, the account password counts at the door again")
	}
}

// Of two who take the last two methods away at the same moment one is refused.
func TestLastMethodUnderRace(t *testing.T) {
	for range 10 {
		s := newStage(t, nil)
		a := s.Actor(t, "account")
		v := s.enters(t, a, authcore.ContactWish{Kind: member.Email, Value: "ann@mail.example"})
		s.withApp(t, a)
		if _, err := s.SwitchTwoStep(t.Context(), a, true, false); err != nil {
			t.Fatal(err)
		}
		got := s.guesses(t, 2, func(i int) error {
			if i == 0 {
				return s.RemoveApp(t.Context(), a)
			}
			return s.RemoveContact(t.Context(), a, v.Contacts[0].ContactID())
		})
		if got[""] != 1 || got[authcore.TwoStepMethodMissing] != 1 {
			t.Fatalf("got %v", got)
		}
	}
}

func TestSecondStepVerifiesAContactAndRemembersThePolicy(t *testing.T) {
	s := newStage(t, nil)
	a := s.Actor(t, "account")
	s.profileContacts(t, a.Address, mail("ann@mail.example"))
	s.policy(t, sample.Old, func(p *policy.Policy) { p.SignIn.TwoStep = policy.TwoStepRequired })
	if err := s.SendSecondStep(t.Context(), a.Client, "ticket", a.Domain, s.profile(t, a.Address).Member, mail("ann@mail.example").ContactID()); err != nil {
		t.Fatal(err)
	}
	if err := s.second(t, a, signin.ByEmail, s.Code(t, sample.Old, "ann@mail.example")); err != nil {
		t.Fatal(err)
	}
	m := s.profile(t, a.Address).Member
	if !m.Contacts[0].Verified || m.TwoStep != member.ByPolicy {
		t.Errorf("verified %v, by %q", m.Contacts[0].Verified, m.TwoStep)
	}
}

// Back to optional: only who chose it is asked, and each of the others that had enrolled gets one message.
func TestRequiredToOptional(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *stage) {
		a, b := s.Actor(t, "account"), s.Actor(t, "opted-in")
		s.enters(t, b, authcore.ContactWish{Kind: member.Email, Value: "bob@mail.example"})
		if _, err := s.SwitchTwoStep(t.Context(), b, true, false); err != nil {
			t.Fatal(err)
		}
		s.policy(t, sample.Old, func(p *policy.Policy) { p.SignIn.TwoStep = policy.TwoStepRequired })
		if _, err := s.MyTwoStep(t.Context(), a); err != nil {
			t.Errorf("required signed somebody out: %v", err)
		}
		s.enters(t, a, authcore.ContactWish{Kind: member.Email, Value: "ann@mail.example"})
		if v, _ := s.MyTwoStep(t.Context(), a); v.By != member.ByPolicy || !v.On || !v.Required {
			t.Errorf("under required: %+v", v)
		}
		s.policy(t, sample.Old, func(p *policy.Policy) { p.SignIn.TwoStep = policy.TwoStepOptional })
		s.deliver(t)
		for _, c := range []struct {
			who      authcore.Actor
			on       bool
			messages int
		}{{a, false, 1}, {b, true, 0}, {s.Actor(t, "admin"), false, 0}} {
			v, _ := s.MyTwoStep(t.Context(), c.who)
			if v.On != c.on || slices.ContainsFunc(v.Contacts, func(k member.Contact) bool { return !k.Verified }) {
				t.Errorf("%s: %+v", c.who.Address, v)
			}
			if got := s.offers(t, c.who); got != c.messages {
				t.Errorf("%s: %d messages, want %d", c.who.Address, got, c.messages)
			}
		}
	})
}

// deliver lets another process send and announce what waits.
func (s *stage) deliver(t *testing.T) {
	t.Helper()
	o := s.options
	o.KeepOutbox, o.Bus, o.Node = false, memory.NewBus(), ""
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- authcore.New(o).Run(ctx) }()
	time.Sleep(5 * time.Minute)
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func (s *stage) offers(t *testing.T, a authcore.Actor) (n int) {
	l, _, err := s.Messages(t.Context(), a, "", 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range l {
		if m.Kind == notify.TwoStepOffered {
			n++
		}
	}
	return n
}

func TestResetTwoStep(t *testing.T) {
	s := newStage(t, nil)
	a := s.Actor(t, "account")
	key := s.withApp(t, a)
	codes, _ := s.NewRecoveryCodes(t.Context(), a)
	if _, err := s.SwitchTwoStep(t.Context(), a, true, false); err != nil {
		t.Fatal(err)
	}
	v, err := s.ResetTwoStep(t.Context(), s.Actor(t, "admin"), a.Address)
	if err != nil || v.On || v.RecoveryLeft != 0 || !v.AppSince.IsZero() {
		t.Errorf("%+v, %v", v, err)
	}
	for method, typed := range map[signin.Method]string{signin.ByApp: s.codeNow(t, key, 1).Reveal(), signin.ByRecovery: codes[0].Reveal()} {
		if err := s.second(t, a, method, typed); !denied(err, authcore.BadCode) {
			t.Errorf("by %s: %v", method, err)
		}
	}
}

// No secret of a method is in a record, the log or the audit.
func TestMethodsAreNowhereInClear(t *testing.T) {
	var log bytes.Buffer
	s := newStage(t, func(o *authcore.Options) {
		o.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	a := s.Actor(t, "account")
	key := s.withApp(t, a)
	codes, _ := s.NewRecoveryCodes(t.Context(), a)
	code := s.codeNow(t, key, 1).Reveal()
	_ = s.second(t, a, signin.ByApp, code)
	_ = s.second(t, a, signin.ByRecovery, codes[0].Reveal())
	shown := []string{key.Reveal(), code}
	for _, c := range codes {
		shown = append(shown, c.Reveal(), strings.ReplaceAll(c.Reveal(), "-", ""))
	}
	for _, r := range s.all(t, sample.Old, "") {
		for _, c := range shown {
			if bytes.Contains(r.Value, []byte(c)) {
				t.Errorf("record %s shows %s", r.Name, c)
			}
		}
	}
	for _, c := range shown {
		if bytes.Contains(log.Bytes(), []byte(c)) {
			t.Errorf("the log shows %s", c)
		}
	}
}
