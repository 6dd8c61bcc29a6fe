package console

import (
	"slices"
	"strings"

	"latchkey/authcore"
	"latchkey/authcore/audit"
	"latchkey/policy"
)

// actionWords say an action of the audit as people do.
func actionWords() map[audit.Action]string {
	return map[audit.Action]string{
		audit.SignIn: en("Sign-in"), audit.SignOut: en("Signed out"), audit.SignOutEverywhere: en("Signed out everywhere"),
		audit.Reauthenticate: en("Identity confirmed again"), audit.SessionEnd: en("Session ended"),
		audit.PasswordChange: en("Account password changed"), audit.PasswordReset: en("Account password reset"),
		audit.PasswordForgotten: en("Forgotten password replaced"), audit.AddressForgotten: en("Forgotten address asked for"),
		audit.AppPasswordCreate: en("App password created"), audit.AppPasswordDelete: en("App password deleted"),
		audit.AppPasswordOption: en("“Use a third-party app password” switched"),
		audit.MemberCreate:      en("Member created"), audit.MemberUpdate: en("Member changed"), audit.MemberDelete: en("Member deleted"),
		audit.MemberRestore: en("Member restored"), audit.MemberSuspend: en("Member suspended"), audit.MemberLift: en("Suspension removed"),
		audit.DomainCreate: en("Domain created"), audit.DomainUpdate: en("Domain changed"), audit.PolicyUpdate: en("Account Security changed"),
		audit.OperatorGrant: en("Operator appointed"), audit.OperatorReset: en("Operator's access reset"),
		audit.TokenCreate: en("API token created"), audit.TokenDelete: en("API token deleted"),
		audit.TwoStepOn: en("2-step verification switched on"), audit.TwoStepOff: en("2-step verification switched off"),
		audit.TwoStepMethod: en("2-step verification method changed"), audit.CodeSend: en("One-time code sent"),
		audit.ContactChange: en("Contact changed"), audit.LinkCreate: en("Sign-in method connected"), audit.LinkDelete: en("Sign-in method disconnected"),
		audit.QuickRegister: en("Device or passkey registered"), audit.QuickDelete: en("Device or passkey deleted"),
		audit.WaysDeny: en("Ways to sign in denied to a member"), audit.BrowserTrust: en("Trust in a browser changed"),
		audit.KeysRotate: en("Server keys changed"), audit.RollbackAccept: en("Rollback of the store accepted"),
		audit.MessageGiveUp: en("Message could not be delivered"),
	}
}

// result is how an attempt ended, as people say it.
type result struct{ word, sentence string }

// results are those of sign-ins, the frequent ones first. A word that is not among them is shown as it is.
func results() []result {
	word := func(r authcore.Reason) string { return string(r) }
	return []result{
		{word(authcore.Allowed), en("Signed in")},
		{word(authcore.BadCredentials), en("Wrong name or password")},
		{word(authcore.AppPasswordRequired), en("App password required")},
		{word(authcore.PasswordExpired), en("Password expired")},
		{word(authcore.PasswordChangeRequired), en("New password required")},
		{word(authcore.Suspended), en("Member is suspended")},
		{word(authcore.DoorClosed), en("Door is closed")},
		{word(authcore.Throttled), en("Too many attempts")},
		{word(authcore.TooManyConnections), en("Too many connections")},
		{word(authcore.Unavailable), en("Temporarily unavailable")},
		{word(authcore.TLSRequired), en("Encryption required")},
		{string(authcore.TwoStepRequired), en("Asked for the second step")},
		{"two_step_enrolment_required", en("Asked to set up 2-step verification")},
		{string(authcore.TwoStepMethodMissing), en("No method for the second step")},
		{string(authcore.BadCode), en("Wrong or old code")},
		{string(authcore.WayDenied), en("This way is not approved")},
		{string(authcore.NotLinked), en("Account is not connected")},
		{string(authcore.ProviderRefused), en("Provider's answer refused")},
	}
}

// resultWords say a reason.
func (p *page) resultWords(reason string) string {
	l := results()
	if i := slices.IndexFunc(l, func(r result) bool { return r.word == reason }); i >= 0 {
		return p.t(l[i].sentence)
	}
	return strings.ReplaceAll(reason, "_", " ")
}

// doorWords say a door as programs name it.
func (p *page) doorWords(door string) string {
	switch door {
	case authcore.WebDoor:
		return p.t("Web")
	case policy.CalDAV:
		return "CalDAV"
	case policy.CardDAV:
		return "CardDAV"
	}
	return strings.ToUpper(door)
}

// credentialWords say what somebody signed in with.
func (p *page) credentialWords(kind string) string {
	switch kind {
	case "app_password":
		return p.t("App password")
	case "account_password":
		return p.t("Account password")
	case "api_token":
		return p.t("API token")
	}
	return strings.ReplaceAll(kind, "_", " ")
}
