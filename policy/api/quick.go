package api

import (
	"time"

	"latchkey/authcore/quick"
)

// QuickDevice is a device of quick login as lists show it: never with its key or PIN.
type QuickDevice struct {
	ID           string    `json:"id"`
	Name         string    `json:"name"`
	Biometric    bool      `json:"biometric" doc:"It signs in by biometrics too"`
	CreatedAt    time.Time `json:"created_at"`
	CreatedFrom  string    `json:"created_from,omitempty"`
	LastUsed     time.Time `json:"last_used_at,omitzero"`
	LastUsedFrom string    `json:"last_used_from,omitempty"`
}

// QuickDeviceOf shows one.
func QuickDeviceOf(d quick.Device) QuickDevice {
	return QuickDevice{ID: d.ID, Name: d.Name, Biometric: d.Biometric != nil, CreatedAt: d.CreatedAt, CreatedFrom: d.From, LastUsed: d.UsedAt, LastUsedFrom: d.UsedFrom}
}

// Passkey is a passkey as lists show it.
type Passkey struct {
	ID           string    `json:"id"`
	Name         string    `json:"name"`
	Synchronised bool      `json:"synchronised" doc:"It may be on several devices of its owner"`
	CreatedAt    time.Time `json:"created_at"`
	CreatedFrom  string    `json:"created_from,omitempty"`
	LastUsed     time.Time `json:"last_used_at,omitzero"`
	LastUsedFrom string    `json:"last_used_from,omitempty"`
}

// PasskeyOf shows one.
func PasskeyOf(p quick.Named) Passkey {
	return Passkey{ID: p.ID, Name: p.Name, Synchronised: p.Credential.BackupEligible, CreatedAt: p.CreatedAt, CreatedFrom: p.From, LastUsed: p.UsedAt, LastUsedFrom: p.UsedFrom}
}
