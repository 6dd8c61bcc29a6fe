package audit

import (
	"encoding/csv"
	"encoding/json"
	"io"
	"strconv"
	"strings"
	"time"
)

// A Form writes entries so that another program reads them.
type Form interface {
	Write(Entry) error
	Flush() error // once in a while and at the end
}

// Media types of the forms.
const (
	CSVType   = "text/csv; charset=utf-8; header=present" // RFC 4180 section 3
	JSONLType = "application/jsonl"
)

type jsonLines struct{ *json.Encoder }

// NewJSONL writes one JSON object a line.
func NewJSONL(w io.Writer) Form {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return jsonLines{e}
}

func (j jsonLines) Write(e Entry) error { return j.Encode(e) }
func (j jsonLines) Flush() error        { return nil }

type table struct{ *csv.Writer }

// NewCSV writes lines that end with CRLF (RFC 4180 section 2), and its header before the first entry.
func NewCSV(w io.Writer) Form {
	t := table{csv.NewWriter(w)}
	t.UseCRLF = true
	_ = t.Writer.Write([]string{"id", "time", "last", "count", "action", "reason", "detail", "actor", "target", "member_id", "door", "from", "agent",
		"credential_kind", "credential", "credential_name", "session", "changes"}) // Flush tells what went wrong
	return t
}

func (t table) Write(e Entry) error {
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
	return t.Writer.Write(row)
}

func (t table) Flush() error {
	t.Writer.Flush()
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
