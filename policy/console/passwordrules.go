package console

import (
	"encoding/json"

	"latchkey/policy"
)

// What a new password is asked for stands beside its field: {{template "rules" .Data.Rules}}, and the field has the option
// "rules". The server alone judges; where there is a script, each rule is ticked off as one types by asking it here.

// shownRule is one rule of the list.
type shownRule struct {
	Rule policy.Rule // empty: it cannot be ticked off before the form is sent
	Says string
}

// rulesOf lists what a policy asks of a new password.
func (p *page) rulesOf(r policy.Password) []shownRule {
	l := []shownRule{{policy.TooShort, p.t("At least %d characters", r.MinLength)}, {policy.NeedsLetter, p.t("An English letter")},
		{policy.NeedsDigit, p.t("A number")}}
	if r.Format == policy.LettersNumbersSpecial {
		l = append(l, shownRule{policy.NeedsSpecial, p.t("A special character, like ! or ?")})
	}
	if r.RefuseSequences {
		l = append(l, shownRule{policy.HasSequence, p.t("Not three or more repeated or consecutive characters, like aaa or 123")})
	}
	if r.RefuseCommon {
		l = append(l, shownRule{policy.TooCommon, p.t("None of the passwords that are guessed first")},
			shownRule{policy.HoldsName, p.t("Without your sign-in name")})
	}
	switch {
	case r.NoReuseOfLast == 1:
		l = append(l, shownRule{"", p.t("Not your last password")})
	case r.NoReuseOfLast > 1:
		l = append(l, shownRule{"", p.t("None of your last %d passwords", r.NoReuseOfLast)})
	}
	return l
}

// checkRules answers which rules a password breaks that is being typed: of the step of a sign-in, or of who is signed in.
// It says nothing that the list does not say, so whoever asks with rules of his own making learns nothing.
func (p *page) checkRules() error {
	rules, names := policy.Default().Password, []string(nil)
	if w, ok := p.underway(); ok && w.Rules != nil {
		rules, names = *w.Rules, []string{w.Address}
	} else if err := p.identify(); err == nil {
		rules, names = p.me.Policy.Password, p.me.Member.Addresses
	}
	typed := p.r.PostFormValue("password")
	broken := append([]policy.Rule{}, rules.Check(typed[:min(len(typed), maxTyped)], names...)...) // never null
	if typed == "" {                                                                               // nothing is kept yet, though nothing holds the name
		broken = policy.Rules()
	}
	p.w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(p.w).Encode(map[string][]policy.Rule{"broken": broken})
}

// maxTyped is more bytes than the longest password has.
const maxTyped = 4 * policy.MaxLength
