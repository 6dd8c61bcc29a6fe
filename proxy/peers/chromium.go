package peers

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/webauthn"
	"github.com/chromedp/chromedp"
)

// Browser is a running Chromium without a window, on one page, with an authenticator of its own: a platform's, whose user
// is there and verified until it is said otherwise.
type Browser struct {
	ctx  context.Context
	auth webauthn.AuthenticatorID
	rest *rest
}

// browseFor bounds what a browser does in a test.
const browseFor = 4 * time.Minute

// Chromium starts one until the test ends. It takes the certificates, and no other that no authority of the system signed.
func Chromium(t testing.TB, trusted ...*x509.Certificate) *Browser {
	t.Helper()
	Need(t, "chromium")
	prints := make([]string, len(trusted))
	for i, c := range trusted {
		sum := sha256.Sum256(c.RawSubjectPublicKeyInfo)
		prints[i] = base64.StdEncoding.EncodeToString(sum[:])
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], // chromedp gives it an empty folder and removes that
		chromedp.ExecPath(programs["chromium"]), chromedp.Flag("no-sandbox", true), chromedp.Flag("disable-gpu", true), chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1"),
		chromedp.Flag("ignore-certificate-errors-spki-list", strings.Join(prints, ",")))
	ctx, stop := context.WithTimeout(context.Background(), browseFor)
	t.Cleanup(stop)
	ctx, stopped := chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(stopped) // waits
	ctx, closed := chromedp.NewContext(ctx)
	t.Cleanup(closed)
	b := &Browser{ctx: ctx}
	b.rest = restOf(t, b)
	command(t, b, webauthn.Enable, webauthn.EnableParams{})
	b.auth = command(t, b, webauthn.AddVirtualAuthenticator, webauthn.AddVirtualAuthenticatorParams{Options: &webauthn.VirtualAuthenticatorOptions{
		Protocol: webauthn.AuthenticatorProtocolCtap2, Transport: webauthn.AuthenticatorTransportInternal, HasResidentKey: true,
		HasUserVerification: true, IsUserVerified: true, AutomaticPresenceSimulation: true,
	}}).AuthenticatorID
	return b
}

func command[P, R any](t testing.TB, b *Browser, c cdp.Command[P, R], p P) R {
	t.Helper()
	r, err := chromedp.Call(b.ctx, c, p)
	if err != nil {
		t.Fatalf("chromium: %s: %v", c.Method, err)
	}
	return r
}

// Open goes to a page, from one that is at rest.
func (b *Browser) Open(t testing.TB, address string) {
	t.Helper()
	b.settle(t)
	if err := chromedp.Do(b.ctx, chromedp.Navigate(address)); err != nil {
		t.Fatalf("chromium: open %s: %v", address, err)
	}
}

// Call calls a function of the page, waits for it, and takes what it answers into out.
func (b *Browser) Call(t testing.TB, out any, function string, in ...any) {
	t.Helper()
	arguments := make([]string, len(in))
	for i, v := range in {
		p, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		arguments[i] = string(p)
	}
	p, err := chromedp.Run(b.ctx, chromedp.Evaluate[[]byte](fmt.Sprintf("%s(%s)", function, strings.Join(arguments, ",")), chromedp.EvalAwaitPromise))
	if err != nil {
		t.Fatalf("chromium: %s: %v", function, err)
	}
	if err := json.Unmarshal(p, out); err != nil {
		t.Fatalf("chromium: %s answers %s: %v", function, p, err)
	}
}

// Verify says whether the authenticator knows its user by a finger or a PIN from now on.
func (b *Browser) Verify(t testing.TB, does bool) {
	t.Helper()
	command(t, b, webauthn.SetUserVerified, webauthn.SetUserVerifiedParams{AuthenticatorID: b.auth, IsUserVerified: does})
}

// addCredential is webauthn.AddCredential without the fields that cannot be left out there, and that this authenticator refuses.
var addCredential = cdp.Command[copied, cdp.Empty]{Method: webauthn.CommandAddCredential}

type copied struct {
	Authenticator webauthn.AuthenticatorID `json:"authenticatorId"`
	Credential    copyOf                   `json:"credential"`
}

type copyOf struct {
	ID        []byte `json:"credentialId"`
	Resident  bool   `json:"isResidentCredential"`
	Party     string `json:"rpId"`
	Key       []byte `json:"privateKey"`
	User      []byte `json:"userHandle,omitempty"`
	SignCount int    `json:"signCount"`
}

// Clone puts a copy in the place of each credential, whose counter begins anew.
func (b *Browser) Clone(t testing.TB) {
	t.Helper()
	all := command(t, b, webauthn.GetCredentials, webauthn.GetCredentialsParams{AuthenticatorID: b.auth}).Credentials
	if len(all) == 0 {
		t.Fatal("chromium: there is nothing to clone")
	}
	command(t, b, webauthn.ClearCredentials, webauthn.ClearCredentialsParams{AuthenticatorID: b.auth})
	for _, c := range all {
		command(t, b, addCredential, copied{b.auth, copyOf{c.CredentialID, c.IsResidentCredential, c.RpID, c.PrivateKey, c.UserHandle, 0}})
	}
}
