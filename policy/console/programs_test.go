package console

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"howett.net/plist"

	"latchkey/authcore"
	"latchkey/authcore/authtest"
	"latchkey/policy"
	"latchkey/policy/autoconfig"
)

func withPrograms() Options {
	return Options{Programs: func() Programs {
		return Programs{
			Pages:  "https://mail.example.com:8443",
			Signer: func() (*autoconfig.Signer, error) { return nil, nil },
			Services: autoconfig.Services{
				{Door: policy.IMAP, Host: "mail.example.com", Port: 993}, {Door: policy.SMTP, Host: "mail.example.com", Port: 465},
				{Door: policy.CalDAV, Host: "dav.example.com", Port: 443}, {Door: policy.CardDAV, Host: "dav.example.com", Port: 443},
			},
		}
	}}
}

// made is the app password that the page shows.
func (p *shown) made() string {
	p.b.s.t.Helper()
	for n := range p.doc.Descendants() {
		if attr(n, "id") == "secret" {
			return words(n)
		}
	}
	p.b.s.t.Fatalf("no secret is shown:\n%s", p.text())
	return ""
}

func TestSetUpAProgram(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		link string
		in   []string // doors that the password opens
		out  []string // and those that it does not
		says string
	}{
		"Thunderbird": {"Set up Thunderbird", []string{"imap", "smtp", "caldav"}, []string{"pop3"}, "Scan it with Thunderbird for Android"},
		"Outlook":     {"Set up Outlook", []string{"imap", "smtp"}, []string{"caldav", "pop3"}, "In Outlook"},
		"DAVx5":       {"Set up DAVx⁵", []string{"caldav", "carddav"}, []string{"imap"}, "https://dav.example.com/"},
		"another":     {"Set up another program", []string{"imap", "caldav"}, nil, "mail.example.com"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t, withPrograms(), nil)
			b := s.signedIn("app-only")
			form := b.get("/programs").is(200, "Set up a program").follow(c.link).is(200, "The password is good for these alone").having("Create password").fill("Name of the program", "Work laptop")
			p := form.press("Create password").is(200, "The way in for Work laptop", "It is shown only this once", c.says, "User name: "+s.People["app-only"].Address)
			password := p.made()
			for _, door := range append(append([]string{}, c.in...), c.out...) {
				d, err := s.Authenticate(t.Context(), authtest.Attempt(door, s.People["app-only"].Address, password))
				wants := strings.Contains(strings.Join(c.in, " "), door)
				if err != nil || d.Allowed() != wants {
					t.Errorf("%s: %v, %v, want %v", door, d.Reason, err, wants)
				}
			}
			if again := form.press("Create password").is(200).made(); again != password {
				t.Error("the same form makes a second password")
			}
			if strings.Contains(b.get("/security/app-passwords").body, password) {
				t.Error("the password is shown again")
			}
		})
	}
}

func TestAppleProfile(t *testing.T) {
	t.Parallel()
	s := open(t, withPrograms(), nil)
	p := s.signedIn("app-only").get("/programs/apple").having("Create password").press("Create password").is(200, "Download the profile", "The profile is not signed")
	file := p.press("Download the profile")
	if file.status != 200 || file.header.Get("Content-Type") != autoconfig.AppleType || !strings.HasPrefix(file.header.Get("Content-Disposition"), "attachment") || file.header.Get("Cache-Control") != "no-store" {
		t.Fatalf("%d, %v", file.status, file.header)
	}
	var profile struct{ PayloadContent []map[string]any }
	if _, err := plist.Unmarshal([]byte(file.body), &profile); err != nil || len(profile.PayloadContent) != 3 || profile.PayloadContent[0]["IncomingPassword"] != p.made() {
		t.Errorf("%v, %v", err, profile)
	}
}

func TestProgramsRefuse(t *testing.T) {
	t.Parallel()
	s := open(t, withPrograms(), nil)
	b := s.signedIn("app-only")
	b.get("/programs/emacs").is(404)
	form := b.get("/programs/outlook").having("Create password")
	form.fill("Name of the program", strings.Repeat("x", 41)).press("Create password").is(422, "Enter a name of 1 to 40 characters, on one line.").hides("It is shown only this once")
	b.send("POST", "/programs/outlook", url.Values{"name": {"x"}, "once": {"short"}}).is(422)
	for range 4 {
		b.get("/programs/outlook").having("Create password").press("Create password").is(200, "It is shown only this once")
	}
	b.get("/programs/outlook").is(200, "You have the maximum number of app passwords", "mail.example.com").hides("Create password")
	form.fill("Name of the program", "The sixth").press("Create password").is(409)
	s.signedIn("account").get("/programs/outlook").is(200, "Your programs sign in with your account password at present", "993").hides("Create password")
	s.browser().get("/programs").hides("Thunderbird")
	open(t, Options{}, nil).signedIn("account").get("/programs").is(200, "No program can log in to your account at present")
	s.clock.pass(11 * 60e9)
	b.get("/programs/thunderbird").hides("Create password")
}

func TestProgramsOfOpenDoors(t *testing.T) {
	t.Parallel()
	s := open(t, withPrograms(), nil)
	doors := []string{policy.IMAP, policy.SMTP}
	if _, err := s.UpdateDomain(t.Context(), authtest.Operator(), "new.example", authcore.DomainChange{Doors: &doors}); err != nil {
		t.Fatal(err)
	}
	b := s.signedIn("app-only")
	b.get("/programs").is(200, "Outlook").hides("DAVx⁵")
	b.get("/programs/davx5").is(404)
	for path, want := range map[string]string{"new.example": "<hostname>mail.example.com</hostname>", "old.example": "<calendar type=\"caldav\">"} {
		p := s.browser().get("/mail/config-v1.1.xml?emailaddress=jane@" + path)
		if p.status != 200 || !strings.Contains(p.body, want) || strings.Contains(p.body, "calendar") != (path == "old.example") {
			t.Errorf("%s: %d\n%s", path, p.status, p.body)
		}
	}
	s.browser().get("/.well-known/autoconfig/mail/config-v1.1.xml?emailaddress=jane@strange.example").is(404)
}

func TestAutodiscover(t *testing.T) {
	t.Parallel()
	s := open(t, withPrograms(), nil)
	ask := func(address, schema string) string {
		text := `<Autodiscover xmlns="http://schemas.microsoft.com/exchange/autodiscover/outlook/requestschema/2006"><Request><EMailAddress>` + address +
			`</EMailAddress><AcceptableResponseSchema>` + schema + `</AcceptableResponseSchema></Request></Autodiscover>`
		r, err := s.http.Post(s.url+"/autodiscover/autodiscover.xml", "text/xml", strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		var b strings.Builder
		if _, err := io.Copy(&b, r.Body); err != nil || r.StatusCode != 200 || !strings.HasPrefix(r.Header.Get("Content-Type"), "text/xml") {
			t.Fatalf("%d, %v", r.StatusCode, err)
		}
		return b.String()
	}
	const mail = "http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a"
	for name, c := range map[string]struct{ address, schema, want string }{
		"a member's":          {"jane@old.example", mail, "<Server>mail.example.com</Server>"},
		"a stranger's":        {"jane@strange.example", mail, "<ErrorCode>601</ErrorCode>"},
		"another schema":      {"jane@old.example", "x", "<ErrorCode>601</ErrorCode>"},
		"nobody's":            {"", mail, "<ErrorCode>601</ErrorCode>"},
		"what is not allowed": {"<b/>", mail, "<ErrorCode>60"},
	} {
		if got := ask(c.address, c.schema); !strings.Contains(got, c.want) {
			t.Errorf("%s: %s", name, got)
		}
	}
}

func TestWellKnownLeadsToTheDoor(t *testing.T) {
	t.Parallel()
	s := open(t, withPrograms(), nil)
	b := s.browser()
	b.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	for _, method := range []string{"GET", "PROPFIND"} {
		p := b.send(method, "/.well-known/caldav", nil)
		if p.status != 301 || p.header.Get("Location") != "https://dav.example.com/" {
			t.Errorf("%s: %d to %q", method, p.status, p.header.Get("Location"))
		}
	}
}

func TestDNSRecords(t *testing.T) {
	t.Parallel()
	s := open(t, withPrograms(), nil)
	s.signedIn("admin").get("/domains/old.example/dns").is(200, "_imaps._tcp.old.example. 3600 IN SRV 0 1 993 mail.example.com.", "_pop3s._tcp.old.example. 3600 IN SRV 0 0 0 .",
		"autoconfig.old.example. 3600 IN CNAME mail.example.com.")
	if p := s.signedIn("admin").get("/domains/new.example/dns"); p.status < 400 {
		t.Errorf("an administrator of another domain: %d", p.status)
	}
	if p := s.signedIn("account").get("/domains/old.example/dns"); p.status < 400 {
		t.Errorf("a member: %d", p.status)
	}
}
