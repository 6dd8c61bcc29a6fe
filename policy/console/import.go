package console

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"mime/multipart"
	"net/url"
	"path"
	"slices"
	"strings"

	"latchkey/authcore"
	"latchkey/policy"
	"latchkey/policy/api"
	"latchkey/policy/memberfile"
)

// Many members out of a file: it is looked through, or its members are made one after the other (importrun.go).

// Bounds of an import, beyond which the command at the server is for: it has no request that ends.
const (
	maxImportFile = 5 << 20 // ten thousand rows with everything a row may have, and it is held in memory
	maxImportRows = 10_000  // each is a batch of its own, durable before the next: minutes at the worst, of the ten that a request has
	maxImports    = 2       // at once, of all domains: each holds a file
	maxFormValue  = 1 << 10
	maxTold       = 200 // rows that a page tells of: past them a reader mends and looks again
)

func (s *server) importRoutes() {
	s.signedIn("GET /domains/{domain}/members/import", (*page).importWanted)
	s.kit.Upload("POST /domains/{domain}/members/import", maxImportFile+64<<10, s.handler(identified((*page).importAsked)))
}

// importForm is the form; a file cannot be put into it again.
type importForm struct {
	Domain, Once, Format string
	MaxRows, MaxMiB      int
	Checked              *importCheck // what looking through a file found; nil: none was looked through
}

// importCheck is what an import would come to.
type importCheck struct {
	Rows, Good, There, Bad int
	Told                   []importTold
	More                   int // rows that are not told of
}

// importTold is what is said of one row.
type importTold struct {
	Line           int
	Address, Words string
}

func (p *page) importForm(domain, format string) importForm {
	return importForm{Domain: domain, Once: rand.Text(), Format: format, MaxRows: maxImportRows, MaxMiB: maxImportFile >> 20}
}

func (p *page) importWanted() error {
	d, err := p.core.Domain(p.ctx, p.actor, p.r.PathValue("domain"))
	if err != nil {
		return err
	}
	return p.show("import.html", p.importForm(d.Domain.Name, "auto"))
}

func (p *page) importAsked() error {
	d, err := p.core.Domain(p.ctx, p.actor, p.r.PathValue("domain"))
	if err != nil {
		return err // before anything of the file is read
	}
	select {
	case p.imports <- struct{}{}:
		defer func() { <-p.imports }()
	default:
		return &authcore.Denial{Reason: authcore.DenialReason(authcore.Throttled), Detail: "Other imports are going on: try again in a few minutes."}
	}
	u, err := p.upload()
	if err != nil {
		return err
	}
	api.Arrived(p.ctx)
	if p.actor, err = p.core.StillSignedIn(p.ctx, p.actor); err != nil {
		return err // the file took its time
	}
	f := p.importForm(d.Domain.Name, u.format)
	rows, err := u.rows(d.Domain.Name)
	if err != nil {
		return p.again("import.html", f, err)
	}
	if u.do == "import" {
		return p.importRun(d.Domain.Name, u.once, rows)
	}
	if f.Checked, err = p.importCheck(d.Domain.Name, rows); err != nil {
		return p.again("import.html", f, err)
	}
	return p.show("import.html", f)
}

// upload is the form with its file, as it came.
type upload struct {
	once, format, do, name string
	file                   []byte
	large                  bool
}

// upload reads the form (RFC 7578). What is too large is passed over, so that the page can say so.
func (p *page) upload() (u upload, err error) {
	broken := &authcore.Denial{Reason: authcore.Invalid, Detail: "The form did not arrive whole."}
	parts, err := p.r.MultipartReader()
	if err != nil {
		return u, broken
	}
	for {
		part, err := parts.NextPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return u, broken
		}
		if err := u.take(part); err != nil {
			return u, broken
		}
	}
	p.r.PostForm = url.Values{"once": {u.once}}
	_, err = p.once()
	return u, err
}

func (u *upload) take(part *multipart.Part) error {
	if part.FormName() == "file" {
		b, err := io.ReadAll(io.LimitReader(part, maxImportFile+1))
		u.name, u.file, u.large = part.FileName(), b, len(b) > maxImportFile
		return err
	}
	b, err := io.ReadAll(io.LimitReader(part, maxFormValue))
	switch part.FormName() {
	case "once":
		u.once = string(b)
	case "format":
		u.format = string(b)
	case "do":
		u.do = string(b)
	}
	return err
}

// importRow is a row of the file with its line, or what is wrong with the line.
type importRow struct {
	line  int
	row   memberfile.Row
	wrong error
}

func ofFile(reason string) error {
	return &authcore.Denial{Reason: authcore.Invalid, Mistakes: []policy.Mistake{{Field: "file", Reason: reason}}}
}

// rows reads the whole file.
func (u upload) rows(domain string) (rows []importRow, err error) {
	switch {
	case u.large:
		return nil, &authcore.Denial{Reason: authcore.Invalid, Mistakes: []policy.Mistake{{Field: "file", Reason: "is larger than 5 MiB: split it, or ask your operator for an import at the server"}}}
	case len(u.file) == 0:
		return nil, &authcore.Denial{Reason: authcore.Invalid, Mistakes: []policy.Mistake{{Field: "file", Reason: "choose a file that is not empty"}}}
	}
	next, err := memberfile.Rows(domain, u.kind(), bytes.NewReader(u.file))
	if err != nil {
		return nil, ofFile(err.Error())
	}
	for {
		r, line, err := next()
		switch {
		case errors.Is(err, io.EOF):
			if len(rows) == 0 {
				return nil, &authcore.Denial{Reason: authcore.Invalid, Mistakes: []policy.Mistake{{Field: "file", Reason: "has no row with a member"}}}
			}
			return rows, nil
		case err != nil && !errors.As(err, new(*memberfile.BadLine)):
			return nil, &authcore.Denial{Reason: authcore.Invalid, Mistakes: []policy.Mistake{{Field: "file", Reason: "has a line that is too long to be a member's"}}}
		case len(rows) == maxImportRows:
			return nil, &authcore.Denial{Reason: authcore.Invalid, Mistakes: []policy.Mistake{{Field: "file", Reason: "has more than 10 000 rows: split it, or ask your operator for an import at the server"}}}
		}
		rows = append(rows, importRow{line, r, err})
	}
}

// kind is the format: the one that was chosen, or what the file's ending says.
func (u upload) kind() string {
	if slices.Contains(memberfile.Formats(), u.format) {
		return u.format
	}
	switch strings.ToLower(path.Ext(u.name)) {
	case ".jsonl", ".ndjson":
		return memberfile.JSONL
	case ".passwd":
		return memberfile.Passwd
	}
	return memberfile.CSV
}

// wanted is the member that a row asks for. A pages' import makes no operator and believes no address.
func (r importRow) wanted() (authcore.NewMember, error) {
	if r.wrong != nil {
		return authcore.NewMember{}, r.wrong
	}
	n, err := r.row.Member()
	if err != nil {
		return n, &memberfile.BadLine{Err: err}
	}
	return n, nil
}

// importCheck looks at every row and makes nobody.
func (p *page) importCheck(domain string, rows []importRow) (*importCheck, error) {
	c := &importCheck{Rows: len(rows)}
	seen := memberfile.Seen{}
	for _, r := range rows {
		n, err := r.wanted()
		if err == nil {
			err = seen.Take(r.row, r.line)
		}
		if err == nil {
			err = p.core.CheckNewMember(p.ctx, p.actor, domain, n)
		}
		told := importTold{Line: r.line, Address: r.row.Address}
		switch {
		case err == nil:
			c.Good++
			continue
		case deniedFor(err, authcore.AddressTaken):
			c.There++
			told.Words = p.t("There already: left alone.")
		default:
			if told.Words = p.rowWords(err); told.Words == "" {
				return nil, err
			}
			c.Bad++
		}
		if len(c.Told) == maxTold {
			c.More++
			continue
		}
		c.Told = append(c.Told, told)
	}
	return c, nil
}

// rowWords say what is wrong with a row; nothing when it is not the row's fault.
func (p *page) rowWords(err error) string {
	var bad *memberfile.BadLine
	if errors.As(err, &bad) {
		return p.lang.told(bad.Error())
	}
	if deniedFor(err, authcore.NotSignedIn, authcore.Forbidden, authcore.NotFound, authcore.DenialReason(authcore.Throttled)) {
		return ""
	}
	f := p.mistakes(err)
	if f == nil {
		return ""
	}
	var l []string
	for _, field := range []string{"address", "aliases", "name", "role", "contacts", "password_hash", "password_set_at"} {
		if words := f.Fields[field]; words != "" {
			l = append(l, words)
		}
	}
	if len(l) == 0 {
		return f.Sentence
	}
	return strings.Join(l, " ")
}
