package api

import (
	"time"

	"latchkey/authcore"
)

// TwoStepStatus is a member's 2-step verification, to himself and to administrators: never a secret of it.
type TwoStepStatus struct {
	Enabled       bool           `json:"enabled" doc:"A second step is asked of the member"`
	By            string         `json:"by" enum:"member,policy,nobody" doc:"Who asked for it"`
	Required      bool           `json:"required" doc:"By the policy: it cannot be switched off"`
	Managed       bool           `json:"profile_managed_externally" doc:"The member cannot change his contacts"`
	Methods       []string       `json:"methods" nullable:"false" enum:"email,mobile,totp,recovery_code,passkey" doc:"Those of which each would do today"`
	Contacts      []KnownContact `json:"contacts" nullable:"false"`
	App           *App           `json:"app,omitempty" doc:"The authenticator app, if there is one"`
	RecoveryCodes Recovery       `json:"recovery_codes"`
	Passkeys      int            `json:"passkeys" doc:"How many there are"`
}

// KnownContact is a personal e-mail address or mobile number.
type KnownContact struct {
	ID       string `json:"id"`
	Kind     string `json:"kind" enum:"email,mobile"`
	Value    string `json:"value"`
	Verified bool   `json:"verified" doc:"A code sent there came back"`
}

// App is an authenticator app.
type App struct {
	Since time.Time `json:"since"`
}

// Recovery are the recovery codes, as far as they may be told.
type Recovery struct {
	Left  int       `json:"left"`
	Since time.Time `json:"since,omitzero"`
}

// TwoStepOf shows a view.
func TwoStepOf(v authcore.TwoStepView) TwoStepStatus {
	t := TwoStepStatus{
		Enabled: v.On, By: string(v.By), Required: v.Required, Managed: v.Managed, Methods: []string{}, Contacts: []KnownContact{},
		RecoveryCodes: Recovery{Left: v.RecoveryLeft, Since: v.RecoverySince}, Passkeys: v.Passkeys,
	}
	switch {
	case v.By == "" && v.Required:
		t.By = "policy"
	case !v.On:
		t.By = "nobody" // what the policy asked for ended with it
	}
	for _, m := range v.Methods {
		t.Methods = append(t.Methods, string(m))
	}
	for _, k := range v.Contacts {
		t.Contacts = append(t.Contacts, KnownContact{ID: k.ContactID(), Kind: k.Kind, Value: k.Value, Verified: k.Verified})
	}
	if !v.AppSince.IsZero() {
		t.App = &App{Since: v.AppSince}
	}
	return t
}
