package console

import (
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"latchkey/authcore"
	"latchkey/authcore/signin"
	"latchkey/policy"
	"latchkey/policy/api"
)

// What Core and the API say is English: Denials, mistakes in fields, rules of passwords. A page says it in the reader's
// language, by lang/*/told.json, whose keys are those sentences; %s stands for the values in them. A test holds the
// sentences of their source against the file.

// pattern is a sentence with values in it.
type pattern struct {
	sentence string // with %s for each
	match    *regexp.Regexp
}

// patternsOf makes patterns of the sentences that have values, the one with most text first: "must be %s" would take what
// is "must be %s to %s".
func patternsOf(sentences map[string]string) []pattern {
	var l []pattern
	for s := range sentences {
		if strings.Contains(s, "%s") && !strings.Contains(s, "%d") {
			l = append(l, pattern{sentence: s, match: regexp.MustCompile("(?s)^" + strings.ReplaceAll(regexp.QuoteMeta(s), "%s", "(.*?)") + "$")})
		}
	}
	slices.SortFunc(l, func(a, b pattern) int {
		if d := len(b.sentence) - len(a.sentence); d != 0 {
			return d
		}
		return strings.Compare(a.sentence, b.sentence)
	})
	return l
}

// told says in this language what Core or the API said in English. What it does not know it says as it is.
func (l *language) told(sentence string) string {
	for _, s := range []string{sentence, strings.TrimSuffix(sentence, ".")} { // a door's sentences have no full stop
		if _, ok := l.sentences[s]; ok {
			return l.t(s)
		}
	}
	for _, p := range l.patterns {
		m := p.match.FindStringSubmatch(sentence)
		if m == nil {
			continue
		}
		values := make([]any, len(m)-1)
		for i, v := range m[1:] {
			values[i] = v
		}
		return l.t(p.sentence, values...)
	}
	return finished(sentence)
}

// finished makes a sentence of an English phrase: "must be 8 to 20" stands alone beside a field here.
func finished(s string) string {
	first, n := utf8.DecodeRuneInString(s)
	if n == 0 {
		return s
	}
	s = string(unicode.ToUpper(first)) + s[n:]
	if strings.ContainsAny(s[len(s)-1:], ".!?。") {
		return s
	}
	return s + "."
}

// mistake says what is wrong with a field. The rules of passwords are closed words.
func (l *language) mistake(m policy.Mistake) string {
	if s, ok := brokenRules()[policy.Rule(m.Reason)]; ok {
		return l.t(s)
	}
	return l.told(m.Reason)
}

// brokenRules say of a password what is wrong with it; the list beside the field says what is asked for.
func brokenRules() map[policy.Rule]string {
	return map[policy.Rule]string{
		policy.TooShort:      "It is too short.",
		policy.TooLong:       "It is too long.",
		policy.NeedsLetter:   "It needs an English letter.",
		policy.NeedsDigit:    "It needs a number.",
		policy.NeedsSpecial:  "It needs a special character.",
		policy.NotAllowed:    "It has a character that is not allowed.",
		policy.HasSequence:   "It has three or more repeated or consecutive characters, like aaa or 123.",
		policy.TooCommon:     "It is one of the passwords that are guessed first.",
		policy.HoldsName:     "It contains your sign-in name.",
		policy.Reused:        "It is one of your last passwords.",
		policy.SameAsCurrent: "It is the temporary password: choose another one.",
	}
}

// sentence is what people read of a problem. Where the detail only says what to do, what is the matter stands before it.
func (l *language) sentence(p *api.Problem) string {
	if p.Detail == "" {
		return l.t(p.Title)
	}
	said := l.told(p.Detail)
	switch r := authcore.DenialReason(p.Reason); r {
	case authcore.TwoStepMethodMissing:
		if before, ways, named := strings.Cut(strings.TrimSuffix(p.Detail, "."), otherWays); named {
			return l.told(before + otherWays + l.wayNames(ways) + ".")
		}
	case authcore.AppPasswordLimit, authcore.LimitReached:
		if why := api.SentenceOf(r); why != p.Detail {
			return l.told(why) + " " + said
		}
	}
	return said
}

// otherWays stands in Core's sentence before the ways in that are left to somebody without a second step.
const otherWays = "sign in by another way: "

// wayNames says ways to sign in, which Core names as policies do, by the words of the buttons that lead there.
func (l *language) wayNames(ways string) string {
	names := strings.Split(ways, ", ")
	for i, way := range names {
		names[i] = l.wayName(way)
	}
	return strings.Join(names, ", ")
}

func (l *language) wayName(way string) string {
	switch way {
	case string(signin.Password):
		return l.t("Password")
	case policy.WayLINE:
		return l.t("Login with LINE")
	case policy.WayPhone:
		return l.t("Login with phone number")
	case policy.WayQuick:
		return l.t("Quick Login (Mobile app)")
	case policy.WayPasskey:
		return l.t("Use a passkey")
	}
	return l.t("Login with %s", strings.TrimPrefix(way, policy.OIDCPrefix))
}
