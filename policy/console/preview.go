package console

import (
	"slices"
	"strings"

	"latchkey/authcore"
	"latchkey/policy"
)

// preview is the page before a policy is saved that does something to members.
type preview struct {
	*rules
	Keep         values // what was chosen
	Changes      []rule // whose Next is set
	Consequences []consequence
}

// consequence is one thing that saving would do, and to whom. Core names a hundred of them.
type consequence struct {
	Title, Hint string
	Members     []affected
	More        string // who is not named
}

// affected is one member, and what else is to be known of him.
type affected struct {
	Address, Note string
	Good          bool // he can help himself
}

// harms says whether saving would lock anybody out who can sign in today, take a way from somebody, or stop programs.
func harms(v authcore.Preview) bool {
	return v.LockedOut > v.AlreadyOut || v.Ending > 0 || v.Stopping > 0
}

func (p *page) consequences(r *rules, v authcore.Preview) preview {
	l := preview{rules: r, Keep: r.chosen}
	for _, rule := range p.allRules(r) {
		if rule.Next != "" {
			l.Changes = append(l.Changes, rule)
		}
	}
	add := func(n int, c consequence) {
		slices.SortFunc(c.Members, func(a, b affected) int { return strings.Compare(a.Address, b.Address) })
		if more := n - len(c.Members); more > 0 {
			c.More = p.t("and %d more", more)
		}
		if n > 0 {
			l.Consequences = append(l.Consequences, c)
		}
	}
	add(v.LockedOut, p.lockedOut(v))
	add(v.Ending, p.ending(v))
	add(v.Stopping, p.stopping(v))
	return l
}

func (p *page) lockedOut(v authcore.Preview) consequence {
	c := consequence{Title: p.t("%d of %d members could not sign in any more", v.LockedOut, v.Members),
		Hint: p.t("A second step would be asked of them, and they have none. Enter a personal e-mail address or mobile phone number for each first.")}
	for _, m := range v.LockedOutList {
		a := affected{Address: m.Address}
		if m.Already {
			a.Note = p.t("cannot sign in today either")
		}
		c.Members = append(c.Members, a)
	}
	return c
}

func (p *page) ending(v authcore.Preview) consequence {
	c := consequence{Title: p.t("%d of %d members would lose a way to sign in", v.Ending, v.Members),
		Hint: p.t("They can still sign in with their password. For the second step they only have what they already signed in with: add a personal e-mail address for each.")}
	for _, m := range v.EndingList {
		var ways []string
		for _, way := range m.Ways {
			switch way {
			case policy.WayPhone:
				ways = append(ways, p.t("Login with phone number"))
			case policy.WayPasskey:
				ways = append(ways, p.t("Passkeys"))
			}
		}
		c.Members = append(c.Members, affected{Address: m.Address, Note: strings.Join(ways, ", ")})
	}
	return c
}

func (p *page) stopping(v authcore.Preview) consequence {
	c := consequence{Title: p.t("The programs of %d of %d members would stop", v.Stopping, v.Members),
		Hint: p.t("They are refused at their next connection as soon as this is saved: another kind of password counts then.")}
	if !v.StoppingFrom.IsZero() {
		c.Hint = p.t("They are refused at their next connection from %s on: another kind of password counts then.", p.lang.time(v.StoppingFrom))
	}
	for _, m := range v.StoppingList {
		a := affected{Address: m.Address, Note: p.t("has no app password yet")}
		switch {
		case m.Counts == policy.AccountPassword:
			a.Note, a.Good = p.t("must sign in with the account password"), true
		case m.AppPasswords == 1:
			a.Note, a.Good = p.t("has an app password"), true
		case m.AppPasswords > 1:
			a.Note, a.Good = p.t("has %d app passwords", m.AppPasswords), true
		}
		c.Members = append(c.Members, a)
	}
	return c
}
