package main

import (
	"bytes"
	"encoding/pem"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"latchkey/authcore"
	"latchkey/authcore/authtest"
	"latchkey/authcore/oidc"
	"latchkey/configs"
	"latchkey/policy"
	"latchkey/proxy/peers"
)

type m = map[string]any

// TestPeersOpenIDProvider signs in at a real provider through the whole program, as LINE and as any other.
func TestPeersOpenIDProvider(t *testing.T) {
	t.Parallel()
	for kind, name := range map[string]string{configs.LINE: "line", configs.OpenID: "staff"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			p := peers.OpenID(t)
			r := startHouse(t, nil, func(c *configs.Config) { c.SignIn.Providers = []configs.Provider{atPeer(t, p, kind, name)} })
			allowProviders(t, r.h.core)
			signInAtPeer(t, r, p, name)
		})
	}
}

// atPeer is a provider of the tests as the configuration has it; its clients are called as the kinds.
func atPeer(t *testing.T, p *peers.OpenIDProvider, kind, name string) configs.Provider {
	t.Helper()
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(p.Secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return configs.Provider{Name: name, Kind: kind, Issuer: p.Issuer, ClientID: kind, SecretFile: file, RedirectURL: p.Redirect, CAFile: p.CAFile}
}

func allowProviders(t *testing.T, c *authcore.Core) {
	t.Helper()
	a := authcore.CommandActor("test")
	pol, rev, err := c.Policy(t.Context(), a, "old.example")
	if err != nil {
		t.Fatal(err)
	}
	pol.SignIn.LINE, pol.SignIn.OIDC = policy.Allow, map[string]policy.Way{"staff": policy.Allow}
	if _, err := c.SetPolicy(t.Context(), a, "old.example", pol, rev); err != nil {
		t.Fatal(err)
	}
}

func signInAtPeer(t *testing.T, r *realHouse, p *peers.OpenIDProvider, name string) {
	t.Helper()
	tr := &http.Transport{TLSClientConfig: trust(t, r.ca)}
	t.Cleanup(tr.CloseIdleConnections)
	_, port, _ := splitAddress(r.socks["api"].Addr().String())
	api := &apiClient{http: &http.Client{Transport: tr, Timeout: patience}, base: "https://localhost:" + port + "/api/v1"}
	do := func(want int, method, path string, in any) (got m) {
		t.Helper()
		status, err := api.do(method, path, in, &got)
		if err != nil || status != want {
			t.Fatalf("%s %s: status %d, %v, want %d: %v", method, path, status, err, want, got)
		}
		return got
	}
	back := func(step m, q url.Values) m {
		if q.Get("error") != "" || q.Get("iss") != p.Issuer {
			t.Fatalf("the provider says %v", q)
		}
		return m{"ticket": step["ticket"], "state": q.Get("state"), "code": q.Get("code"), "iss": q.Get("iss")}
	}
	jane := do(200, "POST", "/sign-in", m{"login": accountMember, "password": r.secrets[accountMember]})
	api.token, _ = jane["token"].(string)

	step := do(200, "POST", "/me/links/"+name, nil)
	do(201, "POST", "/me/links/"+name+"/callback", back(step, p.Browse(t, step["authorize_url"].(string), "jane")))
	step = do(200, "POST", "/reauthenticate/oidc/"+name, nil)
	again := do(200, "POST", "/reauthenticate/oidc/"+name+"/callback", back(step, p.Browse(t, step["authorize_url"].(string), "jane")))
	api.token, _ = again["token"].(string)
	do(200, "GET", "/me", nil)

	api.token = ""
	step = do(200, "POST", "/sign-in/oidc/"+name, nil)
	answer := back(step, p.Browse(t, step["authorize_url"].(string), "jane"))
	in := do(200, "POST", "/sign-in/oidc/"+name+"/callback", answer)
	if member, _ := in["member"].(m); in["state"] != "signed_in" || member["address"] != accountMember {
		t.Errorf("signed in: %v", in)
	}
	do(401, "POST", "/sign-in/oidc/"+name+"/callback", answer)

	step = do(200, "POST", "/sign-in/oidc/"+name, nil)
	answer["ticket"] = step["ticket"] // the code of another sign-in
	do(401, "POST", "/sign-in/oidc/"+name+"/callback", answer)

	p.Forget(t)
	step = do(200, "POST", "/sign-in/oidc/"+name, nil)
	do(401, "POST", "/sign-in/oidc/"+name+"/callback", back(step, p.Browse(t, step["authorize_url"].(string), "nobody")))
}

// TestDoctorAsksProviders: what it finds there, and the mend for what it does not.
func TestDoctorAsksProviders(t *testing.T) {
	t.Parallel()
	at := authtest.NewProvider(t, oidc.LINE)
	dir := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	c := configs.Provider{Name: "line", Kind: configs.LINE, Issuer: at.URL, ClientID: "1", SecretFile: write("secret", "hush\n"), RedirectURL: "https://a.test/",
		CAFile: write("ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: at.Certificate().Raw})))}
	ask := func(c configs.Provider) (int, string) {
		cfg := configs.Default()
		cfg.SignIn.Providers = []configs.Provider{c}
		var out bytes.Buffer
		n := doctorProviders(t.Context(), program{out: &out, err: &out}, &cfg)
		return n, out.String()
	}
	if n, out := ask(c); n != 0 || !strings.Contains(out, "ok       provider line") {
		t.Errorf("well: %d failures: %s", n, out)
	}
	for name, change := range map[string]func(*configs.Provider){
		"another issuer":        func(c *configs.Provider) { c.Issuer += "/other" },
		"an unknown authority":  func(c *configs.Provider) { c.CAFile = "" },
		"no certificate":        func(c *configs.Provider) { c.CAFile = write("empty.pem", "none\n") },
		"nobody there":          func(c *configs.Provider) { c.Issuer = "https://127.0.0.1:1" },
		"a secret that is gone": func(c *configs.Provider) { c.SecretFile = filepath.Join(dir, "gone") },
	} {
		bad := c
		change(&bad)
		if n, out := ask(bad); n != 1 || !strings.Contains(out, "error    provider") {
			t.Errorf("%s: %d failures: %s", name, n, out)
		}
	}
	cfg := configs.Default()
	cfg.SignIn.Providers = []configs.Provider{{CAFile: write("empty.pem", "none\n")}}
	if l := checkProviders(&cfg); len(l) != 1 || l[0].Key != "sign_in.providers[0].ca_file" {
		t.Errorf("check says %v", l)
	}
}
