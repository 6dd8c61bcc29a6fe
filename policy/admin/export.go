package admin

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"latchkey/authcore/audit"
	"latchkey/policy/api"
)

// exportPage is how many entries an export holds at once: its memory does not grow with what it exports.
const exportPage = 500

// entries writes audit entries in some form.
type entries interface {
	write(audit.Entry) error
	flush() error
}

// export streams every entry, page by page. What is refused or broken before the first byte is still told as a problem;
// after it, the connection breaks.
func export(ctx context.Context, more func(after string, limit int) ([]audit.Entry, string, error), contentType string, form func(io.Writer) entries) (*api.Stream, error) {
	l, next, err := more("", exportPage)
	if err != nil {
		return nil, err
	}
	return &api.Stream{Body: func(h huma.Context) {
		out := form(api.Begin(h, contentType))
		for {
			err := writeAll(out, l)
			if err == nil && next == "" {
				return
			}
			if err == nil {
				api.Extend(ctx)
				l, next, err = more(next, exportPage)
			}
			if err != nil {
				api.Abort(ctx, err)
			}
		}
	}}, nil
}

func writeAll(out entries, l []audit.Entry) error {
	for _, e := range l {
		if err := out.write(e); err != nil {
			return err
		}
	}
	return out.flush()
}

type jsonLines struct{ *json.Encoder }

func newJSONL(w io.Writer) entries {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return jsonLines{e}
}

func (j jsonLines) write(e audit.Entry) error { return j.Encode(e) }
func (j jsonLines) flush() error              { return nil }

type table struct{ *csv.Writer }

// newCSV writes lines that end with CRLF (RFC 4180 section 2), and its header before the first entry.
func newCSV(w io.Writer) entries {
	t := table{csv.NewWriter(w)}
	t.UseCRLF = true
	_ = t.Write([]string{"id", "time", "last", "count", "action", "reason", "detail", "actor", "target", "member_id", "door", "from", "agent",
		"credential_kind", "credential", "credential_name", "session", "changes"}) // flush tells what went wrong
	return t
}

func (t table) write(e audit.Entry) error {
	changes := ""
	if len(e.Changes) > 0 {
		p, err := json.Marshal(e.Changes)
		if err != nil {
			return err
		}
		changes = string(p)
	}
	row := []string{e.ID, stamp(e.Time), stamp(e.Last), strconv.Itoa(e.Count), string(e.Action), e.Reason, e.Detail, e.Actor, e.Target, e.MemberID,
		e.Door, e.From, e.Agent, e.Kind, e.Credential, e.Name, e.Session, changes}
	for i := range row {
		row[i] = inert(row[i])
	}
	return t.Write(row)
}

func (t table) flush() error {
	t.Flush()
	return t.Error()
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// inert keeps a spreadsheet from running what a stranger wrote into a User-Agent: fields that would begin a formula get an
// apostrophe, as OWASP advises.
func inert(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r", rune(s[0])) {
		return "'" + s
	}
	return s
}
