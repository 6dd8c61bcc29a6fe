package console

import (
	"strconv"
	"strings"
	"time"

	"latchkey/policy"
)

// values are a policy field by field, by the names of its JSON document, as a form sends them.
type values map[string]string

// Fields that are asked for by name.
const (
	appPasswordsField = "third_party.app_passwords"
	requiredFromField = "third_party.required_from"
	oidcField         = "sign_in.oidc."
)

// valuesOf lists every field of a policy.
func valuesOf(p policy.Policy) values {
	v := values{
		"password.format":             string(p.Password.Format),
		"password.min_length":         strconv.Itoa(p.Password.MinLength),
		"password.expires_after_days": strconv.Itoa(p.Password.ExpiresAfterDays),
		"password.no_reuse_of_last":   strconv.Itoa(p.Password.NoReuseOfLast),
		"password.max_failures":       strconv.Itoa(p.Password.MaxFailures),
		"password.refuse_sequences":   strconv.FormatBool(p.Password.RefuseSequences),
		"password.refuse_common":      strconv.FormatBool(p.Password.RefuseCommon),

		appPasswordsField:               string(p.ThirdParty.AppPasswords),
		requiredFromField:               momentValue(p.ThirdParty.RequiredFrom),
		"third_party.two_step_at_doors": string(p.ThirdParty.TwoStepAtDoors),
		"third_party.max_app_passwords": strconv.Itoa(p.ThirdParty.MaxAppPasswords),

		"sign_in.two_step":      string(p.SignIn.TwoStep),
		"sign_in.line":          string(p.SignIn.LINE),
		"sign_in.phone":         string(p.SignIn.Phone),
		"sign_in.quick":         string(p.SignIn.Quick),
		"sign_in.passkey":       string(p.SignIn.Passkey),
		"sign_in.trust_browser": strconv.FormatBool(p.SignIn.TrustBrowser),

		"sessions.idle_hours":        strconv.Itoa(p.Sessions.IdleHours),
		"sessions.absolute_days":     strconv.Itoa(p.Sessions.AbsoluteDays),
		"profile_managed_externally": strconv.FormatBool(p.ProfileManagedExternally),
	}
	for name, way := range p.SignIn.OIDC {
		v[oidcField+name] = string(way)
	}
	return v
}

// policy is what the values say. What is no number, no date or neither yes nor no is named; bounds are Validate's.
func (v values) policy() (p policy.Policy, mistakes []policy.Mistake) {
	bad := func(field, reason string) { mistakes = append(mistakes, policy.Mistake{Field: field, Reason: reason}) }
	number := func(field string) int {
		n, err := strconv.Atoi(v[field])
		if err != nil {
			bad(field, "must be a number")
		}
		return n
	}
	yes := func(field string) bool {
		b, err := strconv.ParseBool(v[field])
		if err != nil {
			bad(field, "must be true or false")
		}
		return b
	}
	p.Password = policy.Password{Format: policy.Format(v["password.format"]), MinLength: number("password.min_length"),
		ExpiresAfterDays: number("password.expires_after_days"), NoReuseOfLast: number("password.no_reuse_of_last"),
		MaxFailures: number("password.max_failures"), RefuseSequences: yes("password.refuse_sequences"), RefuseCommon: yes("password.refuse_common")}
	from, err := momentOf(v[requiredFromField])
	if err != nil {
		bad(requiredFromField, "must be a date and a time")
	}
	p.ThirdParty = policy.ThirdParty{AppPasswords: policy.AppPasswords(v[appPasswordsField]), RequiredFrom: from,
		TwoStepAtDoors: policy.TwoStepAtDoors(v["third_party.two_step_at_doors"]), MaxAppPasswords: number("third_party.max_app_passwords")}
	p.SignIn = policy.SignIn{TwoStep: policy.TwoStep(v["sign_in.two_step"]), LINE: policy.Way(v["sign_in.line"]), Phone: policy.Way(v["sign_in.phone"]),
		Quick: policy.Way(v["sign_in.quick"]), Passkey: policy.Way(v["sign_in.passkey"]), TrustBrowser: yes("sign_in.trust_browser")}
	for field, way := range v {
		if name, ok := strings.CutPrefix(field, oidcField); ok && way != "" && way != string(policy.Deny) { // what is not named is denied
			if p.SignIn.OIDC == nil {
				p.SignIn.OIDC = map[string]policy.Way{}
			}
			p.SignIn.OIDC[name] = policy.Way(way)
		}
	}
	p.Sessions = policy.Sessions{IdleHours: number("sessions.idle_hours"), AbsoluteDays: number("sessions.absolute_days")}
	p.ProfileManagedExternally = yes("profile_managed_externally")
	return p, mistakes
}

// Forms of a datetime-local input (HTML section 2.3.5.5): it leaves the seconds out where they are zero.
const (
	momentForm  = "2006-01-02T15:04"
	secondsForm = "2006-01-02T15:04:05.999"
)

// momentValue is an instant in a form, in UTC; empty: none.
func momentValue(at *time.Time) string {
	switch {
	case at == nil:
		return ""
	case at.Truncate(time.Minute).Equal(*at):
		return at.UTC().Format(momentForm)
	}
	return at.UTC().Format(secondsForm)
}

func momentOf(typed string) (*time.Time, error) {
	if typed == "" {
		return nil, nil
	}
	at, err := time.Parse(momentForm, typed)
	if err != nil {
		at, err = time.Parse(secondsForm, typed)
	}
	return &at, err
}
