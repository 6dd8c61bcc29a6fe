package console

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"latchkey/authcore"
	"latchkey/authcore/authtest"
	"latchkey/authcore/member"
	"latchkey/authcore/store"
	"latchkey/authcore/store/memory"
	"latchkey/authcore/store/storetest"
)

const withMistakes = `address,name,aliases,role,email
ann@old.example,Ann,,,ann@home.example
account@old.example,There,,,
bob@new.example,Bob,,,
ann@old.example,Ann again,,,
cy@old.example,Cy,,chief,
dan@old.example
eve@old.example,Eve,e.ve@old.example,administrator,
`

const importPath = oldMembers + "/import"

func (s *stage) there(address string) bool {
	_, err := s.MemberOf(s.t.Context(), authtest.Operator(), address)
	return err == nil
}

// A check tells every row's mistakes with its line, and makes nobody; the import makes who is good, tells the others, and
// shows the temporary passwords. Sent again it shows the same ones; from a new form everybody is there already.
func TestImportWithMistakes(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	b := s.signedIn("admin")
	form := b.get(oldMembers).follow("Import").is(200, "Import members", "At most 5 MiB and 10000 rows.").having("Check")
	checked := form.upload("members.csv", withMistakes, "check").is(200, "Checked: nothing was imported yet", "Rows: 7. Good: 2. There already: 1. To be mended: 4.",
		"3 account@old.example There already", `4 bob@new.example "bob@new.example" is not in the domain`, "5 ann@old.example Ann@old.example: line 2 has this address already", "6 cy@old.example Must be", "7")
	checked.hides("Choose the file once more")
	if s.there("ann@old.example") {
		t.Fatal("a check made somebody")
	}
	if v := checked.having("Import").values.Get("once"); v == form.values.Get("once") || v == "" {
		t.Errorf("once %q after %q", v, form.values.Get("once"))
	}

	done := form.upload("members.csv", withMistakes, "import").is(200, "7 of 7 rows done", "Created: 2. There already: 1. Refused: 4.", "Temporary passwords", "ann@old.example Ann", "eve@old.example Eve", "3 account@old.example There already")
	words := temporaryWord.FindAllString(done.text(), -1)
	if len(words) != 4 || words[0] != words[2] { // in the table and as CSV
		t.Fatalf("passwords %q in %s", words, done.text())
	}
	if r, err := s.SignIn(t.Context(), authtest.Client(), "ann@old.example", secretOf(words[0])); err != nil || r.State != authcore.PasswordChangeRequires {
		t.Errorf("%q, %v", r.State, err)
	}
	if again := form.upload("members.csv", withMistakes, "import").is(200, "Created: 2"); temporaryWord.FindString(again.text()) != words[0] {
		t.Error("the same form gave another password")
	}
	fresh := b.get(importPath).having("Import").upload("members.csv", withMistakes, "import").is(200, "Created: 0. There already: 3. Refused: 4.")
	fresh.hides("Temporary passwords")
	if !strings.HasSuffix(strings.TrimSpace(done.body), "</html>") {
		t.Error("the page has no end")
	}
}

// The hash of a passwd-file is the member's password from then on, and nothing is shown.
func TestImportOfAPasswdFile(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	const file = "joe:{BLF-CRYPT}$2y$05$YFUV4lFloT4SCaYnUnu2JOlJV4HNl3CEH7iFBeFW8rER1Wvqs/y/6:1000:1000:Joe Doe:/home/joe::\nlou:{PLAIN}secret::::::\n"
	s.signedIn("admin").get(importPath).having("Import").choose("passwd-file of Dovecot").upload("users", file, "import").
		is(200, "Created: 1. There already: 0. Refused: 1.", "2 lou@old.example").hides("Temporary passwords", "secret")
	if r, err := s.SignIn(t.Context(), authtest.Client(), "joe@old.example", secretOf("correct horse 1")); err != nil || r.State != authcore.SignedIn {
		t.Errorf("%q, %v", r.State, err)
	}
}

func TestImportOfJSONLinesBelievesNoContact(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	const file = `{"address":"kim@old.example","contacts":[{"kind":"email","value":"kim@home.example","verified":true}]}` + "\n" + `{"address":"x@old.example","colour":1}`
	s.signedIn("admin").get(importPath).having("Import").upload("members.jsonl", file, "import").is(200, "Created: 1. There already: 0. Refused: 1.", "2 x@old.example Not a member as JSON")
	m, err := s.MemberOf(t.Context(), authtest.Operator(), "kim@old.example")
	if err != nil || m.Member.Contacts[0].Verified {
		t.Errorf("%+v, %v", m.Member.Contacts, err)
	}
}

func TestImportOfAFileThatCannotBeRead(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	b := s.signedIn("admin")
	for _, c := range []struct{ name, file, text, want string }{
		{"empty", "a.csv", "", "Choose a file that is not empty."},
		{"unknown column", "a.csv", "address,colour\nx@old.example,red\n", `column "colour" is not known`},
		{"another encoding", "a.csv", "address,\x96\xbc\nx@old.example,a\n", "Is not in UTF-8: save the file anew in that encoding."},
		{"of a spreadsheet", "a.csv", "\xff\xfea\x00d\x00d\x00", "Is not in UTF-8"},
		{"columns alone", "a.csv", "address\n", "Has no row with a member."},
		{"too large", "a.csv", "address\n" + strings.Repeat("x", maxImportFile), "Is larger than 5 MiB"},
		{"too many rows", "a.csv", "address\n" + strings.Repeat("x@old.example\n", maxImportRows+1), "Has more than 10 000 rows"},
		{"an endless line", "a.jsonl", strings.Repeat("x", 100_000), "Has a line that is too long"},
	} {
		t.Run(c.name, func(t *testing.T) {
			form := b.get(importPath).having("Import")
			form.page.b = &browser{s: &stage{Core: s.Core, t: t, url: s.url, http: s.http, clock: s.clock}, http: b.http, lang: "en"}
			form.upload(c.file, c.text, "import").is(422, "Some fields are not right.", c.want).having("Import")
		})
	}
	if p := b.send(http.MethodPost, importPath, map[string][]string{"once": {"0123456789abcdef"}}); p.status != 422 {
		t.Errorf("a form without a file: %d", p.status)
	}
}

// A name in another encoding would be kept as something else.
func TestImportOfNamesInAnotherEncoding(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	b := s.signedIn("admin")
	b.get(importPath).having("Import").upload("m.csv", "address,name\nx@old.example,\x8e\x52\x93\x63\ny@old.example,山田\n", "import").
		is(200, "Created: 1. There already: 0. Refused: 1.", "2 Is not in UTF-8", "y@old.example 山田")
	b.get(importPath).having("Import").upload("m.jsonl", `{"address":"x@old.example","name":"`+"\x8e\x52"+`"}`, "import").is(200, "Created: 0. There already: 0. Refused: 1.")
	if s.there("x@old.example") {
		t.Error("a member with another name than his")
	}
}

// failing are records of which a write of one name goes wrong.
type failing struct{ now atomic.Pointer[atName] }

type atName struct {
	name string
	do   func() storetest.Fault
}

func (f *failing) at(name string, do func() storetest.Fault) { f.now.Store(&atName{name, do}) }

func (f *failing) records(o *authcore.Options) {
	o.Records = &storetest.Faulty{Records: memory.NewRecords(memory.Options{}), OnApply: func(_ string, ops []store.Op) storetest.Fault {
		if n := f.now.Load(); n != nil && slices.ContainsFunc(ops, func(op store.Op) bool { return op.Name == n.name }) {
			return n.do()
		}
		return storetest.NoFault
	}}
}

// The records fail in the middle: the page says how far it came, what is done stays, and the same form goes on from there
// with the passwords of all.
func TestImportThatBreaksOff(t *testing.T) {
	t.Parallel()
	var failing failing
	s := open(t, Options{}, failing.records)
	b := s.signedIn("admin")
	form := b.get(importPath).having("Import")
	var file strings.Builder
	file.WriteString("address\n")
	for i := range 5 {
		fmt.Fprintf(&file, "m%d@old.example\n", i)
	}
	failing.at("address/m3@old.example", func() storetest.Fault { return storetest.FailBefore })
	p := form.upload("m.csv", file.String(), "import").is(200, "The import broke off after 3 rows.", "What is done stays done", "Created: 3.", "m2@old.example")
	first := temporaryWord.FindString(p.text())
	if s.there("m3@old.example") || !s.there("m2@old.example") {
		t.Error("not what was told")
	}
	failing.at("", nil)
	whole := form.upload("m.csv", file.String(), "import").is(200, "5 of 5 rows done", "Created: 5. There already: 0. Refused: 0.")
	if temporaryWord.FindString(whole.text()) != first {
		t.Error("a password that was shown is another one now")
	}
}

// Who is suspended while his file is imported makes nobody from then on.
func TestImportEndsWithItsSession(t *testing.T) {
	t.Parallel()
	var failing failing
	s := open(t, Options{}, failing.records)
	s.make("boss", member.RoleAdministrator)
	form := s.signedIn("admin").get(importPath).having("Import")
	failing.at("address/m1@old.example", func() storetest.Fault {
		failing.at("", nil)
		if _, err := s.Suspend(t.Context(), authtest.Operator(), "admin@old.example"); err != nil {
			t.Error(err)
		}
		return storetest.NoFault
	})
	form.upload("m.csv", "address\nm0@old.example\nm1@old.example\nm2@old.example\n", "import").is(200, "The import broke off after 2 rows.")
	if s.there("m2@old.example") {
		t.Error("a suspended administrator made a member")
	}
}

// Nobody of another domain gets a file read.
func TestImportIsForItsAdministrators(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	form := s.signedIn("admin").get(importPath).having("Import")
	for state, want := range map[string]int{"account": 403, "app-only": 403, "operator": 200} {
		form.page.b = s.signedIn(state)
		if p := form.upload("m.csv", "address\nnew@old.example\n", "check"); p.status != want {
			t.Errorf("%s: %d, want %d", state, p.status, want)
		}
	}
}
