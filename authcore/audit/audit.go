// Package audit says who did what: append-only records in the domain's own partition, newest first by a reverse list.
// It refuses secrets by having no field for them, and keeps a storm of equal failures in one record with a counter.
package audit

import (
	"crypto/rand"
	"encoding/hex"
	"time"

	"latchkey/authcore/store"
)

// Entry is one thing that somebody did or tried.
type Entry struct {
	ID         string    `json:"id"`
	Time       time.Time `json:"time"`                // of the first, when Count is above one
	Last       time.Time `json:"last,omitzero"`       // of the last
	Count      int       `json:"count"`               // how many equal ones
	Actor      string    `json:"actor,omitempty"`     // address of who did it; empty: the server, or nobody known
	Target     string    `json:"target,omitempty"`    // address or name of what it was done to
	MemberID   string    `json:"member_id,omitempty"` // of the target
	Action     Action    `json:"action"`
	Reason     string    `json:"reason,omitempty"` // of an attempt: authcore.Reason
	Detail     string    `json:"detail,omitempty"` // a closed word more than the client was told, or what changed
	Door       string    `json:"door,omitempty"`   // or service: "web"
	From       string    `json:"from,omitempty"`   // client address
	Agent      string    `json:"agent,omitempty"`
	Kind       string    `json:"credential_kind,omitempty"` // "app_password", "account_password"
	Credential string    `json:"credential,omitempty"`      // id
	Name       string    `json:"credential_name,omitempty"`
	Session    string    `json:"session,omitempty"`
	Changes    []Change  `json:"changes,omitempty"` // of a policy, a domain, a member: field by field
}

// Action is one word out of a closed set.
type Action string

// The actions. The set only grows.
const (
	SignIn            Action = "sign_in"
	SignOut           Action = "sign_out"
	SignOutEverywhere Action = "sign_out_everywhere"
	Reauthenticate    Action = "reauthenticate"
	PasswordChange    Action = "password_change"
	PasswordReset     Action = "password_reset"
	AppPasswordCreate Action = "app_password_create"
	AppPasswordDelete Action = "app_password_delete"
	AppPasswordOption Action = "app_password_option"
	SessionEnd        Action = "session_end"
	MemberCreate      Action = "member_create"
	MemberUpdate      Action = "member_update"
	MemberDelete      Action = "member_delete"
	MemberRestore     Action = "member_restore"
	MemberSuspend     Action = "member_suspend"
	MemberLift        Action = "member_lift"
	DomainCreate      Action = "domain_create"
	DomainUpdate      Action = "domain_update"
	PolicyUpdate      Action = "policy_update"
	OperatorGrant     Action = "operator_grant"
	OperatorReset     Action = "operator_reset"
	TokenCreate       Action = "token_create"
	TokenDelete       Action = "token_delete"
	TwoStepOn         Action = "two_step_on"
	TwoStepOff        Action = "two_step_off"
	TwoStepMethod     Action = "two_step_method" // an authenticator app, recovery codes or a passkey came or went: detail says which
	CodeSend          Action = "code_send"       // detail: what for
	ContactChange     Action = "contact_change"
	LinkCreate        Action = "link_create" // a phone number, LINE or another provider: detail says which
	LinkDelete        Action = "link_delete"
	QuickRegister     Action = "quick_register"
	QuickDelete       Action = "quick_delete"
	WaysDeny          Action = "ways_deny" // for one member
	PasswordForgotten Action = "password_forgotten"
	AddressForgotten  Action = "address_forgotten"
	BrowserTrust      Action = "browser_trust"
	KeysRotate        Action = "keys_rotate"
	RollbackAccept    Action = "rollback_accept" // detail: what nodes missed
	MessageGiveUp     Action = "message_give_up" // reason: its kind, detail: the channel
)

// Actions lists the set, in the order above.
func Actions() []Action {
	return []Action{
		SignIn, SignOut, SignOutEverywhere, Reauthenticate, PasswordChange, PasswordReset, AppPasswordCreate, AppPasswordDelete,
		AppPasswordOption, SessionEnd, MemberCreate, MemberUpdate, MemberDelete, MemberRestore, MemberSuspend, MemberLift, DomainCreate,
		DomainUpdate, PolicyUpdate, OperatorGrant, OperatorReset, TokenCreate, TokenDelete, TwoStepOn, TwoStepOff, TwoStepMethod, CodeSend,
		ContactChange, LinkCreate, LinkDelete, QuickRegister, QuickDelete, WaysDeny, PasswordForgotten, AddressForgotten, BrowserTrust,
		KeysRotate, RollbackAccept, MessageGiveUp,
	}
}

// Keep is how long entries stay, unless the configuration says otherwise (Kept).
const Keep = 180 * 24 * time.Hour

// Prefix begins the names of all entries.
const Prefix = "audit/"

// name orders entries by day and time. Entries with the same key in the same time share a name, and so a record.
func name(at time.Time, key string) string {
	at = at.UTC()
	b := make([]byte, 0, len(Prefix)+len(dayForm)+16+len(key))
	b = append(at.AppendFormat(append(b, Prefix...), dayForm), '/')
	ms := at.UnixMilli()
	for shift := 4 * 12; shift >= 0; shift -= 4 { // 13 digits, as %013x
		b = append(b, digits[ms>>shift&0xf])
	}
	return string(append(append(b, '-'), key...))
}

const digits = "0123456789abcdef"

// Op appends e.
func Op(e Entry) store.Op {
	var b [8]byte
	_, _ = rand.Read(b[:])
	e.Time, e.Count = e.Time.UTC(), 1
	var key [16]byte
	hex.Encode(key[:], b[:])
	return put(name(e.Time, string(key[:])), e, 0)
}

func put(n string, e Entry, ifRevision int64) store.Op {
	e.ID = n[len(Prefix):]
	return store.Op{Kind: store.Put, Name: n, Value: e.text(), IfRevision: ifRevision, ExpiresAt: e.Time.Add(Keep)}
}
