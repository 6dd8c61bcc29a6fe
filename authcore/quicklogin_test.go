package authcore_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/audit"
	"latchkey/authcore/authtest"
	"latchkey/authcore/member"
	"latchkey/authcore/notify"
	"latchkey/authcore/quick"
	"latchkey/authcore/sample"
	"latchkey/authcore/secret"
	"latchkey/authcore/store"
	"latchkey/authcore/store/storetest"
	"latchkey/policy"
)

const (
	rightPIN = "283947"
	badLogin = authcore.DenialReason(authcore.BadCredentials)
)

// device plays a mobile app: its key never leaves it.
type device struct {
	s      *stage
	key    *ecdsa.PrivateKey
	id     string
	origin string
}

func (s *stage) newDevice(t testing.TB) *device {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &device{s: s, key: k, origin: authtest.Origin}
}

func (d *device) public(t testing.TB) json.RawMessage {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(&d.key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return json.RawMessage(`"` + base64.RawURLEncoding.EncodeToString(der) + `"`)
}

func (d *device) sign(t testing.TB, p quick.Purpose, challenge string) string {
	t.Helper()
	h := sha256.Sum256(quick.Message(p, challenge, d.id, d.origin))
	r, s, err := ecdsa.Sign(rand.Reader, d.key, h[:])
	if err != nil {
		t.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString(append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...))
}

func (d *device) register(t testing.TB, a authcore.Actor, name, pin string) (quick.Device, error) {
	t.Helper()
	began, err := d.s.BeginQuickDevice(t.Context(), a)
	if err != nil {
		return quick.Device{}, err
	}
	d.id = began.Device
	return d.s.RegisterQuickDevice(t.Context(), a, authcore.NewQuickDevice{
		Ticket: began.Ticket, Name: name, Key: d.public(t), PIN: secret.New(pin), Origin: d.origin, Signature: d.sign(t, quick.Registering, began.Challenge),
	})
}

func (d *device) begin(t testing.TB) authcore.Ceremony {
	t.Helper()
	began, err := d.s.BeginQuickSignIn(t.Context(), authtest.Client(), d.id)
	if err != nil {
		t.Fatal(err)
	}
	return began
}

func (d *device) sent(t testing.TB, began authcore.Ceremony, pin string) authcore.QuickPIN {
	t.Helper()
	return authcore.QuickPIN{Ticket: began.Ticket, PIN: secret.New(pin), Origin: d.origin, Signature: d.sign(t, quick.SigningIn, began.Challenge)}
}

func (d *device) signIn(t testing.TB, pin string) (authcore.SignInResult, error) {
	t.Helper()
	return d.s.SignInQuickPIN(t.Context(), authtest.Client(), d.sent(t, d.begin(t), pin))
}

func (s *stage) allow(t testing.TB, domain string, way policy.Way) {
	t.Helper()
	s.policy(t, domain, func(p *policy.Policy) { p.SignIn.Quick, p.SignIn.Passkey = way, way })
}

// registered is a device of a member of old.example, with rightPIN.
func (s *stage) registered(t testing.TB, state string) *device {
	t.Helper()
	s.allow(t, sample.Old, policy.Allow)
	d := s.newDevice(t)
	if _, err := d.register(t, s.Actor(t, state), "Phone", rightPIN); err != nil {
		t.Fatal(err)
	}
	return d
}

func (s *stage) quickRecord(t testing.TB, state string) quick.Record {
	t.Helper()
	var r quick.Record
	for _, rec := range s.all(t, sample.Old, "quick/"+string(s.MemberID(t, s.address(state)))) {
		if err := json.Unmarshal(rec.Value, &r); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

func (s *stage) entries(t testing.TB, domain string, is func(audit.Entry) bool) (l []audit.Entry) {
	t.Helper()
	for _, rec := range s.all(t, domain, audit.Prefix) {
		var e audit.Entry
		if err := json.Unmarshal(rec.Value, &e); err != nil {
			t.Fatal(err)
		}
		if is(e) {
			l = append(l, e)
		}
	}
	return l
}

func TestQuickLoginByPIN(t *testing.T) {
	s := newStage(t, nil)
	d := s.registered(t, "account")
	for range 2 {
		r, err := d.signIn(t, rightPIN)
		if err != nil || r.State != authcore.SignedIn || r.Actor.Address != s.address("account") || !s.signedIn(t, r.Token) {
			t.Fatalf("%q, %v", r.State, err)
		}
	}
	l, err := s.QuickDevices(t.Context(), s.Actor(t, "account"))
	if err != nil || len(l) != 1 || l[0].Name != "Phone" || l[0].UsedAt.IsZero() || l[0].Wrong != 0 {
		t.Errorf("%+v, %v", l, err)
	}
	if n := s.inbox(t, s.address("account"), notify.QuickChanged); n != 1 {
		t.Errorf("%d messages", n)
	}
	if l := s.entries(t, sample.Old, func(e audit.Entry) bool { return e.Action == audit.QuickRegister }); len(l) != 1 || l[0].Credential != d.id || l[0].Name != "Phone" {
		t.Errorf("audit %+v", l)
	}
	if err := s.DeleteQuickDevice(t.Context(), s.Actor(t, "account"), d.id); err != nil {
		t.Fatal(err)
	}
	if _, err := d.signIn(t, rightPIN); !denied(err, badLogin) {
		t.Errorf("with a deleted device: %v", err)
	}
	if err := s.DeleteQuickDevice(t.Context(), s.Actor(t, "account"), d.id); !denied(err, authcore.NotFound) {
		t.Errorf("deleted twice: %v", err)
	}
}

// Second steps are asked after a PIN as after every first factor.
func TestQuickLoginThenTwoStep(t *testing.T) {
	s := newStage(t, nil)
	d := s.registered(t, "account")
	s.policy(t, sample.Old, func(p *policy.Policy) { p.SignIn.TwoStep = policy.TwoStepRequired })
	if r, err := d.signIn(t, rightPIN); err == nil && (r.State == authcore.SignedIn || !r.Token.Empty()) {
		t.Errorf("%q without a second step", r.State)
	}
}

func TestQuickRegistrationIsRefused(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *stage) {
		a := s.Actor(t, "account")
		if _, err := s.newDevice(t).register(t, a, "Phone", rightPIN); !denied(err, authcore.WayDenied) {
			t.Errorf("denied by policy: %v", err)
		}
		s.allow(t, sample.Old, policy.Allow)
		s.wrongRegistrations(t, a)
		if _, err := s.DenyWays(t.Context(), authtest.Operator(), s.address("account"), []string{policy.WayQuick}, 0); err != nil {
			t.Fatal(err)
		}
		if _, err := s.newDevice(t).register(t, a, "Phone", rightPIN); !denied(err, authcore.WayDenied) {
			t.Errorf("denied for the member: %v", err)
		}
		if _, err := s.DenyWays(t.Context(), authtest.Operator(), s.address("account"), nil, 0); err != nil {
			t.Fatal(err)
		}
		if _, err := s.newDevice(t).register(t, a, "Phone", rightPIN); err != nil {
			t.Errorf("allowed again: %v", err)
		}
		time.Sleep(10 * time.Minute)
		if _, err := s.newDevice(t).register(t, a, "Phone", rightPIN); !denied(err, authcore.ReauthenticationRequired) {
			t.Errorf("ten minutes later: %v", err)
		}
		if _, err := s.newDevice(t).register(t, authtest.Operator(), "Phone", rightPIN); !denied(err, authcore.Forbidden) {
			t.Errorf("a command: %v", err)
		}
		if err := s.DeleteQuickDevice(t.Context(), a, s.quickRecord(t, "account").Devices[0].ID); err != nil {
			t.Errorf("deleting asks for more: %v", err)
		}
	})
}

// wrongRegistrations changes one thing of a right registration at a time.
func (s *stage) wrongRegistrations(t *testing.T, a authcore.Actor) {
	stranger := s.newDevice(t)
	elsewhere := s.Actor(t, "account")
	for name, c := range map[string]struct {
		change func(d *device, n *authcore.NewQuickDevice, challenge string)
		by     authcore.Actor
		want   authcore.DenialReason
	}{
		"another key's signature": {func(d *device, n *authcore.NewQuickDevice, ch string) {
			stranger.id = d.id
			n.Signature = stranger.sign(t, quick.Registering, ch)
		}, a, authcore.Invalid},
		"signed to sign in": {func(d *device, n *authcore.NewQuickDevice, ch string) { n.Signature = d.sign(t, quick.SigningIn, ch) }, a, authcore.Invalid},
		"another challenge": {func(d *device, n *authcore.NewQuickDevice, ch string) {
			n.Signature = d.sign(t, quick.Registering, ch+"x")
		}, a, authcore.Invalid},
		"another origin": {func(d *device, n *authcore.NewQuickDevice, ch string) {
			d.origin = "https://evil.example"
			n.Origin, n.Signature = d.origin, d.sign(t, quick.Registering, ch)
		}, a, authcore.Invalid},
		"another session":      {func(*device, *authcore.NewQuickDevice, string) {}, elsewhere, authcore.TicketInvalid},
		"another ticket":       {func(d *device, n *authcore.NewQuickDevice, _ string) { n.Ticket = d.begin(t).Ticket }, a, authcore.TicketInvalid},
		"a PIN of runs":        {func(_ *device, n *authcore.NewQuickDevice, _ string) { n.PIN = secret.New("123456") }, a, authcore.Invalid},
		"no key":               {func(_ *device, n *authcore.NewQuickDevice, _ string) { n.Key = nil }, a, authcore.Invalid},
		"too late":             {func(*device, *authcore.NewQuickDevice, string) { time.Sleep(authcore.CeremonyFor) }, a, authcore.TicketInvalid},
		"a name that deceives": {func(_ *device, n *authcore.NewQuickDevice, _ string) { n.Name = "a\u202eb" }, a, authcore.Invalid},
	} {
		d := s.newDevice(t)
		began, err := s.BeginQuickDevice(t.Context(), a)
		if err != nil {
			t.Fatal(err)
		}
		d.id = began.Device
		n := authcore.NewQuickDevice{Ticket: began.Ticket, Name: "Phone", Key: d.public(t), PIN: secret.New(rightPIN), Origin: d.origin,
			Signature: d.sign(t, quick.Registering, began.Challenge)}
		c.change(d, &n, began.Challenge)
		if _, err := s.RegisterQuickDevice(t.Context(), c.by, n); !denied(err, c.want) {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
	if r := s.quickRecord(t, "account"); len(r.Devices) != 0 {
		t.Errorf("registered: %+v", r)
	}
}

func TestQuickSignInIsRefused(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *stage) {
		d := s.registered(t, "account")
		other := s.newDevice(t)
		if _, err := other.register(t, s.Actor(t, "opted-in"), "Phone", rightPIN); err != nil {
			t.Fatal(err)
		}
		spare := d.begin(t)
		for name, c := range map[string]struct {
			change func(p *authcore.QuickPIN, challenge string)
			want   authcore.DenialReason
		}{
			"another device's key": {func(p *authcore.QuickPIN, ch string) {
				impostor := &device{s: s, key: other.key, id: d.id, origin: d.origin}
				p.Signature = impostor.sign(t, quick.SigningIn, ch)
			}, badLogin},
			"signed for another device": {func(p *authcore.QuickPIN, ch string) { p.Signature = other.sign(t, quick.SigningIn, ch) }, badLogin},
			"signed to register":        {func(p *authcore.QuickPIN, ch string) { p.Signature = d.sign(t, quick.Registering, ch) }, badLogin},
			"another challenge":         {func(p *authcore.QuickPIN, _ string) { p.Signature = d.sign(t, quick.SigningIn, spare.Challenge) }, badLogin},
			"another origin": {func(p *authcore.QuickPIN, ch string) {
				there := &device{s: s, key: d.key, id: d.id, origin: "https://evil.example"}
				p.Origin, p.Signature = there.origin, there.sign(t, quick.SigningIn, ch)
			}, badLogin},
			"another origin, and ours told": {func(p *authcore.QuickPIN, ch string) {
				there := &device{s: s, key: d.key, id: d.id, origin: "https://evil.example"}
				p.Signature = there.sign(t, quick.SigningIn, ch)
			}, badLogin},
			"no signature": {func(p *authcore.QuickPIN, _ string) { p.Signature = "" }, badLogin},
			"too late":     {func(*authcore.QuickPIN, string) { time.Sleep(authcore.CeremonyFor) }, authcore.TicketInvalid},
			"no ticket":    {func(p *authcore.QuickPIN, _ string) { p.Ticket = secret.New("lk_x") }, authcore.TicketInvalid},
		} {
			began := d.begin(t)
			p := d.sent(t, began, rightPIN)
			c.change(&p, began.Challenge)
			if r, err := s.SignInQuickPIN(t.Context(), authtest.Client(), p); !denied(err, c.want) || !r.Token.Empty() {
				t.Errorf("%s: %v, want %s", name, err, c.want)
			}
		}
		if r := s.quickRecord(t, "account"); len(r.Devices) != 1 || r.Devices[0].Wrong != 0 {
			t.Errorf("a try of the PIN was spent: %+v", r)
		}
		s.replayed(t, d)
	})
}

// replayed: what was sent once, right or wrong, is never taken again, and only from where it was begun.
func (s *stage) replayed(t *testing.T, d *device) {
	p := d.sent(t, d.begin(t), rightPIN)
	if _, err := s.SignInQuickPIN(t.Context(), authtest.Client(), p); err != nil {
		t.Fatal(err)
	}
	if _, err := s.SignInQuickPIN(t.Context(), authtest.Client(), p); !denied(err, authcore.TicketInvalid) {
		t.Errorf("again: %v", err)
	}
	p = d.sent(t, d.begin(t), rightPIN)
	stranger := authtest.Client()
	stranger.Agent = "another"
	if _, err := s.SignInQuickPIN(t.Context(), stranger, p); !denied(err, authcore.TicketInvalid) {
		t.Errorf("from elsewhere: %v", err)
	}
	if _, err := s.SignInQuickPIN(t.Context(), authtest.Client(), d.sent(t, d.begin(t), "583029")); !denied(err, badLogin) {
		t.Errorf("wrong PIN: %v", err)
	}
	if _, err := d.signIn(t, rightPIN); err != nil {
		t.Error(err)
	}
	if r := s.quickRecord(t, "account"); r.Devices[0].Wrong != 0 {
		t.Errorf("a right PIN left %d wrong ones", r.Devices[0].Wrong)
	}
}

// A device that nobody has is answered like one with a wrong key: the same challenge, the same refusal.
func TestUnknownDeviceIsAnsweredAlike(t *testing.T) {
	s := newStage(t, nil)
	d := s.registered(t, "account")
	known := &device{s: s, key: s.newDevice(t).key, id: d.id, origin: d.origin}
	_, want := known.signIn(t, rightPIN)
	if !denied(want, badLogin) {
		t.Fatal(want)
	}
	parts := strings.Split(d.id, ".")
	for name, id := range map[string]string{
		"another one of the member": parts[0] + "." + parts[1] + "." + string(member.NewID()),
		"nobody's":                  parts[0] + "." + string(member.NewID()) + "." + parts[2],
		"no domain's":               string(member.NewDomainID()) + "." + parts[1] + "." + parts[2],
		"no id":                     "phone",
		"empty":                     "",
	} {
		u := &device{s: s, key: d.key, id: id, origin: d.origin}
		began := u.begin(t)
		if len(began.Ticket.Reveal()) != len(d.begin(t).Ticket.Reveal()) || len(began.Options) != len(d.begin(t).Options) || began.Device != "" {
			t.Errorf("%s begins in another way: %+v", name, began)
		}
		if _, err := s.SignInQuickPIN(t.Context(), authtest.Client(), u.sent(t, began, rightPIN)); fmt.Sprint(err) != fmt.Sprint(want) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
	}
}

func TestFiveWrongPINsDelete(t *testing.T) {
	for name, change := range map[string]func(*authcore.Options){"memory": nil, "sqlite": onSQLite(t)} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, change)
			d := s.registered(t, "account")
			for range quick.MaxWrong - 1 { // a right one begins anew
				if _, err := d.signIn(t, "583029"); !denied(err, badLogin) {
					t.Fatal(err)
				}
			}
			if _, err := d.signIn(t, rightPIN); err != nil {
				t.Fatal(err)
			}
			before := s.Stats().Hashes
			s.raceWrong(t, d, 100)
			if n := s.Stats().Hashes - before; n != quick.MaxWrong {
				t.Errorf("%d PINs were verified, want %d", n, quick.MaxWrong)
			}
			if r := s.quickRecord(t, "account"); len(r.Devices) != 0 {
				t.Errorf("left: %+v", r)
			}
			if l := s.entries(t, sample.Old, func(e audit.Entry) bool { return e.Action == audit.QuickDelete }); len(l) != 1 || l[0].Detail != "wrong_pins" || l[0].Credential != d.id {
				t.Errorf("audit %+v", l)
			}
			if n := s.inbox(t, s.address("account"), notify.QuickChanged); n != 2 {
				t.Errorf("%d messages, want two: registered and deleted", n)
			}
			if _, err := d.signIn(t, rightPIN); !denied(err, badLogin) {
				t.Errorf("the right PIN afterwards: %v", err)
			}
		})
	}
}

// raceWrong sends n distinct wrong PINs at once, from many networks so that no throttle comes in between.
func (s *stage) raceWrong(t *testing.T, d *device, n int) {
	var wait sync.WaitGroup
	begin := make(chan struct{})
	for i := range n {
		client := authtest.Client()
		client.Addr = addr(source(i))
		began, err := s.BeginQuickSignIn(t.Context(), client, d.id)
		if err != nil {
			t.Fatal(err)
		}
		p := d.sent(t, began, fmt.Sprintf("58%04d", 2000+7*i))
		wait.Go(func() {
			<-begin
			r, err := s.SignInQuickPIN(t.Context(), client, p)
			if !denied(err, badLogin) && !denied(err, authcore.DenialReason(authcore.Throttled)) || !r.Token.Empty() {
				t.Errorf("a wrong PIN: %q, %v", r.State, err)
			}
		})
	}
	close(begin)
	wait.Wait()
}

// A settling that cannot be written lets nobody in, and one that was written without an answer counts.
func TestPINIsSettledBeforeItIsTold(t *testing.T) {
	for name, fault := range map[string]storetest.Fault{"not written": storetest.FailBefore, "written, and not told": storetest.FailAfter} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, nil)
			d := s.registered(t, "account")
			s.fail(func(_ string, ops []store.Op) storetest.Fault {
				for _, op := range ops {
					if strings.HasPrefix(op.Name, "quick/") {
						return fault
					}
				}
				return storetest.NoFault
			})
			if r, err := d.signIn(t, rightPIN); err == nil || denied(err, badLogin) || !r.Token.Empty() {
				t.Errorf("right: %q, %v", r.State, err)
			}
			if _, err := d.signIn(t, "583029"); err == nil || denied(err, badLogin) {
				t.Errorf("wrong: %v", err)
			}
			s.fail(nil)
			if _, err := d.signIn(t, rightPIN); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestTenDevices(t *testing.T) {
	s := newStage(t, nil)
	s.allow(t, sample.Old, policy.Allow)
	a := s.Actor(t, "account")
	type begun struct {
		d *device
		n authcore.NewQuickDevice
	}
	var l []begun
	for i := range 3 * quick.MaxDevices {
		d := s.newDevice(t)
		began, err := s.BeginQuickDevice(t.Context(), a)
		if err != nil {
			t.Fatal(err)
		}
		d.id = began.Device
		l = append(l, begun{d, authcore.NewQuickDevice{Ticket: began.Ticket, Name: fmt.Sprint("Phone ", i), Key: d.public(t), PIN: secret.New(rightPIN),
			Origin: d.origin, Signature: d.sign(t, quick.Registering, began.Challenge)}})
	}
	errs := make([]error, len(l))
	var wait sync.WaitGroup
	for i, b := range l {
		wait.Go(func() { _, errs[i] = s.RegisterQuickDevice(t.Context(), a, b.n) })
	}
	wait.Wait()
	made := 0
	for _, err := range errs {
		if err == nil {
			made++
		} else if !denied(err, authcore.LimitReached) {
			t.Error(err)
		}
	}
	if made != quick.MaxDevices || len(s.quickRecord(t, "account").Devices) != made {
		t.Errorf("%d were made", made)
	}
	if _, err := s.BeginQuickDevice(t.Context(), a); !denied(err, authcore.LimitReached) {
		t.Errorf("one more: %v", err)
	}
}

// What ends registrations, and what does not.
func TestWhatRegistrationsOutlive(t *testing.T) {
	for _, c := range []struct {
		name string
		by   func(t *testing.T, s *stage)
		want authcore.DenialReason // empty: they go on
	}{
		{"a password change of his own", func(t *testing.T, s *stage) {
			if _, err := s.ChangePassword(t.Context(), s.Actor(t, "account"), s.People["account"].Account, secretOf(nextPassword), false); err != nil {
				t.Fatal(err)
			}
		}, ""},
		{"a saved policy", func(t *testing.T, s *stage) { s.maxFailures(t, 5) }, ""},
		{"a new password by an administrator", func(t *testing.T, s *stage) {
			if _, _, err := s.ResetPassword(t.Context(), authtest.Operator(), s.address("account"), true); err != nil {
				t.Fatal(err)
			}
		}, badLogin},
		{"a new password after a forgotten one", func(t *testing.T, s *stage) {
			if err := s.setForgotten(t, s.forgets(t, "account").reset(t, "account", member.Email, mailed), nextPassword); err != nil {
				t.Fatal(err)
			}
		}, badLogin},
		{"signing out everywhere", func(t *testing.T, s *stage) {
			if _, err := s.SignOutEverywhere(t.Context(), authtest.Operator(), s.address("account")); err != nil {
				t.Fatal(err)
			}
		}, badLogin},
		{"a suspension", func(t *testing.T, s *stage) {
			if _, err := s.Suspend(t.Context(), authtest.Operator(), s.address("account")); err != nil {
				t.Fatal(err)
			}
		}, badLogin},
		{"a suspension that was lifted", func(t *testing.T, s *stage) {
			if _, err := s.Suspend(t.Context(), authtest.Operator(), s.address("account")); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Lift(t.Context(), authtest.Operator(), s.address("account")); err != nil {
				t.Fatal(err)
			}
		}, badLogin},
		{"a deletion", func(t *testing.T, s *stage) {
			if err := s.DeleteMember(t.Context(), authtest.Operator(), s.address("account")); err != nil {
				t.Fatal(err)
			}
		}, badLogin},
		{"the way denied", func(t *testing.T, s *stage) { s.allow(t, sample.Old, policy.Deny) }, authcore.WayDenied},
		{"the way denied and allowed", func(t *testing.T, s *stage) {
			s.allow(t, sample.Old, policy.Deny)
			s.allow(t, sample.Old, policy.Allow)
		}, ""},
		{"the way denied to him", func(t *testing.T, s *stage) {
			if _, err := s.DenyWays(t.Context(), authtest.Operator(), s.address("account"), []string{policy.WayQuick}, 0); err != nil {
				t.Fatal(err)
			}
		}, authcore.WayDenied},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStage(t, nil)
			d := s.registered(t, "account")
			c.by(t, s)
			r, err := d.signIn(t, rightPIN)
			if c.want == "" && (err != nil || r.State != authcore.SignedIn) || c.want != "" && (!denied(err, c.want) || !r.Token.Empty()) {
				t.Errorf("%q, %v, want %q", r.State, err, c.want)
			}
			l, err := s.QuickDevicesOf(t.Context(), authtest.Operator(), s.address("account"))
			if err != nil && !denied(err, authcore.NotFound) || (c.want == badLogin) != (len(l) == 0) {
				t.Errorf("listed: %+v, %v", l, err)
			}
		})
	}
}

// What is denied is told only to who has the device and knows the PIN.
func TestDeniedWayIsToldAfterTheProof(t *testing.T) {
	s := newStage(t, nil)
	d := s.registered(t, "account")
	s.allow(t, sample.Old, policy.Deny)
	if _, err := d.signIn(t, "583029"); !denied(err, badLogin) {
		t.Errorf("wrong PIN: %v", err)
	}
	stranger := &device{s: s, key: s.newDevice(t).key, id: d.id, origin: d.origin}
	if _, err := stranger.signIn(t, rightPIN); !denied(err, badLogin) {
		t.Errorf("another key: %v", err)
	}
	if _, err := d.signIn(t, rightPIN); !denied(err, authcore.WayDenied) {
		t.Errorf("right: %v", err)
	}
	if l := s.entries(t, sample.Old, func(e audit.Entry) bool { return e.Reason == "way_denied" }); len(l) != 1 || l[0].Credential != d.id {
		t.Errorf("audit %+v", l)
	}
}

func TestPINIsNowhere(t *testing.T) {
	s := newStage(t, nil)
	d := s.registered(t, "account")
	if _, err := d.signIn(t, rightPIN); err != nil {
		t.Fatal(err)
	}
	if _, err := d.signIn(t, "583029"); err == nil || strings.Contains(err.Error(), "583029") {
		t.Errorf("error %v", err)
	}
	for _, rec := range s.all(t, sample.Old, "") {
		for _, pin := range []string{rightPIN, "583029"} {
			if strings.Contains(rec.Name, pin) || strings.Contains(string(rec.Value), `"`+pin+`"`) || strings.Contains(string(rec.Value), " "+pin) {
				t.Errorf("record %s holds the PIN", rec.Name)
			}
		}
	}
}

// A device that is deleted while its PIN is verified lets nobody in.
func TestDeviceDeletedMeanwhile(t *testing.T) {
	s := newStage(t, nil)
	d := s.registered(t, "account")
	a := s.Actor(t, "account")
	once := sync.OnceFunc(func() {
		s.fail(nil)
		if err := s.DeleteQuickDevice(t.Context(), a, d.id); err != nil {
			t.Error(err)
		}
	})
	s.fail(func(_ string, ops []store.Op) storetest.Fault {
		for _, op := range ops {
			if strings.HasPrefix(op.Name, "quick/") {
				once()
				return storetest.NoFault
			}
		}
		return storetest.NoFault
	})
	if r, err := d.signIn(t, rightPIN); !denied(err, badLogin) || !r.Token.Empty() {
		t.Errorf("%q, %v", r.State, err)
	}
}
