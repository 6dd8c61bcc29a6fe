package console

import (
	"bytes"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/authtest"
	"latchkey/authcore/member"
	"latchkey/authcore/sample"
	"latchkey/authcore/store"
)

// make makes a member of the old domain.
func (s *stage) make(name string, role member.Role) {
	s.t.Helper()
	if _, _, err := s.CreateMember(s.t.Context(), authtest.Operator(), sample.Old, authcore.NewMember{Address: name + "@" + sample.Old, Name: strings.ToUpper(name), Role: role}); err != nil {
		s.t.Fatal(err)
	}
}

const oldMembers, oldAccount = "/domains/old.example/members", "/members/account@old.example"

func TestMembersAreListedAndSought(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	for _, n := range []string{"aa", "ab", "zz"} {
		s.make(n, member.RoleMember)
	}
	b := s.signedIn("admin")
	p := b.get(oldMembers).is(200, "Members", "account@old.example", "Active", "suspended@old.example", "Suspended", "Administrator", "2-step verification")
	p.hides("new.example")
	p.follow("account@old.example").is(200, "Status", "Profile", "Third-party app passwords")
	found := p.having("Search").fill("Part of an address or a name", "ZZ").press("Search").is(200, "zz@old.example", "ZZ")
	found.hides("account@old.example")
	p.having("Search").fill("Part of an address or a name", "nowhere").press("Search").is(200, "Nobody was found.")
}

func TestMembersArePaged(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	for i := range perPage {
		s.make("m"+string(rune('a'+i/26))+string(rune('a'+i%26)), member.RoleMember)
	}
	first := s.signedIn("admin").get(oldMembers).is(200, "account@old.example")
	first.hides("two-step@old.example")
	second := first.follow("Next page").is(200, "two-step@old.example")
	second.hides("account@old.example")
	second.follow("First page").is(200, "account@old.example")
	s.signedIn("admin").get(oldMembers+"?after="+strings.Repeat("x", 500)).is(404, "This did not work")
}

var temporaryWord = regexp.MustCompile(`[a-z2-9]{5}(-[a-z2-9]{5}){3}`)

// A new member's password is shown once: the same form sent again shows the same one, and makes nobody.
func TestAddMember(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	form := s.signedIn("admin").get(oldMembers).follow("Add member").is(200, "Add member").having("Add member").
		fill("Address", "jane").fill("Name", "Jane Doe").fill("Aliases", "j.doe@old.example\nsales@old.example").
		fill("Personal e-mail addresses", "jane@home.example").fill("Mobile numbers", "+81 90 1234 5678").choose("Administrator")
	made := form.press("Add member").is(200, "Member added", "jane@old.example", "It is shown only once", "valid until")
	secret := temporaryWord.FindString(made.text())
	if secret == "" {
		t.Fatal(made.text())
	}
	if again := form.press("Add member").is(200, "Member added"); temporaryWord.FindString(again.text()) != secret {
		t.Error("the form made another password")
	}
	if made.header.Get("Cache-Control") != "no-store" {
		t.Error("the page with the password may be kept")
	}
	page := made.follow("Show the member").is(200, "Jane Doe", "j.doe@old.example", "sales@old.example", "+819012345678", "jane@home.example", "Administrator", "Not verified")
	page.hides(secret)
	if r, err := s.SignIn(t.Context(), authtest.Client(), "jane@old.example", secretOf(secret)); err != nil || r.State != authcore.PasswordChangeRequires {
		t.Errorf("%q, %v", r.State, err)
	}
}

func TestAddMemberRefused(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	b := s.signedIn("admin")
	for _, c := range []struct {
		name, address, aliases, emails, mobiles string
		status                                  int
		want                                    string
	}{
		{"another domain", "jane@new.example", "", "", "", 422, `"jane@new.example" is not in the domain old.example`},
		{"no address", "a b@old.example", "", "", "", 422, "is not an address like"},
		{"taken", "account@old.example", "", "", "", 409, "The address account@old.example is a member's already."},
		{"an alias that is taken", "jane", "account@old.example", "", "", 409, "The address account@old.example is a member's already."},
		{"no number", "jane", "", "", "12", 422, `"12" is neither an e-mail address nor a mobile number`},
	} {
		t.Run(c.name, func(t *testing.T) {
			b.s = &stage{Core: s.Core, t: t, url: s.url, http: s.http, clock: s.clock}
			p := b.get(oldMembers+"/new").having("Add member").fill("Address", c.address).fill("Aliases", c.aliases).
				fill("Personal e-mail addresses", c.emails).fill("Mobile numbers", c.mobiles).press("Add member").is(c.status, c.want)
			if got := p.having("Add member").values.Get("aliases"); got != c.aliases {
				t.Errorf("aliases are %q now", got)
			}
		})
	}
}

// The address of a deleted member is given again when it was confirmed.
func TestAddMemberWithTheAddressOfADeletedOne(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	b := s.signedIn("operator")
	if err := s.DeleteMember(t.Context(), authtest.Operator(), "account@old.example"); err != nil {
		t.Fatal(err)
	}
	add := func() *shown {
		return b.get(oldMembers+"/new").having("Add member").fill("Address", "account@old.example").press("Add member")
	}
	add().is(409, "can still be restored")
	s.clock.pass(member.RestorableFor + time.Hour)
	b = s.signedIn("operator")
	asked := add().is(409, "inherits nothing")
	asked.having("Add member").tick("Give the address of a deleted member to this one, who inherits nothing").press("Add member").is(200, "Member added")
}

// upload sends the form with the button as a browser does that was given a file.
func (f *filling) upload(name, text, do string) *shown {
	t := f.page.b.s.t
	t.Helper()
	var body bytes.Buffer
	m := multipart.NewWriter(&body)
	for key, values := range f.values {
		if key != "file" {
			for _, v := range values {
				_ = m.WriteField(key, v)
			}
		}
	}
	w, err := m.CreateFormFile("file", name)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = w.Write([]byte(text))
	_ = m.WriteField("do", do)
	_ = m.Close()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, f.page.at.String(), &body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", m.FormDataContentType())
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	r.Header.Set("Accept-Language", f.page.b.lang)
	a, err := f.page.b.http.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	answer, err := io.ReadAll(a.Body)
	if err != nil {
		t.Fatal(err)
	}
	return read(t, f.page.b, a, string(answer))
}

// A search looks at so many addresses and no more, says so, and goes on with the next page.
func TestASearchOfMembersIsBounded(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	s.make("zz", member.RoleMember)
	at, of := member.Partition(s.domain(sample.Old)), member.Address{Member: member.NewID(), Primary: true}
	for i := 0; i < 5_100; i += 100 {
		var ops []store.Op
		for j := range 100 {
			ops = append(ops, member.PutOp(store.Key{Partition: at, Name: fmt.Sprintf("%sm%05d@old.example", member.AddressPrefix, i+j)}, of, 0))
		}
		if _, err := s.Records.Apply(t.Context(), at, ops...); err != nil {
			t.Fatal(err)
		}
	}
	first := s.signedIn("admin").get(oldMembers).having("Search").fill("Part of an address or a name", "zz").press("Search").
		is(200, "each page looks at 5,000 addresses", "Nobody was found in this part")
	first.follow("Next page").is(200, "zz@old.example").hides("Next page")
}
