package console

import (
	"io"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/audit"
	"latchkey/policy"
	"latchkey/policy/api"
)

func (s *server) auditRoutes() {
	s.signedIn("GET /domains/{domain}/audit", (*page).audit)
	s.add("GET /domains/{domain}/audit/export", true, identified((*page).exportAudit))
	s.signedIn("GET /domains/{domain}/audit/picture", (*page).picture)
	s.signedIn("GET /audit", (*page).audit)
	s.add("GET /audit/export", true, identified((*page).exportAudit))
}

// auditPage is a part of the audit in words.
type auditPage struct {
	Domain    string // empty: the installation's
	Filters   []filter
	Filtered  bool
	Entries   []auditEntry
	Paging    paging
	CSV, JSON string // where the exports are
}

// filter is one field of the form that selects entries.
type filter struct {
	Part  string
	Input field
}

// auditEntry is one line.
type auditEntry struct {
	audit.Entry
	What, Result string
	Good, Bad    bool
	Who          string
	Where        string
	Details      []detail
}

type detail struct{ Name, Value string }

// auditPart is how many entries a page shows.
const auditPart = 50

// entries answers where the entries are that the path means.
func (p *page) entries(f audit.Filter) api.Entries {
	if domain := p.r.PathValue("domain"); domain != "" {
		return func(after string, limit int) ([]audit.Entry, string, error) {
			return p.core.Audit(p.ctx, p.actor, domain, f, after, limit)
		}
	}
	return func(after string, limit int) ([]audit.Entry, string, error) {
		return p.core.InstallationAudit(p.ctx, p.actor, f, after, limit)
	}
}

func (p *page) audit() error {
	q := p.r.URL.Query()
	f, mistakes := auditFilter(q)
	v := auditPage{Domain: p.r.PathValue("domain"), CSV: p.exportPath(q, "csv"), JSON: p.exportPath(q, "jsonl")}
	limit := auditPart
	if len(mistakes) > 0 {
		f, limit = audit.Filter{}, 1 // nothing is shown, but whoever may not see anything is not told about dates
	}
	l, next, err := p.entries(f)(q.Get("after")[:min(len(q.Get("after")), longestMark)], limit)
	if err != nil {
		return err
	}
	if len(mistakes) > 0 {
		failed := p.mistakes(api.Invalid(mistakes...))
		v.Filters = p.auditFilters(q, failed.Fields)
		return p.answer(failed.status, "audit.html", v, failed)
	}
	v.Filters, v.Paging = p.auditFilters(q, nil), p.paging("after", next)
	v.Filtered = f.Text+f.Door != "" || f.Actions != nil || f.Reasons != nil || !f.From.IsZero() || !f.To.IsZero()
	for _, e := range l {
		v.Entries = append(v.Entries, p.auditEntry(e))
	}
	return p.show("audit.html", v)
}

// longestMark bounds where a page goes on: names of entries are far shorter.
const longestMark = 200

// auditFilter reads what the form asks for.
func auditFilter(q url.Values) (f audit.Filter, mistakes []policy.Mistake) {
	day := func(name string) time.Time {
		typed := q.Get(name)
		if typed == "" {
			return time.Time{}
		}
		at, err := time.Parse(time.DateOnly, typed)
		if err != nil {
			mistakes = append(mistakes, policy.Mistake{Field: name, Reason: "must be a date"})
		}
		return at
	}
	f = audit.Filter{Text: strings.ToLower(strings.TrimSpace(q.Get("member"))), Door: q.Get("door"), From: day("from"), To: day("to")}
	if !f.To.IsZero() {
		f.To = f.To.AddDate(0, 0, 1) // the day itself is meant too
	}
	if a := q.Get("action"); a != "" {
		f.Actions = []audit.Action{audit.Action(a)}
	}
	if r := q.Get("result"); r != "" {
		f.Reasons = []string{r}
	}
	return f, mistakes
}

// auditFilters are the fields of the form, with what was chosen and what is wrong with it.
func (p *page) auditFilters(q url.Values, mistakes map[string]string) []filter {
	words := actionWords()
	actions := []offer{choice("", p.t("Everything"))}
	for _, a := range audit.Actions() {
		actions = append(actions, choice(a, p.t(words[a])))
	}
	how := []offer{choice("", p.t("Any result"))}
	for _, r := range results() {
		how = append(how, choice(r.word, p.t(r.sentence)))
	}
	doors := []offer{choice("", p.t("Anywhere"))}
	for _, d := range append(policy.Doors(), authcore.WebDoor) {
		doors = append(doors, choice(d, p.doorWords(d)))
	}
	l := []filter{
		{byTyping, field{Name: "member", Label: p.t("Member"), Type: "search", MaxLength: "200", Placeholder: p.t("Part of an address")}},
		{byList, field{Name: "action", Label: p.t("What was done"), Choices: actions}},
		{byList, field{Name: "result", Label: p.t("Result"), Choices: how}},
		{byList, field{Name: "door", Label: p.t("Where"), Choices: doors}},
		{byTyping, field{Name: "from", Label: p.t("First day"), Type: "date"}},
		{byTyping, field{Name: "to", Label: p.t("Last day"), Type: "date"}},
	}
	for i := range l {
		in := &l[i].Input
		in.Value, in.Mistake = q.Get(in.Name), mistakes[in.Name]
		for j := range in.Choices {
			in.Choices[j].Chosen = in.Choices[j].Value == in.Value
		}
	}
	return l
}

func (p *page) auditEntry(e audit.Entry) auditEntry {
	v := auditEntry{Entry: e, What: actionWords()[e.Action], Who: e.Actor, Where: p.doorWords(e.Door)}
	if v.What == "" {
		v.What = string(e.Action)
	}
	v.What = p.t(v.What)
	if e.Reason != "" {
		v.Result, v.Good = p.resultWords(e.Reason), e.Reason == string(authcore.Allowed)
		v.Bad = !v.Good && !authcore.IsStep(e) && (e.Action == audit.SignIn || e.Action == audit.Reauthenticate)
	}
	switch {
	case v.Who == "":
		v.Who = e.Target
	case e.Target != "" && e.Target != e.Actor:
		v.Who += " → " + e.Target
	}
	if e.From != "" {
		v.Where = strings.TrimSpace(v.Where + " " + e.From)
	}
	add := func(name, value string) {
		if value != "" {
			v.Details = append(v.Details, detail{name, value})
		}
	}
	if e.Count > 1 {
		add(p.t("How often"), strconv.Itoa(e.Count))
		add(p.t("The last time"), p.lang.time(e.Last))
	}
	add(p.t("Done by"), e.Actor)
	add(p.t("Done to"), e.Target)
	add(p.t("Detail"), strings.ReplaceAll(e.Detail, "_", " "))
	add(p.t("Signed in with"), strings.TrimSpace(p.credentialWords(e.Kind)+" "+e.Name))
	add(p.t("Program"), e.Agent)
	add(p.t("Session"), e.Session)
	add(p.t("Entry"), e.ID)
	return v
}

// exportPath is where the entries that the form selects are exported.
func (p *page) exportPath(q url.Values, format string) string {
	q = maps.Clone(q)
	q.Del("after")
	q.Set("format", format)
	return (&url.URL{Path: strings.TrimSuffix(p.r.URL.Path, "/") + "/export", RawQuery: q.Encode()}).String()
}

// exportAudit streams all that the form selects as a file.
func (p *page) exportAudit() error {
	q := p.r.URL.Query()
	f, mistakes := auditFilter(q)
	forms := map[string]func(io.Writer) audit.Form{"csv": audit.NewCSV, "jsonl": audit.NewJSONL}
	types := map[string]string{"csv": audit.CSVType, "jsonl": audit.JSONLType}
	format := q.Get("format")
	if !slices.Contains([]string{"csv", "jsonl"}, format) {
		mistakes = append(mistakes, policy.Mistake{Field: "format", Reason: "must be csv or jsonl"})
	}
	if len(mistakes) > 0 {
		return api.Invalid(mistakes...)
	}
	write, err := api.Export(p.ctx, p.entries(f), types[format], forms[format])
	if err != nil {
		return err
	}
	name := "audit"
	if d := p.r.PathValue("domain"); d != "" {
		name += "-" + d // a name that Core knows as a domain's has no quotes
	}
	p.w.Header().Set("Content-Disposition", `attachment; filename="`+name+"."+format+`"`)
	write(p.w)
	return nil
}
