package self

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/quick"
	"latchkey/policy/api"
)

// quick has what the mobile app needs for quick login: to register its key and PIN, to add biometrics, to sign in.
func (s service) quick(k *api.Kit) {
	api.SignedIn(k, api.Operation{ID: "list-my-quick-devices", Method: http.MethodGet, Path: "/me/quick-devices", Tag: tag,
		Summary: "My devices of quick login"}, s.quickDevices)
	api.SignedIn(k, api.Operation{ID: "begin-quick-device", Method: http.MethodPost, Path: "/me/quick-devices/begin", Tag: tag,
		Summary: "Begin to register this device for quick login, within ten minutes of a full sign-in"}, s.beginDevice)
	api.SignedIn(k, api.Operation{ID: "register-quick-device", Method: http.MethodPost, Path: "/me/quick-devices", Tag: tag, Status: http.StatusCreated,
		Summary: "Register this device with its key and a PIN"}, s.registerDevice)
	api.SignedIn(k, api.Operation{ID: "delete-my-quick-device", Method: http.MethodDelete, Path: "/me/quick-devices/{id}", Tag: tag,
		Summary: "Delete a device; it cannot sign in any more"}, s.deleteDevice)
	api.SignedIn(k, api.Operation{ID: "begin-quick-biometric", Method: http.MethodPost, Path: "/me/quick-devices/{id}/biometric/begin", Tag: tag,
		Summary: "Begin to add biometrics to a device"}, s.beginBiometric)
	api.SignedIn(k, api.Operation{ID: "register-quick-biometric", Method: http.MethodPost, Path: "/me/quick-devices/{id}/biometric", Tag: tag,
		Summary: "Add biometrics to a device, in the place of those it has"}, s.registerBiometric)
	api.Open(k, api.Operation{ID: "sign-in-quick", Method: http.MethodPost, Path: "/sign-in/quick", Tag: signInTag,
		Summary: "Begin quick login, or to prove once more who I am by it; the same for a device that is not known"}, s.beginQuick)
	api.Open(k, api.Operation{ID: "sign-in-quick-pin", Method: http.MethodPost, Path: "/sign-in/quick/pin", Tag: signInTag,
		Summary: "Go on with the device's signature and the PIN; five wrong PINs in a row delete the registration"}, s.quickPIN)
	api.Open(k, api.Operation{ID: "sign-in-quick-biometric", Method: http.MethodPost, Path: "/sign-in/quick/biometric", Tag: signInTag,
		Summary: "Go on with the device's biometrics"}, s.quickBiometric)
	api.SignedIn(k, api.Operation{ID: "reauthenticate-quick-pin", Method: http.MethodPost, Path: "/reauthenticate/quick/pin", Tag: signInTag,
		Summary: "Prove once more who I am by a device and its PIN"}, s.confirmPIN)
	api.SignedIn(k, api.Operation{ID: "reauthenticate-quick-biometric", Method: http.MethodPost, Path: "/reauthenticate/quick/biometric", Tag: signInTag,
		Summary: "Prove once more who I am by a device's biometrics"}, s.confirmBiometric)
}

func (s service) quickDevices(ctx context.Context, a authcore.Actor, _ *struct{}) (*api.Reply[api.List[api.QuickDevice]], error) {
	l, err := s.core.QuickDevices(ctx, a)
	if err != nil {
		return nil, err
	}
	return api.Listed(l, "", api.QuickDeviceOf), nil
}

// DeviceChallenge is what a new device signs.
type DeviceChallenge struct {
	Ticket    string    `json:"ticket" doc:"For the registration, once"`
	Device    string    `json:"device" doc:"The id that the device will have"`
	Challenge string    `json:"challenge" doc:"To sign, as it is"`
	ExpiresAt time.Time `json:"expires_at"`
}

func (s service) beginDevice(ctx context.Context, a authcore.Actor, _ *struct{}) (*api.Reply[DeviceChallenge], error) {
	b, err := s.core.BeginQuickDevice(ctx, a)
	if err != nil {
		return nil, err
	}
	return &api.Reply[DeviceChallenge]{Body: DeviceChallenge{Ticket: b.Ticket.Reveal(), Device: b.Device, Challenge: b.Challenge, ExpiresAt: b.ExpiresAt.UTC()}}, nil
}

// Signed is what every message of a device carries. It is exported because huma looks into exported fields alone.
type Signed struct {
	Ticket    typed  `json:"ticket" maxLength:"200"`
	PIN       typed  `json:"pin" maxLength:"64" example:"283947" doc:"Six digits"`
	Origin    string `json:"origin" maxLength:"300" example:"https://mail.example.com" doc:"Where the app sends this: https://host, with :port unless it is 443"`
	Signature string `json:"signature" maxLength:"128" doc:"ES256 (64 bytes in base64url) over four lines: the label, the challenge, the device's id, the origin. The label is 'latchkey quick login v1: register' or 'latchkey quick login v1: sign in'"`
}

type newDevice struct {
	Body struct {
		Signed
		Name      string          `json:"name" maxLength:"200" doc:"1 to 40 characters"`
		PublicKey json.RawMessage `json:"public_key" doc:"P-256: a JWK, or SubjectPublicKeyInfo in base64url"`
	} `nameHint:"NewQuickDevice"`
}

func (s service) registerDevice(ctx context.Context, a authcore.Actor, in *newDevice) (*api.Reply[api.QuickDevice], error) {
	b := in.Body
	d, err := s.core.RegisterQuickDevice(ctx, a, authcore.NewQuickDevice{
		Ticket: b.Ticket, Name: b.Name, Key: b.PublicKey, PIN: b.PIN, Origin: b.Origin, Signature: b.Signature,
	})
	return device(d, err)
}

func device(d quick.Device, err error) (*api.Reply[api.QuickDevice], error) {
	if err != nil {
		return nil, err
	}
	return &api.Reply[api.QuickDevice]{Body: api.QuickDeviceOf(d)}, nil
}

// OnDevice is an operation on one device. It is exported because huma looks into exported fields alone.
type OnDevice struct {
	ID string `path:"id" maxLength:"100"`
}

func (s service) deleteDevice(ctx context.Context, a authcore.Actor, in *OnDevice) (*api.None, error) {
	return nil, s.core.DeleteQuickDevice(ctx, a, in.ID)
}

// KeyChallenge is what an authenticator answers.
type KeyChallenge struct {
	Ticket    string          `json:"ticket,omitempty" doc:"For the answer, once"`
	PublicKey json.RawMessage `json:"public_key" doc:"Options of WebAuthn in their JSON form, for navigator.credentials or the platform's own call"`
	ExpiresAt time.Time       `json:"expires_at"`
}

func keyChallenge(b authcore.Ceremony, err error) (*api.Reply[KeyChallenge], error) {
	if err != nil {
		return nil, err
	}
	return &api.Reply[KeyChallenge]{Body: KeyChallenge{Ticket: b.Ticket.Reveal(), PublicKey: b.Options, ExpiresAt: b.ExpiresAt.UTC()}}, nil
}

func (s service) beginBiometric(ctx context.Context, a authcore.Actor, in *OnDevice) (*api.Reply[KeyChallenge], error) {
	return keyChallenge(s.core.BeginQuickBiometric(ctx, a, in.ID))
}

// Answered is an authenticator's answer. It is exported because huma looks into exported fields alone.
type Answered struct {
	Ticket     typed           `json:"ticket" maxLength:"200"`
	Credential json.RawMessage `json:"credential" doc:"The answer of the authenticator in the JSON form of WebAuthn (PublicKeyCredential.toJSON)"`
}

type onDevice struct {
	OnDevice
	Body struct {
		Answered
	} `nameHint:"NewQuickBiometric"`
}

func (s service) registerBiometric(ctx context.Context, a authcore.Actor, in *onDevice) (*api.Reply[api.QuickDevice], error) {
	d, err := s.core.FinishQuickBiometric(ctx, a, in.ID, in.Body.Ticket, in.Body.Credential)
	return device(d, err)
}

type ofDevice struct {
	Body struct {
		Device string `json:"device" maxLength:"200" doc:"Its id"`
	} `nameHint:"QuickSignIn"`
}

// QuickChallenge is answered by the device's key and the PIN, or by its biometrics.
type QuickChallenge struct {
	KeyChallenge
	Challenge string `json:"challenge" doc:"To sign, as it is"`
}

func (s service) beginQuick(ctx context.Context, c authcore.Client, in *ofDevice) (*api.Reply[QuickChallenge], error) {
	b, err := s.core.BeginQuickSignIn(ctx, c, in.Body.Device)
	v, err := keyChallenge(b, err)
	if err != nil {
		return nil, err
	}
	return &api.Reply[QuickChallenge]{Body: QuickChallenge{KeyChallenge: v.Body, Challenge: b.Challenge}}, nil
}

type byPIN struct {
	Body struct {
		Signed
		TrustedBrowser
	} `nameHint:"QuickPIN"`
}

func (in *byPIN) sent() authcore.QuickPIN {
	return authcore.QuickPIN{Ticket: in.Body.Ticket, PIN: in.Body.PIN, Origin: in.Body.Origin, Signature: in.Body.Signature}
}

type byKey struct {
	Body struct {
		Answered
		TrustedBrowser
	} `nameHint:"KeyAnswer"`
}

func (s service) quickPIN(ctx context.Context, c authcore.Client, in *byPIN) (*api.Reply[Result], error) {
	return s.next(ctx)(s.core.SignInQuickPIN(ctx, in.Body.client(c), in.sent()))
}

func (s service) quickBiometric(ctx context.Context, c authcore.Client, in *byKey) (*api.Reply[Result], error) {
	return s.next(ctx)(s.core.SignInQuickBiometric(ctx, in.Body.client(c), in.Body.Ticket, in.Body.Credential))
}

func (s service) confirmPIN(ctx context.Context, a authcore.Actor, in *byPIN) (*api.Reply[Result], error) {
	return s.next(ctx)(s.core.ReauthenticateQuickPIN(ctx, a, in.sent()))
}

func (s service) confirmBiometric(ctx context.Context, a authcore.Actor, in *byKey) (*api.Reply[Result], error) {
	return s.next(ctx)(s.core.ReauthenticateQuickBiometric(ctx, a, in.Body.Ticket, in.Body.Credential))
}

// next shows what a step came to.
func (s service) next(ctx context.Context) func(authcore.SignInResult, error) (*api.Reply[Result], error) {
	return func(r authcore.SignInResult, err error) (*api.Reply[Result], error) {
		if err != nil {
			return nil, err
		}
		return s.result(ctx, r)
	}
}
