package console

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"latchkey/policy"
)

// ruleSection is a part of the page with a heading of its own.
type ruleSection struct {
	Title, Hint string
	Rules       []rule
}

// rule is one field: what it says now, and the input by which it is changed.
type rule struct {
	Field string // of the policy's document
	Title string
	Now   string // what is saved
	Next  string // what is chosen and not saved; empty: the same
	About string
	Fixed bool // there is nothing to choose
	Part  string
	Input field

	words func(value string) string
}

// Open says that the options are shown at once.
func (r rule) Open() bool { return r.Next != "" || r.Input.Mistake != "" }

// The parts of parts.html that inputs are.
const (
	byButtons = "choices"
	byList    = "select"
	byTyping  = "field"
)

// chosen is a rule whose values are offers.
func chosen(part, name, title, about string, offers ...offer) rule {
	return rule{Field: name, Title: title, About: about, Part: part, Input: field{Name: name, Label: title, Choices: offers},
		words: func(value string) string {
			if i := slices.IndexFunc(offers, func(o offer) bool { return o.Value == value }); i >= 0 {
				return offers[i].Label
			}
			return value
		}}
}

// typed is a rule whose value is typed in.
func typed(kind, name, title, about, label string, words func(string) string) rule {
	return rule{Field: name, Title: title, About: about, Part: byTyping, words: words,
		Input: field{Name: name, Label: label, Type: kind}}
}

// ruleSections are the fields of the help page, in its order and its words, and those beyond it.
func (p *page) ruleSections(r *rules, mistakes map[string]string) []ruleSection {
	l := []ruleSection{
		{Title: p.t("Password policies"), Rules: p.passwordRules(),
			Hint: p.t("Changing this setting does not force members to sign out. New passwords must follow the new policy; existing passwords stay valid.")},
		{Title: p.t("Login settings"), Hint: p.t("Changes apply from the next sign-in."), Rules: p.signInRules(r)},
		{Title: p.t("Third-party apps"), Rules: p.thirdPartyRules(r),
			Hint: p.t("Mail and calendar apps. They cannot ask for a second step.")},
		{Title: p.t("Sessions and personal information"), Rules: p.otherRules()},
	}
	for i := range l {
		for j := range l[i].Rules {
			l[i].Rules[j].fill(r, mistakes)
		}
	}
	return l
}

// fill puts in what is saved, what is chosen and what is wrong with it.
func (r *rule) fill(all *rules, mistakes map[string]string) {
	saved, value := all.saved[r.Field], all.chosen[r.Field]
	r.Now = r.words(saved)
	if value != saved {
		r.Next = r.words(value)
	}
	r.Input.Value, r.Input.Mistake = value, mistakes[r.Field]
	for i := range r.Input.Choices {
		r.Input.Choices[i].Chosen = r.Input.Choices[i].Value == value
	}
}

func (p *page) allRules(r *rules) (l []rule) {
	for _, s := range p.ruleSections(r, nil) {
		l = append(l, s.Rules...)
	}
	return l
}

func (p *page) passwordRules() []rule {
	lengths, days := []offer{}, []offer{choice(0, p.t("Never"), p.t("As long as members do not change their password, they can continue to use it."))}
	for n := policy.MinLengthLow; n <= policy.MinLengthHigh; n++ {
		lengths = append(lengths, choice(n, p.t("%d characters or more", n)))
	}
	for _, n := range policy.ExpiryDays()[1:] {
		days = append(days, choice(n, p.t("Password expires after %d days", n)))
	}
	last, tries := []offer{choice(0, p.t("No additional limitation"), p.t("The last password can be used again."))}, []offer{choice(0, p.t("No limit"))}
	for n := 1; n <= policy.ReuseHigh; n++ {
		last = append(last, choice(n, p.t("You cannot use the last %d passwords", n)))
	}
	for n := policy.MaxFailuresLow; n <= policy.MaxFailuresHigh; n++ {
		tries = append(tries, choice(n, p.t("Suspend after %d wrong passwords", n)))
	}
	return []rule{
		chosen(byButtons, "password.format", p.t("Password format"), p.t("The format in which members must make a password."),
			choice(policy.LettersNumbers, p.t("Combination of letters and numbers"), p.t("The password must include English letters and numbers.")),
			choice(policy.LettersNumbersSpecial, p.t("Combine alphabets, numbers, and special characters"),
				p.t("The password must include English letters, numbers, and special characters."))),
		chosen(byList, "password.min_length", p.t("Password length"), p.t("The minimum length of a password."), lengths...),
		chosen(byButtons, "password.expires_after_days", p.t("Password expiration date"),
			p.t("Members with an expired password must register a new password when signing in."), days...),
		chosen(byButtons, "password.no_reuse_of_last", p.t("Restrict re-use of passwords"), p.t("Recently used passwords cannot be set again."), last...),
		chosen(byList, "password.max_failures", p.t("Limit the number of login attempts"),
			p.t("Members with a suspended account sign out of all services, and sign in only after the administrator removes the suspension. The same wrong password counts once."), tries...),
		p.refusal("password.refuse_sequences", p.t("Repeated and consecutive characters"), p.t("Three or more, like aaa, abc or 321.")),
		p.refusal("password.refuse_common", p.t("Common passwords"), p.t("Passwords that are easy to guess, and those that contain the sign-in name.")),
	}
}

func (p *page) refusal(name, title, about string) rule {
	return chosen(byButtons, name, title, about, choice(true, p.t("Refuse")), choice(false, p.t("Allow")))
}

// way is a rule that opens a way to sign in.
func (p *page) way(name, title, about, allow, deny string) rule {
	return chosen(byButtons, name, title, about, choice(policy.Allow, p.t("Allow"), allow), choice(policy.Deny, p.t("Do not approve"), deny))
}

func (p *page) signInRules(r *rules) []rule {
	l := []rule{
		chosen(byButtons, "sign_in.two_step", p.t("2-step verification"), p.t("An additional verification step that members go through when signing in."),
			choice(policy.TwoStepRequired, p.t("Required – Apply 2-step verification to all members"),
				p.t("Members without a method register one the next time they sign in. Nobody is signed out.")),
			choice(policy.TwoStepOptional, p.t("Optional – Apply according to members' selection"), p.t("Each member can choose to enable or disable it."))),
		p.way("sign_in.line", p.t("Login with LINE"), p.unconfigured(policy.WayLINE, p.t("Members sign in with their LINE account, once they have connected it.")),
			p.t("All members receive a notification that this feature is available."), p.t("Members who have been using it cannot use it from the next sign-in.")),
		p.way("sign_in.phone", p.t("Login with phone number"), p.t("Members receive a one-time verification number to the mobile phone that they have connected."),
			p.t("All members receive a notification that this feature is available."), p.t("Members who have been using it cannot use it from the next sign-in.")),
		p.way("sign_in.quick", p.t("Quick Login (Mobile app)"), p.t("Members sign in with a PIN or biometrics saved in the mobile app."),
			p.t("All members receive a notification that this feature is available."), p.t("Members who have been using it must use a different way from the next sign-in.")),
		p.way("sign_in.passkey", p.t("Passkeys"), p.t("Members sign in with a passkey of their device or a security key."), "",
			p.t("Members who have been using it cannot use it from the next sign-in.")),
	}
	for _, field := range slices.Sorted(maps.Keys(r.chosen)) {
		if name, ok := strings.CutPrefix(field, oidcField); ok {
			l = append(l, p.way(field, p.t("Login with %s", name), p.unconfigured(policy.OIDCPrefix+name, p.t("Members sign in with an account elsewhere, once they have connected it.")),
				"", p.t("Members who have been using it cannot use it from the next sign-in.")))
		}
	}
	return append(l, chosen(byButtons, "sign_in.trust_browser", p.t("Trust a browser"), p.t("Members can skip the second step for 30 days in a browser that they trust."),
		choice(true, p.t("Allow")), choice(false, p.t("Do not approve"))))
}

// unconfigured adds that the operator has not set the provider of a way up.
func (p *page) unconfigured(way, about string) string {
	for _, info := range p.core.Providers() {
		if info.Way == way {
			return about
		}
	}
	return about + " " + p.t("Your operator has not set this up yet.")
}

// offerProviders lists the providers of the configuration beside those that the policy names: what is not named is denied.
func (p *page) offerProviders(v values) {
	for _, info := range p.core.Providers() {
		if name, ok := strings.CutPrefix(info.Way, policy.OIDCPrefix); ok && v[oidcField+name] == "" {
			v[oidcField+name] = string(policy.Deny)
		}
	}
}

func (p *page) thirdPartyRules(r *rules) []rule {
	apps := chosen(byButtons, appPasswordsField, p.t("Third-party app passwords"), p.t("What members sign in to programs with."),
		choice(policy.Required, p.t("Required – Programs sign in with an app password only"), p.t("Programs that use the account password are refused at their next connection.")),
		choice(policy.MemberChoice, p.t("Optional – Each member chooses"), p.t("Members switch “Use a third-party app password” on for themselves.")))
	most := []offer{}
	for n := policy.AppPasswordsLow; n <= policy.AppPasswordsHi; n++ {
		most = append(most, choice(n, strconv.Itoa(n)))
	}
	rest := []rule{
		chosen(byButtons, "third_party.two_step_at_doors", p.t("2-step verification and programs"), p.t("Third-party apps cannot ask for a second step."),
			choice(policy.Enforce, p.t("App passwords only, for members with 2-step verification")),
			choice(policy.Ignore, p.t("The account password is accepted for them too"))),
		chosen(byList, "third_party.max_app_passwords", p.t("App passwords for each member"), p.t("How many a member may have."), most...),
	}
	if r.born {
		apps.Fixed, apps.About = true, p.t("It is so in domains that were created on or after the day from which app passwords are required.")
		return append([]rule{apps}, rest...)
	}
	from := typed("datetime-local", requiredFromField, p.t("Required from"), p.t("With required app passwords: empty means at once."), p.t("Date and time (UTC)"), func(v string) string {
		if v == "" {
			return p.t("At once")
		}
		return strings.Replace(v, "T", " ", 1) + " UTC"
	})
	return append([]rule{apps, from}, rest...)
}

func (p *page) otherRules() []rule {
	number := func(name, title, about, label string, words func(string) string) rule {
		f := typed("text", name, title, about, label, words)
		f.Input.InputMode, f.Input.MaxLength, f.Input.Required = "numeric", "3", true
		return f
	}
	return []rule{
		number("sessions.idle_hours", p.t("Sign out when not used"), p.t("Sessions on the web and in the app end after so many hours without use. Those that have begun keep theirs."),
			p.t("Hours, 1 to 720"), func(v string) string { return p.t("After %s hours", v) }),
		number("sessions.absolute_days", p.t("Sign out after"), p.t("However much it is used, a session ends so many days after the sign-in."),
			p.t("Days, 1 to 365"), func(v string) string { return p.t("After %s days", v) }),
		chosen(byButtons, "profile_managed_externally", p.t("Personal e-mail addresses and mobile phone numbers"),
			p.t("With required 2-step verification, members without a saved contact cannot sign in if they may not enter one."),
			choice(false, p.t("Members change theirs")), choice(true, p.t("Managed elsewhere – Members cannot change theirs"))),
	}
}
