package console

import (
	"crypto/rand"
	"net/http"
	"slices"
	"strings"

	"latchkey/authcore"
	"latchkey/authcore/apppass"
	"latchkey/authcore/secret"
	"latchkey/policy"
	"latchkey/policy/autoconfig"
)

// Programs is what people's programs are told.
type Programs struct {
	Services autoconfig.Services
	Pages    string                             // origin of these pages
	Signer   func() (*autoconfig.Signer, error) // of Apple's profiles; its nil: they are not signed
}

func (s *server) programRoutes() {
	s.autoconfigRoutes()
	s.signedIn("GET /programs", (*page).programList)
	s.signedIn("GET /programs/{kind}", (*page).programWanted)
	s.signedIn("POST /programs/{kind}", (*page).programMade)
	s.signedIn("POST /programs/apple/profile", (*page).appleProfile)
	s.signedIn("GET /domains/{domain}/dns", (*page).dns)
}

// programKind is a sort of program that is set up in its own way.
type programKind struct {
	Kind, Name string   // Name is the program's own, in every language
	Doors      []string // that it uses
}

func programKinds() []programKind {
	mail := []string{policy.IMAP, policy.SMTP}
	dav := []string{policy.CalDAV, policy.CardDAV}
	all := append(slices.Clone(mail), dav...)
	return []programKind{
		{"thunderbird", "Thunderbird", all},
		{"apple", "Apple Mail", all},
		{"outlook", "Outlook", mail},
		{"davx5", "DAVx⁵", dav},
		{"other", "", policy.Doors()},
	}
}

// programs are what is told, for the doors that the member's domain has open.
func (p *page) programs() (Programs, error) {
	if p.o.Programs == nil {
		return Programs{}, nil
	}
	v := p.o.Programs()
	open, err := p.core.OpenDoors(p.ctx, p.me.Domain.Name)
	open = slices.DeleteFunc(slices.Clone(open), func(d string) bool { return slices.Contains(p.me.Member.ClosedDoors, d) })
	v.Services = v.Services.Open(open)
	return v, err
}

// programsPage is the choice.
type programsPage struct {
	Kinds []programKind
	None  bool // no door is open
}

func (p *page) programList() error {
	v, err := p.programs()
	if err != nil {
		return err
	}
	list := programsPage{None: len(v.Services) == 0}
	for _, k := range programKinds() {
		if len(v.Services.Open(k.Doors)) > 0 {
			list.Kinds = append(list.Kinds, k)
		}
	}
	return p.show("programs.html", list)
}

// programPage is one program: before its app password is made, and after.
type programPage struct {
	programKind
	Services autoconfig.Services
	Address  string
	Once     string
	Name     string // of the app password
	ByOwn    bool   // the account password counts at the doors: no app password is needed
	Full     bool   // there are as many as there may be
	Password string // shown once; empty: not made yet
	Codes    []programCode
	Signed   bool
}

type programCode struct {
	Words string
	QR    qrCode
}

// Best are the settings that a person should type.
func (v programPage) Best() (l autoconfig.Services) {
	for _, d := range v.Doors {
		if s, ok := v.Services.For(d); ok {
			l = append(l, s)
		}
	}
	return l
}

// program finds the kind of the path with what the member may use of it.
func (p *page) program() (programPage, Programs, error) {
	told, err := p.programs()
	if err != nil {
		return programPage{}, told, err
	}
	kinds := programKinds()
	i := slices.IndexFunc(kinds, func(k programKind) bool { return k.Kind == p.r.PathValue("kind") })
	if i < 0 {
		return programPage{}, told, &authcore.Denial{Reason: authcore.NotFound}
	}
	v := programPage{programKind: kinds[i], Address: p.me.Member.Address(), ByOwn: !p.me.AcceptsApps, Name: kinds[i].Name}
	v.Services = told.Services.Open(v.Doors)
	if len(v.Services) == 0 {
		return programPage{}, told, &authcore.Denial{Reason: authcore.NotFound}
	}
	v.Doors = slices.DeleteFunc(slices.Clone(v.Doors), func(d string) bool { _, ok := v.Services.For(d); return !ok })
	v.Full = p.me.AppPasswords >= p.me.Policy.ThirdParty.MaxAppPasswords
	return v, told, nil
}

// programWanted shows what will be made. Whoever must prove himself anew does it now.
func (p *page) programWanted() error {
	v, _, err := p.program()
	if err != nil {
		return err
	}
	if !v.ByOwn && !v.Full {
		if err := p.core.Confirmed(p.actor); err != nil {
			return err
		}
	}
	v.Once = rand.Text()
	return p.show("program.html", v)
}

// programMade makes an app password that is good for this program's doors alone, and shows the way in.
func (p *page) programMade() error {
	v, told, err := p.program()
	if err != nil {
		return err
	}
	v.Name = p.form("name")
	if v.Once, err = p.once(); err != nil {
		return err
	}
	request := strings.Join([]string{"program", v.Kind, v.Name}, "\n")
	_, plain, err := p.core.CreateAppPassword(authcore.WithIdempotencyKey(p.ctx, secret.New(v.Once), request), p.actor, apppass.Wish{Name: v.Name, Doors: v.Doors})
	if err != nil {
		return p.programAgain(v, err)
	}
	v.Password = plain.Reveal()
	if v.Codes, err = p.programCodes(v, plain); err != nil {
		return err
	}
	signer, err := told.Signer()
	if err != nil {
		return err
	}
	v.Signed = signer != nil
	return p.show("programmade.html", v)
}

func (p *page) programAgain(v programPage, err error) error {
	f := p.mistakes(err)
	if f == nil {
		return err
	}
	if f.Fields["name"] != "" {
		f.Fields["name"] = p.t("Enter a name of 1 to 40 characters, on one line.")
	}
	return p.answer(f.status, "program.html", v, f)
}

// programCodes are what a phone's camera reads.
func (p *page) programCodes(v programPage, plain secret.String) (l []programCode, err error) {
	add := func(words string, code secret.String, ok bool) {
		if !ok || err != nil {
			return
		}
		var q qrCode
		q, err = newQR(code, words)
		l = append(l, programCode{Words: words, QR: q})
	}
	switch v.Kind {
	case "thunderbird":
		code, ok := v.Services.ThunderbirdCode(v.Address, p.me.Member.Name, plain)
		add(p.t("Scan it with Thunderbird for Android: Import settings, then Import from Thunderbird by QR code."), code, ok)
	case "davx5":
		code, ok := v.Services.DAVx5Code(v.Address, plain)
		add(p.t("Scan it with the camera of the phone that has DAVx⁵."), code, ok)
	}
	return l, err
}

// appleProfile is the profile with the app password that the page before has shown.
func (p *page) appleProfile() error {
	told, err := p.programs()
	if err != nil {
		return err
	}
	if len(told.Services) == 0 {
		return &authcore.Denial{Reason: authcore.NotFound}
	}
	signer, err := told.Signer()
	if err != nil {
		return err
	}
	b, err := told.Services.Apple(autoconfig.Profile{
		Organization: p.me.Domain.Name, Address: p.me.Member.Address(), Name: p.me.Member.Name, Password: p.secret("password"), Signer: signer,
	})
	if err != nil {
		return err
	}
	p.w.Header().Set("Content-Type", autoconfig.AppleType)
	p.w.Header().Set("Content-Disposition", `attachment; filename="`+p.me.Domain.Name+`.mobileconfig"`)
	p.w.WriteHeader(http.StatusOK)
	_, _ = p.w.Write(b) // whether it arrives is the client's
	return nil
}

// dnsPage is what an administrator sets in the DNS.
type dnsPage struct {
	Domain  string
	Records []autoconfig.Record
}

// Zone are the records as a zone file has them.
func (v dnsPage) Zone() string {
	var b strings.Builder
	for _, r := range v.Records {
		b.WriteString(r.String() + "\n")
	}
	return b.String()
}

func (p *page) dns() error {
	d, err := p.core.Domain(p.ctx, p.actor, p.r.PathValue("domain"))
	if err != nil {
		return err
	}
	v := dnsPage{Domain: d.Domain.Name}
	if p.o.Programs != nil {
		told := p.o.Programs()
		v.Records = told.Services.Open(d.Domain.Doors).Records(v.Domain, hostOf(told.Pages))
	}
	return p.show("dns.html", v)
}
