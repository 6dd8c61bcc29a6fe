package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/authtest"
	"latchkey/authcore/oidc"
	"latchkey/authcore/otp"
	"latchkey/authcore/quick"
	"latchkey/authcore/sample"
	"latchkey/authcore/secret"
	"latchkey/configs"
	"latchkey/policy"
)

// canaryDrill is a server with everything it can send to and ask, and the secrets that went through it.
type canaryDrill struct {
	*stage
	server   *process
	out      *outside
	provider *authtest.Provider
	found    canaries
	seen     *refusals
}

func newCanaryDrill(t *testing.T) *canaryDrill {
	t.Helper()
	d := &canaryDrill{stage: newStage(t), out: startOutside(t), provider: authtest.NewProvider(t, oidc.OpenID), found: canaries{}, seen: &refusals{}}
	file := func(name, text string) string { return d.write(name, text+"\n", 0o600) }
	mail, sms := d.found.add(t, "the mail server's password", "canary-smtp-password-1"), d.found.add(t, "the SMS gateway's secret", "canary-gateway-secret-2")
	sign, hook := d.found.add(t, "the SMS gateway's signing secret", "canary-signing-secret-3"), base64.StdEncoding.EncodeToString([]byte("canary-webhook-secret-0123456789"))
	d.found.add(t, "a webhook's secret", "canary-webhook-secret-0123456789") // its base64 is one of the forms that are searched for
	client := d.found.add(t, "a provider's client secret", d.provider.Secret.Reveal())
	ca := file("provider.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: d.provider.Certificate().Raw})))
	notify := d.out.notify(file("mail", mail), file("sms", sms), file("sign", sign), file("hook", "whsec_"+hook))
	d.configure(func(text string) string {
		return text + fmt.Sprintf(`sign_in:
  codes: {per_source: 1000, per_address: 100, per_country: 1000, per_channel: 1000}
  providers:
    - {name: staff, kind: openid, issuer: '%s', client_id: %s, secret_file: %s, redirect_url: '%s', ca_file: %s}
`, d.provider.URL, d.provider.ClientID, file("client", client), authtest.RedirectURL, ca) + notify
	})
	d.allowAll(t)
	d.server = d.serve()
	return d
}

// allowAll opens every way to the domain's members.
func (d *canaryDrill) allowAll(t *testing.T) {
	t.Helper()
	cfg, err := configs.Load(d.file)
	if err != nil {
		t.Fatal(err)
	}
	a := authcore.CommandActor("canaries")
	work := storeWork{"canaries", func(ctx context.Context, w works, _ []string, _ io.Reader, _ io.Writer) error {
		p, rev, err := w.core.Policy(ctx, a, sample.Old)
		if err != nil {
			return err
		}
		p.SignIn.Quick, p.SignIn.TrustBrowser, p.SignIn.OIDC = policy.Allow, true, map[string]policy.Way{"staff": policy.Allow}
		_, err = w.core.SetPolicy(ctx, a, sample.Old, p, rev)
		return err
	}}
	if err := inStore(t.Context(), cfg, program{err: io.Discard}, work, nil, nil, io.Discard); err != nil {
		t.Fatal(err)
	}
}

// api is a client whose refusals are kept.
func (d *canaryDrill) api() *apiClient { return d.apiWithKey("") }

func (d *canaryDrill) apiWithKey(key string) *apiClient {
	c := d.stage.api()
	c.http.Transport = watched{c.http.Transport, d.seen, key}
	return c
}

func (d *canaryDrill) call(t *testing.T, c *apiClient, method, path string, in map[string]any, want int) map[string]any {
	t.Helper()
	var out map[string]any
	status, err := c.do(method, path, in, &out)
	if err != nil || status != want {
		t.Fatalf("%s %s: %d, want %d: %v", method, path, status, want, err)
	}
	return out
}

func text(m map[string]any, field string) string { v, _ := m[field].(string); return v }

// overTheAPI sends and gets every kind of secret that the API knows without a second party.
func (d *canaryDrill) overTheAPI(t *testing.T) {
	t.Helper()
	admin, member := d.api(), d.api()
	if err := admin.signIn(d.people["admin"]); err != nil {
		t.Fatal(err)
	}
	if err := member.signIn(d.people["account"]); err != nil {
		t.Fatal(err)
	}
	address := d.people["account"].Address
	d.found.add(t, "a session's token", admin.token)
	d.found.add(t, "a member's token", member.token)
	d.found.add(t, "an account password", d.people["account"].Account.Reveal())
	d.call(t, d.api(), "POST", "/sign-in", map[string]any{"login": address, "password": d.found.add(t, "a wrong password", "canary-wrong-11")}, 401)
	d.call(t, d.api(), "POST", "/sign-in", map[string]any{"login": d.found.add(t, "a password in the place of a name", "canary-login-22"), "password": "x"}, 401)
	d.call(t, d.api(), "POST", "/sign-in/password", map[string]any{"ticket": d.found.add(t, "a made-up ticket", "lk_canary_ticket_33"), "new_password": "canary-new-44"}, 401)
	d.call(t, d.api(), "POST", "/sign-in/two-step", map[string]any{"ticket": "lk_canary_ticket_33", "method": "email", "code": d.found.add(t, "a code", "739154")}, 401)
	d.call(t, member, "POST", "/me/app-passwords", map[string]any{"name": "Phone", d.found.add(t, asField, "canary-field-55"): 1}, 422)
	app := d.call(t, member, "POST", "/me/app-passwords", map[string]any{"name": "Phone"}, 201)
	d.found.add(t, "an app password", text(app, "password"))
	d.found.add(t, "an app password without hyphens", strings.ReplaceAll(text(app, "password"), "-", ""))
	token := d.call(t, admin, "POST", "/me/api-tokens", map[string]any{"name": "Deploy", "scopes": []string{"read"}}, 201)
	d.found.add(t, "an API token", text(token, "token"))
	made := d.call(t, admin, "POST", "/domains/old.example/members", map[string]any{"address": "fresh@old.example"}, 201)
	d.found.add(t, "a temporary password", text(made, "temporary_password"))
	step := d.call(t, d.api(), "POST", "/sign-in", map[string]any{"login": "fresh@old.example", "password": text(made, "temporary_password")}, 200)
	d.found.add(t, "a ticket", text(step, "ticket"))
	own := d.call(t, d.api(), "POST", "/sign-in/password", map[string]any{"ticket": text(step, "ticket"), "new_password": d.found.add(t, "a new password", "canary-own-word-66")}, 200)
	fresh := d.api()
	fresh.token = d.found.add(t, "the token of a new password", text(own, "token"))
	app2 := d.call(t, fresh, "POST", "/me/two-step/app", nil, 201)
	d.found.add(t, "an authenticator app's secret", text(app2, "secret"))
}

// atTheDoors tries right and wrong passwords at every door.
func (d *canaryDrill) atTheDoors(t *testing.T) {
	t.Helper()
	for _, door := range stageDoors {
		for _, login := range []string{d.people["account"].Address, "nobody@old.example"} {
			if _, err := d.door(door).signIn(d.tls, login, d.found.add(t, "a wrong password at a door", "canary-door-77")); err != nil {
				t.Error(err)
			}
		}
		d.signIn(door, "app-only")
	}
	d.found.add(t, "an app password at a door", d.people["app-only"].AppPasswords[0].Secret.Reveal())
}

// code awaits a code for somebody that was not seen yet, and keeps it.
func (d *canaryDrill) code(t *testing.T, what, to string) string {
	t.Helper()
	return d.found.add(t, what, d.out.code(t, to, d.found.has))
}

const (
	canaryMail   = "canary@personal.example"
	canaryMobile = "+819012340001"
)

// twoSteps is a member with every method but a key, who signs in by each of them.
func (d *canaryDrill) twoSteps(t *testing.T) {
	t.Helper()
	person, c := d.people["opted-in"], d.api()
	if err := c.signIn(person); err != nil {
		t.Fatal(err)
	}
	for kind, to := range map[string]string{"email": canaryMail, "mobile": canaryMobile} {
		id := text(d.call(t, c, "POST", "/me/contacts", map[string]any{"kind": kind, "value": to}, 202), "contact")
		d.call(t, c, "POST", "/me/contacts/"+id+"/verify", map[string]any{"code": "x" + d.found.add(t, "a wrong code", "183957")}, 422)
		d.call(t, c, "POST", "/me/contacts/"+id+"/verify", map[string]any{"code": d.code(t, "the code of a contact by "+kind, to)}, 200)
	}
	app := secret.New(d.found.add(t, "the secret of an app", text(d.call(t, c, "POST", "/me/two-step/app", nil, 201), "secret")))
	d.call(t, c, "POST", "/me/two-step/app/confirm", map[string]any{"code": d.appCode(t, app, 0)}, 200)
	codes, _ := d.call(t, c, "POST", "/me/two-step/recovery-codes", nil, 201)["codes"].([]any)
	for _, code := range codes {
		d.found.add(t, "a recovery code", code.(string))
		d.found.add(t, "a recovery code without its hyphen", strings.ReplaceAll(code.(string), "-", ""))
	}
	d.call(t, c, "PUT", "/me/two-step", map[string]any{"enabled": true}, 200)
	first := map[string]any{"login": person.Address, "password": d.found.add(t, "the password of a member with two steps", person.Account.Reveal())}
	for _, method := range []string{"email", "mobile", "totp", "recovery_code"} {
		step := d.call(t, d.api(), "POST", "/sign-in", first, 200)
		ticket := d.found.add(t, "the ticket of a second step", text(step, "ticket"))
		code := ""
		switch method {
		case "totp":
			code = d.appCode(t, app, 30*time.Second) // the one before is spent
		case "recovery_code":
			code = codes[0].(string)
		default:
			d.call(t, d.api(), "POST", "/sign-in/two-step/send", map[string]any{"ticket": ticket, "method": method}, 200)
			code = d.code(t, "the code of a second step by "+method, map[string]string{"email": canaryMail, "mobile": canaryMobile}[method])
		}
		in := d.call(t, d.api(), "POST", "/sign-in/two-step", map[string]any{"ticket": ticket, "method": method, "code": code, "trust_browser": true}, 200)
		c.token = d.found.add(t, "a token after two steps", text(in, "token"))
		trusted, _ := in["trusted_browser"].(map[string]any)
		first["trusted_browser"] = d.found.add(t, "a trusted browser's token", text(trusted, "token"))
		if spared := d.call(t, d.api(), "POST", "/sign-in", first, 200); text(spared, "state") != "signed_in" {
			t.Fatalf("a trusted browser is not spared: %v", spared["state"])
		}
		delete(first, "trusted_browser")
	}
	d.call(t, d.api(), "POST", "/sign-in", map[string]any{"login": person.Address, "password": d.found.add(t, "a wrong password of a member", "canary-wrong-word-12"),
		"trusted_browser": d.found.add(t, "a made-up browser's token", "lk_canary_browser_13")}, 401)
	d.call(t, c, "PUT", "/me/password", map[string]any{"current": person.Account.Reveal(), "new": d.found.add(t, "a changed password", "canary-changed-word-14")}, 200)
}

func (d *canaryDrill) appCode(t *testing.T, app secret.String, later time.Duration) string {
	t.Helper()
	code, err := otp.CodeAt(app, time.Now().Add(later))
	if err != nil {
		t.Fatal(err)
	}
	return d.found.add(t, "the code of an app", code.Reveal())
}

// quick is a device with a PIN, and an app password that is made with a key for its repetition.
func (d *canaryDrill) quick(t *testing.T) {
	t.Helper()
	c, key := d.apiWithKey(d.found.add(t, "an idempotency key", "canary-idempotency-key-21")), authtest.NewKey(t)
	if err := c.signIn(d.people["admin"]); err != nil {
		t.Fatal(err)
	}
	made := d.call(t, c, "POST", "/me/app-passwords", map[string]any{"name": "Once"}, 201)
	if again := d.call(t, c, "POST", "/me/app-passwords", map[string]any{"name": "Once"}, 201); text(again, "password") != text(made, "password") {
		t.Error("the key of a repetition was not taken")
	}
	d.call(t, c, "POST", "/me/app-passwords", map[string]any{"name": "Twice"}, 422)
	d.found.add(t, "an app password made once", text(made, "password"))
	d.found.add(t, "an app password made once, without hyphens", strings.ReplaceAll(text(made, "password"), "-", ""))
	point, err := key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	b64 := base64.RawURLEncoding.EncodeToString
	signed := func(began map[string]any, label quick.Purpose, device, pin string) map[string]any {
		h := sha256.Sum256([]byte(strings.Join([]string{string(label), text(began, "challenge"), device, "https://localhost"}, "\n")))
		r, s, err := ecdsa.Sign(rand.Reader, key, h[:])
		if err != nil {
			t.Fatal(err)
		}
		return map[string]any{"ticket": d.found.add(t, "the ticket of a device", text(began, "ticket")), "pin": pin, "origin": "https://localhost",
			"signature": b64(append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...))}
	}
	c.http.Transport = d.api().http.Transport // without the key
	began := d.call(t, c, "POST", "/me/quick-devices/begin", nil, 200)
	device, pin := text(began, "device"), d.found.add(t, "a PIN", "283947")
	in := signed(began, quick.Registering, device, pin)
	in["name"], in["public_key"] = "Phone", map[string]any{"kty": "EC", "crv": "P-256", "x": b64(point[1:33]), "y": b64(point[33:])}
	d.call(t, c, "POST", "/me/quick-devices", in, 201)
	for typed, want := range map[string]int{d.found.add(t, "a wrong PIN", "517283"): 401, pin: 200} {
		began := d.call(t, d.api(), "POST", "/sign-in/quick", map[string]any{"device": device}, 200)
		d.call(t, d.api(), "POST", "/sign-in/quick/pin", signed(began, quick.SigningIn, device, typed), want)
	}
}

// atProvider links an account elsewhere, signs in by it, and comes back with a code that the provider did not give.
func (d *canaryDrill) atProvider(t *testing.T) {
	t.Helper()
	c := d.api()
	if err := c.signIn(d.people["admin"]); err != nil {
		t.Fatal(err)
	}
	back := func(step map[string]any) map[string]any {
		a := d.provider.Authorize(t, text(step, "authorize_url"), "jane")
		return map[string]any{"ticket": d.found.add(t, "the ticket of a provider's step", text(step, "ticket")),
			"state": d.found.add(t, "the state of a provider's step", a.State.Reveal()), "code": d.found.add(t, "a provider's code", a.Code.Reveal())}
	}
	d.call(t, c, "POST", "/me/links/staff/callback", back(d.call(t, c, "POST", "/me/links/staff", nil, 200)), 201)
	d.call(t, d.api(), "POST", "/sign-in/oidc/staff/callback", back(d.call(t, d.api(), "POST", "/sign-in/oidc/staff", nil, 200)), 200)
	bad := back(d.call(t, d.api(), "POST", "/sign-in/oidc/staff", nil, 200))
	bad["code"] = d.found.add(t, "a made-up provider's code", "canary-made-up-code-31")
	d.call(t, d.api(), "POST", "/sign-in/oidc/staff/callback", bad, 401)
	for _, word := range d.provider.Secrets() {
		d.found.add(t, "what a provider issued", word)
	}
}

// wentOut sees that the secrets of the configuration were used: what the program never read, it cannot leave anywhere.
func (d *canaryDrill) wentOut(t *testing.T) {
	t.Helper()
	if got := d.out.with("mail"); got != d.found["the mail server's password"] {
		t.Errorf("at the mail server: %q", got)
	}
	if got := d.out.with("/sms"); got != "Bearer "+d.found["the SMS gateway's secret"] {
		t.Errorf("at the gateway: %q", got)
	}
	waitFor(t, "the webhook", patience, func() bool { return d.out.count("/hook") > 0 })
	if d.provider.Count("/token") == 0 {
		t.Error("nobody asked the provider")
	}
}
