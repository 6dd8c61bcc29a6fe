package console

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/url"
	"slices"
	"strings"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/member"
	"latchkey/authcore/password"
	"latchkey/authcore/secret"
)

// The members of a domain: the list, a new one. One member is in person.go, many at once in import.go.

func (s *server) peopleRoutes() {
	s.signedIn("GET /domains/{domain}/members", (*page).members)
	s.signedIn("GET /domains/{domain}/members/new", (*page).memberWanted)
	s.signedIn("POST /domains/{domain}/members/new", (*page).memberCreated)
	s.personRoutes()
	s.personActRoutes()
	s.importRoutes()
}

// perPage is how many items a list of people or services shows at once.
const perPage = 50

// maxMark bounds what a list goes on after: the longest is an address, and a store takes no name over 512.
const maxMark = 400

// mark is where a list goes on.
func (p *page) mark() (string, error) {
	m := p.r.URL.Query().Get("after")
	if len(m) > maxMark {
		return "", &authcore.Denial{Reason: authcore.NotFound}
	}
	return m, nil
}

// chip is a state in a word, and how good it is.
type chip struct{ Words, Class string }

// memberRow is a member in the list.
type memberRow struct {
	Address, Name, Role, Path string
	Status                    chip
	TwoStep                   bool
	AppPasswords              int
	Readable                  bool
}

type membersPage struct {
	Domain, Sought string
	Rows           []memberRow
	Paging         paging
}

func (p *page) members() error {
	after, err := p.mark()
	if err != nil {
		return err
	}
	v := membersPage{Domain: p.r.PathValue("domain"), Sought: strings.TrimSpace(p.r.URL.Query().Get("q"))}
	l, next, err := p.core.Members(p.ctx, p.actor, v.Domain, strings.ToLower(v.Sought), after, perPage)
	if err != nil {
		return err
	}
	for _, m := range l {
		v.Rows = append(v.Rows, memberRow{
			Address: m.Member.Address(), Name: m.Member.Name, Role: p.roleWords(m.Role), Path: memberPath(m.Member.Address()),
			Status: p.statusOf(m.Member), TwoStep: m.TwoStepOn, AppPasswords: m.AppPasswords, Readable: p.actor.MayRead(m),
		})
	}
	v.Paging = p.paging("after", next)
	return p.show("members.html", v)
}

// memberPath is where a member's page is, or what is below it.
func memberPath(address string, below ...string) string {
	at := "/members/" + url.PathEscape(address)
	for _, b := range below {
		at += "/" + url.PathEscape(b)
	}
	return at
}

// domainPath is where a page of a domain is.
func domainPath(domain string, below ...string) string {
	at := "/domains/" + url.PathEscape(domain)
	for _, b := range below {
		at += "/" + url.PathEscape(b)
	}
	return at
}

func (p *page) statusOf(m *member.Member) chip {
	switch m.Status {
	case member.Active:
		return chip{p.t("Active"), "good"}
	case member.Suspended:
		return chip{p.t("Suspended"), "bad"}
	default:
		return chip{p.t("Deleted"), "bad"}
	}
}

func (p *page) roleWords(r member.Role) string {
	switch r {
	case member.RoleAdministrator:
		return p.t("Administrator")
	case member.RoleOperator:
		return p.t("Operator")
	default:
		return p.t("Member")
	}
}

// newMemberForm is the form of a new member, as it was typed.
type newMemberForm struct {
	Domain, Once                                  string
	Address, Name, Aliases, Role, Emails, Mobiles string
	Used, Confirmed                               bool // the address was a deleted member's
}

func (p *page) memberWanted() error {
	d, err := p.core.Domain(p.ctx, p.actor, p.r.PathValue("domain"))
	if err != nil {
		return err
	}
	return p.show("membernew.html", newMemberForm{Domain: d.Domain.Name, Once: rand.Text(), Role: string(member.RoleMember)})
}

// memberMade shows a temporary password, once.
type memberMade struct {
	Address, Secret, Path, Members string
	Until                          time.Time
}

func (p *page) memberCreated() error {
	f := newMemberForm{
		Domain: p.r.PathValue("domain"), Once: p.form("once"), Address: p.form("address"), Name: p.form("name"), Aliases: p.form("aliases"), Role: p.form("role"),
		Emails: p.form("emails"), Mobiles: p.form("mobiles"), Confirmed: p.form("confirmed") != "",
	}
	if f.Address != "" && !strings.Contains(f.Address, "@") {
		f.Address += "@" + f.Domain
	}
	ctx, err := p.onceHere()
	if err != nil {
		return err
	}
	m, temporary, err := p.core.CreateMember(ctx, p.actor, f.Domain, authcore.NewMember{
		Address: f.Address, Name: f.Name, Aliases: several(f.Aliases), Role: member.Role(f.Role), Contacts: contactsOf(f.Emails, f.Mobiles), ConfirmReuse: f.Confirmed,
	})
	if err != nil {
		f.Used = deniedFor(err, authcore.AddressWasUsed)
		return p.again("membernew.html", f, err)
	}
	return p.show("membermade.html", memberMade{
		Address: m.Member.Address(), Secret: temporary.Reveal(), Path: memberPath(m.Member.Address()), Members: domainPath(f.Domain, "members"),
		Until: m.Member.CreatedAt.Add(password.TemporaryFor),
	})
}

func deniedFor(err error, reasons ...authcore.DenialReason) bool {
	var d *authcore.Denial
	return errors.As(err, &d) && slices.Contains(reasons, d.Reason)
}

// several are the words of a field that takes more than one, each on its line or behind a comma.
func several(typed string) []string {
	return strings.FieldsFunc(typed, func(r rune) bool { return r == ',' || r == ';' || r <= ' ' || r == '　' })
}

// contactsOf are contacts as a form has them. A mobile number may have spaces in it: it ends with its line.
func contactsOf(emails, mobiles string) []member.Contact {
	l := []member.Contact{}
	for _, e := range several(emails) {
		l = append(l, member.Contact{Kind: member.Email, Value: e})
	}
	for _, m := range strings.FieldsFunc(mobiles, func(r rune) bool { return r == ',' || r == ';' || r == '\n' || r == '\r' }) {
		if m = strings.TrimSpace(m); m != "" {
			l = append(l, member.Contact{Kind: member.Mobile, Value: m})
		}
	}
	return l
}

// onceHere is a context under which this very form makes one thing, however often it is sent: a reload shows the same secret
// again to whoever has seen it. Another content is another form.
func (p *page) onceHere() (context.Context, error) {
	if _, err := p.once(); err != nil {
		return nil, err
	}
	return p.onceFor(p.r.PostForm.Encode()), nil
}

func (p *page) onceFor(what string) context.Context {
	sum := sha256.Sum256([]byte(p.r.URL.Path + "\n" + what))
	key := hex.EncodeToString(sum[:])
	return authcore.WithIdempotencyKey(p.ctx, secret.New(key), key)
}
