package admin

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"latchkey/authcore"
	"latchkey/authcore/audit"
	"latchkey/policy/api"
)

func (s service) audit(k *api.Kit) {
	text := func() *huma.MediaType { return &huma.MediaType{Schema: &huma.Schema{Type: huma.TypeString}} }
	page := &huma.MediaType{Schema: api.Schema[api.List[audit.Entry]](k)}
	answers := func() map[string]*huma.Response {
		return map[string]*huma.Response{"200": {Description: "OK", Content: map[string]*huma.MediaType{
			"application/json": page, "text/csv": text(), "application/jsonl": text(),
		}}}
	}
	api.SignedIn(k, api.Operation{ID: "list-audit", Method: http.MethodGet, Path: "/domains/{domain}/audit", Tag: domainTag, Long: true,
		Summary: "Who did what and who tried to sign in, newest first; as csv or jsonl: all that the filters select", Answers: answers()}, s.listAudit)
	api.SignedIn(k, api.Operation{ID: "list-installation-audit", Method: http.MethodGet, Path: "/audit", Tag: domainTag, Long: true,
		Summary: "The same of what is of no domain: changes of the server keys, attempts of those whom no domain knows", Answers: answers()}, s.listInstallationAudit)
}

type domainAudit struct {
	OnDomain
	AuditQuery
}

// AuditQuery selects entries. It is exported because huma looks into exported fields alone.
type AuditQuery struct {
	api.Page
	Actions []string  `query:"action" maxItems:"50" doc:"Any of these"`
	Reasons []string  `query:"reason" maxItems:"50" doc:"Any of these"`
	Member  string    `query:"member" maxLength:"320" doc:"Whose: an id or an address"`
	Text    string    `query:"q" maxLength:"200" doc:"Part of who did it or of what it was done to"`
	Door    string    `query:"door" maxLength:"20" doc:"A door, or web"`
	From    time.Time `query:"from" doc:"Not before"`
	To      time.Time `query:"to" doc:"Before"`
	Format  string    `query:"format" enum:"json,csv,jsonl" default:"json" doc:"csv and jsonl stream all entries, without pages"`
}

// filter makes a Filter of the query. A member is found by his address as long as it is his.
func (s service) filter(ctx context.Context, a authcore.Actor, in *AuditQuery) (audit.Filter, error) {
	f := audit.Filter{Reasons: in.Reasons, Member: in.Member, Text: strings.ToLower(in.Text), Door: in.Door, From: in.From, To: in.To}
	for _, action := range in.Actions {
		f.Actions = append(f.Actions, audit.Action(action))
	}
	if !strings.Contains(in.Member, "@") {
		return f, nil
	}
	p, err := s.core.MemberOf(ctx, a, in.Member)
	if err != nil {
		return f, err
	}
	f.Member = string(p.Member.ID)
	return f, nil
}

func (s service) listAudit(ctx context.Context, a authcore.Actor, in *domainAudit) (*api.Stream, error) {
	f, err := s.filter(ctx, a, &in.AuditQuery)
	if err != nil {
		return nil, err
	}
	return in.answer(ctx, func(after string, limit int) ([]audit.Entry, string, error) {
		return s.core.Audit(ctx, a, in.Domain, f, after, limit)
	})
}

func (s service) listInstallationAudit(ctx context.Context, a authcore.Actor, in *AuditQuery) (*api.Stream, error) {
	f, err := s.filter(ctx, a, in)
	if err != nil {
		return nil, err
	}
	return in.answer(ctx, func(after string, limit int) ([]audit.Entry, string, error) {
		return s.core.InstallationAudit(ctx, a, f, after, limit)
	})
}

// answer writes a page, or all of them, in the form that is asked for.
func (in *AuditQuery) answer(ctx context.Context, more func(after string, limit int) ([]audit.Entry, string, error)) (*api.Stream, error) {
	switch in.Format {
	case "csv":
		return api.ExportStream(ctx, more, audit.CSVType, audit.NewCSV)
	case "jsonl":
		return api.ExportStream(ctx, more, audit.JSONLType, audit.NewJSONL)
	}
	l, next, err := more(in.After, in.Limit)
	if err != nil {
		return nil, err
	}
	return api.JSON(api.Listed(l, next, api.Same).Body), nil
}
