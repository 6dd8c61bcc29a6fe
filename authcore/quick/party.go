package quick

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/protocol/webauthncose"
	"github.com/go-webauthn/webauthn/webauthn"
)

// Settings are this installation as a relying party (WebAuthn Level 3 section 4).
type Settings struct {
	ID         string   // the domain that credentials belong to; it can never change without losing them all
	Name       string   // what authenticators show beside it; empty: Latchkey
	Origins    []string // https://host or https://host:port, from which the API is used
	AppOrigins []string // of mobile apps: android:apk-key-hash:…
}

// Party runs the ceremonies of WebAuthn. It keeps nothing: what must be remembered between begin and finish is a State.
type Party struct {
	w       *webauthn.WebAuthn
	origins []string
	nobody  []byte
}

// NewParty makes a Party.
func NewParty(s Settings) (*Party, error) {
	if s.Name == "" {
		s.Name = "Latchkey"
	}
	w, err := webauthn.New(&webauthn.Config{
		RPID: s.ID, RPDisplayName: s.Name, RPOrigins: s.Origins, RPOpaqueOrigins: s.AppOrigins,
		AttestationPreference:  protocol.PreferNoAttestation,
		AuthenticatorSelection: protocol.AuthenticatorSelection{UserVerification: protocol.VerificationRequired},
	})
	if err != nil {
		return nil, fmt.Errorf("webauthn: %w", err)
	}
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("webauthn: %w", err)
	}
	nobody, err := marshal(&k.PublicKey)
	if err != nil {
		return nil, fmt.Errorf("webauthn: %w", err)
	}
	return &Party{w: w, origins: s.Origins, nobody: nobody}, nil
}

// NobodysKey stands in for the key of a device that is not known, so that it costs the same. Its private half is lost.
func (p *Party) NobodysKey() []byte { return p.nobody }

// Serves says whether the API is used from an origin.
func (p *Party) Serves(origin string) bool { return slices.Contains(p.origins, origin) }

// Credential is a WebAuthn public key credential (WebAuthn Level 3 section 4, credential record).
type Credential struct {
	ID             []byte   `json:"id"`
	Key            []byte   `json:"key"` // COSE
	Counter        uint32   `json:"counter,omitempty"`
	BackupEligible bool     `json:"backup_eligible,omitempty"` // it may be on several devices
	BackedUp       bool     `json:"backed_up,omitempty"`
	Transports     []string `json:"transports,omitempty"`
	Model          []byte   `json:"aaguid,omitempty"`
}

// Whose is the account that a ceremony is for, as authenticators see it.
type Whose struct {
	Handle      []byte // opaque; what a discoverable credential answers with
	Name        string // the address
	Credentials []Credential
}

type user struct{ Whose }

func (u user) WebAuthnID() []byte          { return u.Handle }
func (u user) WebAuthnName() string        { return u.Name }
func (u user) WebAuthnDisplayName() string { return u.Name }

func (u user) WebAuthnCredentials() []webauthn.Credential {
	var l []webauthn.Credential
	for _, c := range u.Credentials {
		l = append(l, c.library())
	}
	return l
}

func (c Credential) library() webauthn.Credential {
	flags := protocol.FlagUserPresent | protocol.FlagUserVerified
	if c.BackupEligible {
		flags |= protocol.FlagBackupEligible
	}
	if c.BackedUp {
		flags |= protocol.FlagBackupState
	}
	v := webauthn.Credential{ID: c.ID, PublicKey: c.Key, Flags: webauthn.NewCredentialFlags(flags),
		Authenticator: webauthn.Authenticator{AAGUID: c.Model, SignCount: c.Counter}}
	for _, t := range c.Transports {
		v.Transport = append(v.Transport, protocol.AuthenticatorTransport(t))
	}
	return v
}

// maxTransports bounds what is kept of a list that the client makes.
const maxTransports = 8

func ours(v *webauthn.Credential) Credential {
	c := Credential{ID: v.ID, Key: v.PublicKey, Counter: v.Authenticator.SignCount, BackupEligible: v.Flags.BackupEligible,
		BackedUp: v.Flags.BackupState, Model: v.Authenticator.AAGUID}
	for _, t := range v.Transport[:min(len(v.Transport), maxTransports)] {
		if slices.Contains([]string{"usb", "nfc", "ble", "smart-card", "hybrid", "internal"}, string(t)) {
			c.Transports = append(c.Transports, string(t))
		}
	}
	return c
}

// State is what must be remembered of a ceremony until it is finished, once.
type State struct {
	Challenge string `json:"challenge"` // base64url
}

// Kind says where a new credential is to live.
type Kind uint8

// A Passkey must be found without a name being typed; a Biometric belongs to an app that knows its own.
const (
	Passkey Kind = iota + 1
	Biometric
)

// answerWithin is how long an authenticator may ask the member.
const answerWithin = 2 * time.Minute

// BeginRegistration answers PublicKeyCredentialCreationOptions as JSON. Credentials that whose has already are excluded.
func (p *Party) BeginRegistration(whose Whose, k Kind) (json.RawMessage, State, error) {
	resident := protocol.ResidentKeyRequirementDiscouraged
	if k == Passkey {
		resident = protocol.ResidentKeyRequirementRequired
	}
	u := user{whose}
	o, _, err := p.w.BeginRegistration(u,
		webauthn.WithAuthenticatorSelection(protocol.AuthenticatorSelection{ResidentKey: resident, UserVerification: protocol.VerificationRequired}),
		webauthn.WithResidentKeyRequirement(resident),
		webauthn.WithExclusions(webauthn.Credentials(u.WebAuthnCredentials()).CredentialDescriptors()),
		webauthn.WithCredentialParameters(parameters()))
	if err != nil {
		return nil, State{}, fmt.Errorf("begin registration: %w", err)
	}
	o.Response.Timeout = int(answerWithin.Milliseconds())
	j, err := json.Marshal(o.Response)
	return j, State{Challenge: o.Response.Challenge.String()}, err
}

// parameters are the algorithms that every authenticator has one of.
func parameters() []protocol.CredentialParameter {
	var l []protocol.CredentialParameter
	for _, a := range []webauthncose.COSEAlgorithmIdentifier{webauthncose.AlgES256, webauthncose.AlgEdDSA, webauthncose.AlgRS256} {
		l = append(l, protocol.CredentialParameter{Type: protocol.PublicKeyCredentialType, Algorithm: a})
	}
	return l
}

// ErrProof: what the client sent is not the answer to this ceremony. The cause is for the log.
var ErrProof = errors.New("the answer of the authenticator does not hold")

// ErrCloned: the counter of the credential did not rise (WebAuthn Level 3 section 6.1.1). There may be two of it.
var ErrCloned = errors.New("the counter of the authenticator went back")

// Bounds of what an authenticator is believed to make. Credential ids have at most 1023 bytes (WebAuthn Level 3 section 4).
const (
	MaxAnswer       = 64 << 10
	maxCredentialID = 1023
	maxCOSE         = 2048 // RSA of 8192 bits stays below
)

// FinishRegistration checks RegistrationResponseJSON and answers the new credential.
func (p *Party) FinishRegistration(whose Whose, s State, answer []byte) (Credential, error) {
	if len(answer) > MaxAnswer {
		return Credential{}, fmt.Errorf("%w: too long", ErrProof)
	}
	parsed, err := protocol.ParseCredentialCreationResponseBytes(answer)
	if err != nil {
		return Credential{}, fmt.Errorf("%w: %w", ErrProof, err)
	}
	v, err := p.w.CreateCredential(user{whose}, webauthn.SessionData{
		Challenge: s.Challenge, UserID: whose.Handle, UserVerification: protocol.VerificationRequired, CredParams: parameters(),
	}, parsed)
	if err != nil {
		return Credential{}, fmt.Errorf("%w: %w", ErrProof, err)
	}
	c := ours(v)
	if len(c.ID) == 0 || len(c.ID) > maxCredentialID || len(c.Key) > maxCOSE {
		return Credential{}, fmt.Errorf("%w: the credential is too large", ErrProof)
	}
	if slices.ContainsFunc(whose.Credentials, func(o Credential) bool { return bytes.Equal(o.ID, c.ID) }) {
		return Credential{}, fmt.Errorf("%w: the credential is registered already", ErrProof)
	}
	return c, nil
}

// BeginAssertion answers PublicKeyCredentialRequestOptions as JSON, for the credentials of whose; nil is for whoever has a
// passkey here.
func (p *Party) BeginAssertion(whose *Whose) (json.RawMessage, State, error) {
	var o *protocol.CredentialAssertion
	var err error
	if whose == nil {
		o, _, err = p.w.BeginDiscoverableLogin()
	} else {
		o, _, err = p.w.BeginLogin(user{*whose})
	}
	if err != nil {
		return nil, State{}, fmt.Errorf("begin assertion: %w", err)
	}
	o.Response.Timeout = int(answerWithin.Milliseconds())
	j, err := json.Marshal(o.Response)
	return j, State{Challenge: o.Response.Challenge.String()}, err
}

// An Assertion is an answer that was read and not yet believed.
type Assertion struct {
	parsed *protocol.ParsedCredentialAssertionData
}

// ReadAssertion reads AuthenticationResponseJSON.
func ReadAssertion(answer []byte) (Assertion, error) {
	if len(answer) > MaxAnswer {
		return Assertion{}, fmt.Errorf("%w: too long", ErrProof)
	}
	parsed, err := protocol.ParseCredentialRequestResponseBytes(answer)
	if err != nil {
		return Assertion{}, fmt.Errorf("%w: %w", ErrProof, err)
	}
	return Assertion{parsed}, nil
}

// UnverifiedHandle is whose the credential says that it is; empty when it does not say.
func (a Assertion) UnverifiedHandle() []byte { return a.parsed.Response.UserHandle }

// FinishAssertion checks an answer and answers the credential as it is now, to be kept. With ErrCloned the answer is right
// in everything but its counter.
func (p *Party) FinishAssertion(whose Whose, s State, a Assertion) (Credential, error) {
	session := webauthn.SessionData{Challenge: s.Challenge, UserID: whose.Handle, UserVerification: protocol.VerificationRequired}
	for _, c := range whose.Credentials {
		session.AllowedCredentialIDs = append(session.AllowedCredentialIDs, c.ID)
	}
	if len(session.AllowedCredentialIDs) == 0 { // the library would take it for a discoverable login
		return Credential{}, fmt.Errorf("%w: there is no credential", ErrProof)
	}
	v, err := p.w.ValidateLogin(user{whose}, session, a.parsed)
	if err != nil {
		return Credential{}, fmt.Errorf("%w: %w", ErrProof, err)
	}
	if v.Authenticator.CloneWarning {
		return ours(v), ErrCloned
	}
	c := ours(v)
	for _, o := range whose.Credentials {
		if bytes.Equal(o.ID, c.ID) {
			o.Counter, o.BackedUp = c.Counter, c.BackedUp
			return o, nil
		}
	}
	return Credential{}, ErrProof // cannot happen: the library found it there
}
