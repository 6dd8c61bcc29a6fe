package console

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/audit"
	"latchkey/policy/api"
)

// Account Security is one form for a whole policy. It carries the revision that it was filled from, and what stood there,
// so that whoever saves second is told what changed, keeps his own choices and takes over the other's for the rest.

func (s *server) ruleRoutes() {
	s.signedIn("GET /domains/{domain}/account-security", (*page).rules)
	s.add("POST /domains/{domain}/account-security", true, identified((*page).saveRules)) // a preview goes through all members
	s.tokenRoutes()
}

// rules is the page and what is chosen on it. Values are by field, as the form sends them.
type rules struct {
	Domain   string
	Revision int64
	Sections []ruleSection
	Others   []othersChange // what somebody else saved meanwhile
	OthersBy string
	OthersAt time.Time

	born          bool
	saved, chosen values
}

// Was is what stood in the form that is shown, for the comparison after a conflict.
func (r *rules) Was() (string, error) {
	b, err := json.Marshal(r.saved)
	return string(b), err
}

// readRules reads what is saved.
func (p *page) readRules() (*rules, error) {
	name := p.r.PathValue("domain")
	d, err := p.core.Domain(p.ctx, p.actor, name)
	if err != nil {
		return nil, err
	}
	saved, rev, err := p.core.Policy(p.ctx, p.actor, name)
	if err != nil {
		return nil, err
	}
	r := &rules{Domain: d.Domain.Name, Revision: rev, born: d.Born, saved: valuesOf(saved)}
	p.offerProviders(r.saved)
	r.chosen = maps.Clone(r.saved)
	return r, nil
}

func (p *page) rules() error {
	r, err := p.readRules()
	if err != nil {
		return err
	}
	return p.showRules(r, nil)
}

// showRules shows the form: with what is wrong, if err is a Denial that says so.
func (p *page) showRules(r *rules, err error) error {
	if err == nil {
		r.Sections = p.ruleSections(r, nil)
		return p.show("rules.html", r)
	}
	f := p.mistakes(wordedMistakes(err))
	if f == nil {
		return err
	}
	r.Sections = p.ruleSections(r, f.Fields)
	return p.answer(f.status, "rules.html", r, f)
}

// saveRules saves what was chosen. What it does to members is shown first.
func (p *page) saveRules() error {
	r, err := p.readRules()
	if err != nil {
		return err
	}
	seen, was := p.takeRules(r)
	next, mistakes := r.chosen.policy()
	switch {
	case seen != r.Revision:
		return p.rulesConflict(r, was)
	case p.form("step") == "back":
		return p.showRules(r, nil)
	case len(mistakes) > 0:
		return p.showRules(r, api.Invalid(mistakes...))
	case maps.Equal(r.chosen, r.saved):
		return p.redirect(p.r.URL.Path, "unchanged")
	case p.form("step") != "confirmed":
		v, err := p.core.PreviewPolicy(p.ctx, p.actor, r.Domain, next, authcore.PreviewAfter{})
		if err != nil {
			return p.showRules(r, err)
		}
		if harms(v) {
			api.Extend(p.ctx)
			return p.show("preview.html", p.consequences(r, v))
		}
	}
	return p.writeRules(r, was)
}

func (p *page) writeRules(r *rules, was values) error {
	next, _ := r.chosen.policy()
	_, err := p.core.SetPolicy(p.ctx, p.actor, r.Domain, next, r.Revision)
	var d *authcore.Denial
	if errors.As(err, &d) && d.Reason == authcore.RevisionMismatch {
		mine := r.chosen
		if r, err = p.readRules(); err != nil {
			return err
		}
		r.chosen = mine
		return p.rulesConflict(r, was)
	}
	if err != nil {
		return p.showRules(r, err)
	}
	return p.redirect(p.r.URL.Path, "saved")
}

// takeRules puts what was posted into r and answers what the form was filled from. A field that was not sent stays as it
// is saved.
func (p *page) takeRules(r *rules) (seen int64, was values) {
	for name := range p.r.PostForm {
		if _, known := r.saved[name]; known || strings.HasPrefix(name, oidcField) {
			r.chosen[name] = p.form(name)
		}
	}
	if r.born { // there is nothing to choose
		r.chosen[appPasswordsField], r.chosen[requiredFromField] = r.saved[appPasswordsField], r.saved[requiredFromField]
	}
	seen, err := strconv.ParseInt(p.form("revision"), 10, 64)
	if err != nil || seen < 0 {
		seen = -1 // no revision is
	}
	if json.Unmarshal([]byte(p.r.PostFormValue("was")), &was) != nil || was == nil {
		was = r.saved
	}
	return seen, was
}

// othersChange is one field that somebody else changed.
type othersChange struct {
	Title, Was, Is string
	Mine           string // what is chosen here, if that is something else again
}

// rulesConflict shows what changed since the form was filled. What was chosen in it stays; fields that were left alone take
// what is saved now.
func (p *page) rulesConflict(r *rules, was values) error {
	mine := r.chosen
	r.chosen = maps.Clone(r.saved)
	for name, v := range mine {
		if v != was[name] {
			r.chosen[name] = v
		}
	}
	for _, rule := range p.allRules(r) {
		if was[rule.Field] == r.saved[rule.Field] {
			continue
		}
		c := othersChange{Title: rule.Title, Was: rule.words(was[rule.Field]), Is: rule.words(r.saved[rule.Field])}
		if r.chosen[rule.Field] != r.saved[rule.Field] {
			c.Mine = rule.words(r.chosen[rule.Field])
		}
		r.Others = append(r.Others, c)
	}
	l, _, err := p.core.Audit(p.ctx, p.actor, r.Domain, audit.Filter{Actions: []audit.Action{audit.PolicyUpdate}}, "", 1)
	if err != nil {
		return err
	}
	if len(l) > 0 {
		r.OthersBy, r.OthersAt = l[0].Actor, l[0].Time
	}
	return p.showRules(r, &authcore.Denial{Reason: authcore.RevisionMismatch,
		Detail: "Somebody else saved these settings meanwhile. Your choices are kept: look at what changed, and save again."})
}

// wordedMistakes says what people can do wrong here in the words of the page, not in those of the document.
func wordedMistakes(err error) error {
	var d *authcore.Denial
	if !errors.As(err, &d) || len(d.Mistakes) == 0 {
		return err
	}
	worded := *d
	worded.Mistakes = slices.Clone(d.Mistakes)
	for i, m := range worded.Mistakes {
		if m.Field == requiredFromField {
			worded.Mistakes[i].Reason = en("Give a date and a time, and only where app passwords are required.")
		}
	}
	return &worded
}
