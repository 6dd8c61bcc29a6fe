package console

import (
	"encoding/csv"
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"time"

	"latchkey/authcore/audit"
	"latchkey/authcore/authtest"
	"latchkey/authcore/sample"
	"latchkey/policy"
)

const auditPath = "/domains/" + sample.Old + "/audit"

// attempts makes a few entries: one allowed and three refused at doors, and a policy that is saved.
func (s *stage) attempts() {
	s.t.Helper()
	for _, try := range []struct{ door, secret string }{{"imap", s.People["account"].Account.Reveal()}, {"smtp", "wrong"}, {"smtp", "wrong"}, {"smtp", "wrong"}} {
		s.clock.pass(time.Second)
		if _, err := s.Authenticate(s.t.Context(), authtest.Attempt(try.door, s.People["account"].Address, try.secret)); err != nil {
			s.t.Fatal(err)
		}
	}
	s.clock.pass(time.Second)
	s.setPolicy(sample.Old, func(p *policy.Policy) { p.Password.MinLength = 11 })
}

func (p *shown) lines() int { return strings.Count(p.body, "<summary>Details</summary>") }

// What was done stands in plain words, newest first; details and fields that changed are behind a button.
func TestAuditInWords(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	s.attempts()
	p := s.signedIn("admin").get(auditPath).is(200, "Account Security changed", "password.min_length: 8 → 11", "Sign-in Wrong name or password × 3",
		"How often 3", "Sign-in Signed in", "IMAP 192.0.2.10", "SMTP 192.0.2.10", "Account password", "Member created")
	first, last := strings.Index(p.text(), "Account Security changed"), strings.Index(p.text(), "× 3")
	if first > last {
		t.Error("the oldest stand first")
	}
}

func TestAuditFilters(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	s.attempts()
	b := s.signedIn("admin")
	today := s.clock.now().UTC().Format(time.DateOnly)
	for _, tc := range []struct {
		name string
		fill func(*filling)
		want int
		has  string
	}{
		{"member", func(f *filling) { f.fill("Member", "ACCOUNT@").choose("Sign-in") }, 2, "account@" + sample.Old},
		{"what", func(f *filling) { f.choose("Account Security changed") }, 2, "Account Security changed"}, // the sample's own too
		{"result", func(f *filling) { f.choose("Wrong name or password") }, 1, "× 3"},
		{"where", func(f *filling) { f.choose("IMAP") }, 1, "Signed in"},
		{"days", func(f *filling) { f.choose("SMTP").fill("First day", today).fill("Last day", today) }, 1, "× 3"},
		{"before", func(f *filling) { f.fill("Last day", "2020-01-01") }, 0, "Nothing was found."},
		{"after", func(f *filling) { f.fill("First day", "2100-01-01") }, 0, "Nothing was found."},
	} {
		f := b.get(auditPath).having("Show")
		tc.fill(f)
		p := f.press("Show").is(200, tc.has, "Show everything")
		if p.lines() != tc.want {
			t.Errorf("%s: %d entries, want %d:\n%s", tc.name, p.lines(), tc.want, p.text())
		}
	}
	p := b.get(auditPath).having("Show").fill("First day", "yesterday").press("Show").is(422, "Must be a date.")
	if p.lines() != 0 || p.having("Show").values.Get("from") != "yesterday" {
		t.Error("a wrong day shows entries, or is forgotten")
	}
}

// Each entry is on one page.
func TestAuditPages(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	for range 120 {
		s.clock.pass(time.Second)
		if err := s.SetAppPasswordOptionFor(t.Context(), authtest.Operator(), s.People["account"].Address, s.clock.now().Second()%2 == 0); err != nil {
			t.Fatal(err)
		}
	}
	p := s.signedIn("admin").get(auditPath)
	n := p.lines()
	for pages := 1; strings.Contains(p.text(), "Next page"); pages++ {
		if p.lines() != auditPart || pages > 9 {
			t.Fatalf("page %d has %d entries", pages, p.lines())
		}
		p = p.follow("Next page").is(200, "First page")
		n += p.lines()
	}
	l, _, err := s.Audit(t.Context(), authtest.Operator(), sample.Old, audit.Filter{}, "", 1000)
	if err != nil || n != len(l) {
		t.Errorf("%d entries, want %d, %v", n, len(l), err)
	}
}

// What is selected is exported as a file, by the cookie alone and in the forms of the API.
func TestAuditExport(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	s.attempts()
	b := s.signedIn("admin")
	p := b.get(auditPath).having("Show").choose("Wrong name or password").press("Show")
	jsonl := p.follow("JSON Lines").is(200)
	var e audit.Entry
	if err := json.Unmarshal([]byte(jsonl.body), &e); err != nil || e.Count != 3 || e.Reason != "bad_credentials" {
		t.Errorf("%+v, %v", e, err)
	}
	table := p.follow("CSV").is(200)
	rows, err := csv.NewReader(strings.NewReader(table.body)).ReadAll()
	if err != nil || len(rows) != 2 || rows[0][0] != "id" || rows[1][3] != "3" {
		t.Errorf("%v, %v", rows, err)
	}
	for name, got := range map[string]*shown{"audit-old.example.jsonl": jsonl, "audit-old.example.csv": table} {
		if h := got.header.Get("Content-Disposition"); h != `attachment; filename="`+name+`"` {
			t.Errorf("%s: %s", name, h)
		}
	}
	b.get(auditPath + "/export?format=exe").is(422)
	b.get(auditPath + "/export?format=csv&from=x").is(422)
}

func TestAuditRights(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	for _, tc := range []struct {
		state, path string
		status      int
	}{
		{"admin", "/domains/" + sample.New + "/audit", 404}, {"account", auditPath, 403},
		{"admin", "/domains/" + sample.New + "/audit/export?format=csv", 404}, {"account", auditPath + "/export?format=csv", 403},
		{"admin", "/domains/" + sample.New + "/audit/picture", 404}, {"account", auditPath + "/picture", 403},
		{"admin", "/audit", 403}, {"admin", "/audit/export?format=csv", 403}, {"account", "/audit?from=x", 403},
		{"operator", "/audit", 200}, {"operator", auditPath, 200}, {"operator", auditPath + "/picture", 200}, {"operator", "/audit/export?format=jsonl", 200},
	} {
		p := s.signedIn(tc.state).get(tc.path).is(tc.status)
		if tc.status != 200 && (p.lines() > 0 || strings.Contains(p.body, "sign_in")) {
			t.Errorf("%s sees %s", tc.state, tc.path)
		}
	}
	if at := s.browser().get(auditPath + "/export?format=csv").at; at.Path != "/sign-in" {
		t.Errorf("who is not signed in is led to %s", at)
	}
}

// Operators see what no domain knows.
func TestInstallationAudit(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	if err := s.RecordKeys(t.Context(), authtest.Operator(), "rotate", "k1, k2"); err != nil {
		t.Fatal(err)
	}
	s.signedIn("operator").get("/audit").is(200, "Server keys changed", "k1, k2", "Detail rotate").hides("The last 30 days")
}

// The last 30 days: a bar for each door and each reason, and the same as a table.
func TestPictureOfThirtyDays(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	s.attempts()
	yesterday := s.clock.now().UTC().Format(time.DateOnly)
	s.clock.pass(24 * time.Hour)
	if _, err := s.Authenticate(t.Context(), authtest.Attempt("imap", s.People["account"].Address, s.People["account"].Account.Reveal())); err != nil {
		t.Fatal(err)
	}
	p := s.signedIn("admin").get(auditPath).follow("The last 30 days").is(200, "Sign-ins by door", "IMAP: 2", "Refusals by reason", "Wrong name or password: 3",
		yesterday+" 3").hides("There are more", "Reload the page")
	if n := strings.Count(p.body, `<th scope="row">`); n != 60 {
		t.Errorf("%d rows", n)
	}
	if strings.Contains(p.body, "style=") || strings.Contains(p.body, "<style") || len(p.body) > 60<<10 {
		t.Errorf("%d bytes, or with styles", len(p.body))
	}
	s.signedIn("operator").get("/domains/"+sample.New+"/audit/picture").is(200, "Web: 1", "There were none.")
}

// A day with more entries than are counted says so.
func TestPictureSaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	for name, want := range map[string]string{"Bounded": "the last bar shows at least so many", "Behind": "Days that are not fully counted yet: 4."} {
		got := s.drawnPicture(picturePage{Domain: sample.Old, Bounded: name == "Bounded", Behind: map[string]int{"Behind": 4}[name]})
		if !strings.Contains(got, want) {
			t.Errorf("%s: %s", name, got)
		}
	}
}

func (s *stage) drawnPicture(v picturePage) string {
	s.t.Helper()
	var b strings.Builder
	l := shared().languages["en"]
	if err := l.pages["picture.html"]().ExecuteTemplate(&b, "main", &view{p: &page{lang: l}, Data: v}); err != nil {
		s.t.Fatal(err)
	}
	return b.String()
}

// Bars stand on each other, and the few are seen beside the many.
func TestChartIsDrawn(t *testing.T) {
	t.Parallel()
	c := chart{Parts: make([]chartPart, 2), Days: []chartDay{{X: 48, Counts: []int{999, 1}}, {X: 70, Counts: []int{0, 0}}, {X: 92, Counts: []int{0, 1}}}}
	c.draw()
	for i, want := range []string{"M48 200h15V13h-15z", "M48 13h15V12h-15zM92 200h15V199h-15z"} {
		if got := c.Parts[i].Path; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	if c.Total != 1001 || c.Parts[1].Total != 2 || len(c.Lines) != 3 {
		t.Errorf("%+v", c)
	}
	for n, want := range map[int]int{1: 2, 2: 2, 3: 4, 5: 10, 11: 20, 40: 40, 41: 100, 1001: 2000} {
		if got := rounded(n); got != want {
			t.Errorf("%d is rounded to %d, want %d", n, got, want)
		}
	}
}

// Every action and every reason has its words.
func TestAuditHasWords(t *testing.T) {
	t.Parallel()
	for _, a := range audit.Actions() {
		if actionWords()[a] == "" {
			t.Errorf("%s has no words", a)
		}
	}
	if len(actionWords()) != len(audit.Actions()) {
		t.Error("words for what is no action")
	}
	if _, mistakes := auditFilter(url.Values{}); len(mistakes) > 0 {
		t.Error(mistakes)
	}
}
