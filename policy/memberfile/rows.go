// Package memberfile reads the members that a file holds: CSV, JSON lines, or a passwd-file of Dovecot, row by row with its
// line. It refuses columns and keys that it does not know; what cannot be understood of one row is told with its line, and
// the next is read. It makes nobody: the command and the pages that import do.
package memberfile

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"latchkey/authcore"
	"latchkey/authcore/member"
	"latchkey/authcore/secret"
)

// The formats of files.
const (
	CSV    = "csv"
	JSONL  = "jsonl"
	Passwd = "passwd" // of Dovecot
)

// Formats lists them.
func Formats() []string { return []string{CSV, JSONL, Passwd} }

// Row is one member of a file; JSON lines have these keys, CSV these columns, lists in CSV separated by spaces.
type Row struct {
	Address  string           `json:"address"`
	Name     string           `json:"name"`
	Aliases  []string         `json:"aliases"`
	Role     member.Role      `json:"role"`
	Contacts []member.Contact `json:"contacts"`
	Hash     string           `json:"password_hash"`   // the member keeps the password that it is of; empty: a temporary one is made
	SetAt    string           `json:"password_set_at"` // when he set it, RFC 3339 or a day, which is that of UTC; empty: now
}

// Member is what the row asks for.
func (r Row) Member() (authcore.NewMember, error) {
	n := authcore.NewMember{Address: r.Address, Name: r.Name, Aliases: r.Aliases, Role: r.Role, Contacts: r.Contacts, PasswordHash: secret.New(r.Hash)}
	if r.SetAt == "" {
		return n, nil
	}
	if r.Hash == "" {
		return n, errors.New("password_set_at goes with password_hash only")
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if at, err := time.Parse(layout, r.SetAt); err == nil {
			n.PasswordSetAt = at
			return n, nil
		}
	}
	return n, errors.New("password_set_at must be like 2026-05-04T09:00:00Z or 2026-05-04")
}

// BadLine is a line that cannot be understood, behind which the next one can.
type BadLine struct{ Err error }

func (b *BadLine) Error() string { return b.Err.Error() }

// maxRow bounds one line of a file.
const maxRow = 64 << 10

// Next answers the next row and its line: a *BadLine behind which the next can be read, io.EOF behind the last row, or what
// keeps the file from being read on.
type Next func() (Row, int, error)

// Rows begins to read a file of the format; a bare name in a passwd-file is of domain.
func Rows(domain, format string, in io.Reader) (Next, error) {
	switch format {
	case JSONL:
		return lineRows(in, jsonRow), nil
	case Passwd:
		return lineRows(in, func(line string) (Row, error) { return passwdRow(line, domain) }), nil
	case CSV:
		return csvRows(in)
	}
	return nil, fmt.Errorf("format %q is not known", format)
}

// errNobody: the line is about nobody, like an empty one.
var errNobody = errors.New("nobody")

// errNotUTF8: names would be kept as something else than what they are, which nobody sees in time.
var errNotUTF8 = errors.New("is not in UTF-8: save the file anew in that encoding")

// lineRows reads a file of which each line is a member.
func lineRows(in io.Reader, parse func(line string) (Row, error)) Next {
	s := bufio.NewScanner(in)
	s.Buffer(nil, maxRow)
	line := 0
	return func() (Row, int, error) {
		for s.Scan() {
			line++
			if strings.TrimSpace(s.Text()) == "" {
				continue
			}
			if !utf8.Valid(s.Bytes()) {
				return Row{}, line, &BadLine{errNotUTF8}
			}
			r, err := parse(s.Text())
			switch {
			case errors.Is(err, errNobody):
				continue
			case err != nil:
				return Row{Address: r.Address}, line, &BadLine{err}
			}
			return r, line, nil
		}
		if err := s.Err(); err != nil {
			return Row{}, line + 1, err
		}
		return Row{}, line, io.EOF
	}
}

func jsonRow(line string) (r Row, err error) {
	d := json.NewDecoder(strings.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		return r, fmt.Errorf("not a member as JSON: %w", err)
	}
	if d.More() {
		return r, errors.New("more than one member on the line: put each on its own")
	}
	return r, nil
}

// byteOrderMark is what Excel puts before the first column.
const byteOrderMark = "\ufeff"

func csvRows(in io.Reader) (Next, error) {
	b := bufio.NewReaderSize(in, maxRow)
	if mark, err := b.Peek(len(byteOrderMark)); err == nil && string(mark) == byteOrderMark {
		_, _ = b.Discard(len(byteOrderMark)) // it is in the buffer
	}
	c := csv.NewReader(b)
	head, err := c.Read()
	if err != nil {
		return nil, fmt.Errorf("line 1: the first line must name the columns: %w", err)
	}
	if !utf8.ValidString(strings.Join(head, "")) {
		return nil, errNotUTF8
	}
	if err := knownColumns(head); err != nil {
		return nil, err
	}
	return func() (Row, int, error) {
		fields, err := c.Read()
		if errors.Is(err, io.EOF) {
			return Row{}, 0, io.EOF
		}
		line := lineOf(c, fields, err)
		if errors.As(err, new(*csv.ParseError)) {
			return Row{}, line, &BadLine{err}
		}
		if err != nil {
			return Row{}, line, err
		}
		if !utf8.ValidString(strings.Join(fields, "")) {
			return Row{}, line, &BadLine{errNotUTF8}
		}
		return csvRow(head, fields), line, nil
	}, nil
}

// lineOf is the line of a record, or of what is wrong with it.
func lineOf(c *csv.Reader, fields []string, err error) int {
	var pe *csv.ParseError
	if errors.As(err, &pe) {
		return pe.Line
	}
	if len(fields) == 0 {
		return 0
	}
	line, _ := c.FieldPos(0)
	return line
}

func knownColumns(head []string) error {
	known := "address, name, aliases, role, email, mobile, password_hash, password_set_at"
	address := false
	for _, h := range head {
		address = address || h == "address"
		if !strings.Contains(", "+known+",", ", "+h+",") {
			return fmt.Errorf("line 1: column %q is not known: use %s", h, known)
		}
	}
	if !address {
		return errors.New("line 1: the column address is missing")
	}
	return nil
}

func csvRow(head, fields []string) (r Row) {
	for i, h := range head {
		v := strings.TrimSpace(fields[i])
		switch {
		case v == "":
		case h == "address":
			r.Address = v
		case h == "name":
			r.Name = v
		case h == "aliases":
			r.Aliases = strings.Fields(v)
		case h == "role":
			r.Role = member.Role(v)
		case h == "password_hash":
			r.Hash = v
		case h == "password_set_at":
			r.SetAt = v
		default:
			r.Contacts = append(r.Contacts, member.Contact{Kind: h, Value: v})
		}
	}
	return r
}

// Seen remembers the addresses of the rows so far, by their lines: for a check that makes nobody.
type Seen map[string]int

// Take refuses a row with an address that a row before it has.
func (s Seen) Take(r Row, line int) error {
	for _, a := range append([]string{r.Address}, r.Aliases...) {
		a = strings.ToLower(a)
		if before := s[a]; before > 0 {
			return &BadLine{fmt.Errorf("%s: line %d has this address already", a, before)}
		}
		s[a] = line
	}
	return nil
}
