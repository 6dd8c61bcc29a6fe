package main

import (
	"bufio"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/member"
)

func importCommand(ctx context.Context, p program, args []string) (err error) {
	var domain, format, out string
	cfg, words, err := p.load("import", args, func(f *flag.FlagSet) {
		f.StringVar(&domain, "domain", "", "`domain` of the members")
		f.StringVar(&format, "format", "", "csv or jsonl; without it the file's ending says")
		f.StringVar(&out, "out", "", "new `file` (0600) for the temporary passwords; without it standard output")
	})
	if err != nil {
		return err
	}
	if len(words) != 1 || domain == "" {
		return misused("name the -domain and one file (- is standard input)")
	}
	if format == "" {
		format = strings.TrimPrefix(filepath.Ext(words[0]), ".")
	}
	if format != "csv" && format != "jsonl" {
		return misused("-format must be csv or jsonl")
	}
	in := p.in
	if words[0] != "-" {
		f, err := os.Open(words[0])
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	to := p.out
	if out != "" {
		if _, err := os.Lstat(out); err == nil {
			return fmt.Errorf("%s exists: passwords are never written over another file", out)
		}
		f := &lateFile{path: out}
		defer func() { err = errors.Join(err, f.close()) }()
		to = f
	}
	split := &splitter{out: to, progress: p.err}
	err = inStore(ctx, cfg, p, storeWork{"import", importWork}, []string{domain, format}, in, split)
	return errors.Join(err, split.flush())
}

// lateFile is made with its first octet, so that an import that cannot begin leaves nothing in the way of the next.
type lateFile struct {
	path string
	f    *os.File
}

func (l *lateFile) Write(p []byte) (int, error) {
	if l.f == nil {
		f, err := os.OpenFile(l.path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return 0, err
		}
		l.f = f
	}
	return l.f.Write(p)
}

// close makes sure that the passwords, which cannot be shown again, are on disk.
func (l *lateFile) close() error {
	if l.f == nil {
		return nil
	}
	return errors.Join(l.f.Sync(), l.f.Close())
}

// importWork makes the members of a file one by one. Each line of its output is a JSON object: a made member with his
// temporary password, a line that could not be imported with what to mend, or progress. A file may be imported again:
// who is there already is left alone and said so.
func importWork(ctx context.Context, w works, words []string, in io.Reader, out io.Writer) error {
	if len(words) != 2 {
		return misused("import needs a domain and a format")
	}
	next, err := rows(words[1], in)
	if err != nil {
		return err
	}
	im := importing{w: w, domain: words[0], out: json.NewEncoder(out), last: time.Now()}
	for {
		row, line, err := next()
		if errors.Is(err, io.EOF) {
			break
		}
		switch {
		case err == nil:
			err = im.take(ctx, row, line)
		case errors.As(err, new(*badLine)):
			im.failed++
			err = im.say(imported{Line: line, Failed: err.Error()})
		default:
			err = fmt.Errorf("line %d: reading on is not possible: %w", line, err)
		}
		if err != nil {
			return err
		}
	}
	if err := im.say(imported{Progress: im.progress()}); err != nil {
		return err
	}
	if im.failed > 0 {
		return fmt.Errorf("%s could not be imported", count(im.failed, "line"))
	}
	return nil
}

// imported is one line of output.
type imported struct {
	Line      int    `json:"line,omitempty"`
	Address   string `json:"address,omitempty"`
	Temporary string `json:"temporary_password,omitempty"`
	Failed    string `json:"failed,omitempty"`
	Skipped   string `json:"skipped,omitempty"`
	Progress  string `json:"progress,omitempty"`
}

type importing struct {
	w                     works
	domain                string
	out                   *json.Encoder
	made, skipped, failed int
	last                  time.Time
}

func (im *importing) say(l imported) error { return im.out.Encode(l) }

func (im *importing) progress() string {
	return fmt.Sprintf("%d made, %d there already, %d not imported", im.made, im.skipped, im.failed)
}

func (im *importing) take(ctx context.Context, r row, line int) error {
	_, temporary, err := im.w.core.CreateMember(ctx, authcore.CommandActor("import"), im.domain, r.member())
	var d *authcore.Denial
	switch {
	case err == nil:
		im.made++
		err = im.say(imported{Line: line, Address: r.Address, Temporary: temporary.Reveal()})
	case errors.As(err, &d) && d.Reason == authcore.AddressTaken:
		im.skipped++
		err = im.say(imported{Line: line, Address: r.Address, Skipped: "the address is somebody's already"})
	case errors.As(err, &d) && d.Reason == authcore.NotFound:
		return fmt.Errorf("there is no domain %s", im.domain)
	case errors.As(err, &d):
		im.failed++
		err = im.say(imported{Line: line, Address: r.Address, Failed: plain(err).Error()})
	default:
		return fmt.Errorf("line %d: %w", line, err)
	}
	if err == nil && time.Since(im.last) > time.Second {
		im.last = time.Now()
		err = im.say(imported{Progress: im.progress()})
	}
	return err
}

// row is one member of a file; JSON lines have these keys, CSV these columns, lists in CSV separated by spaces.
type row struct {
	Address  string           `json:"address"`
	Name     string           `json:"name"`
	Aliases  []string         `json:"aliases"`
	Role     member.Role      `json:"role"`
	Contacts []member.Contact `json:"contacts"`
}

func (r row) member() authcore.NewMember {
	return authcore.NewMember{Address: r.Address, Name: r.Name, Aliases: r.Aliases, Role: r.Role, Contacts: r.Contacts}
}

// badLine is a line that cannot be understood, behind which the next one can.
type badLine struct{ err error }

func (b *badLine) Error() string { return b.err.Error() }

// maxRow bounds one line of a file.
const maxRow = 64 << 10

func rows(format string, in io.Reader) (func() (row, int, error), error) {
	if format == "jsonl" {
		return jsonRows(in), nil
	}
	return csvRows(in)
}

func jsonRows(in io.Reader) func() (row, int, error) {
	s := bufio.NewScanner(in)
	s.Buffer(nil, maxRow)
	line := 0
	return func() (r row, _ int, err error) {
		for s.Scan() {
			line++
			if strings.TrimSpace(s.Text()) == "" {
				continue
			}
			d := json.NewDecoder(strings.NewReader(s.Text()))
			d.DisallowUnknownFields()
			if err := d.Decode(&r); err != nil {
				return r, line, &badLine{fmt.Errorf("not a member as JSON: %w", err)}
			}
			if d.More() {
				return r, line, &badLine{errors.New("more than one member on the line: put each on its own")}
			}
			return r, line, nil
		}
		if err := s.Err(); err != nil {
			return r, line + 1, err
		}
		return r, line, io.EOF
	}
}

// byteOrderMark is what Excel puts before the first column.
const byteOrderMark = "\ufeff"

func csvRows(in io.Reader) (func() (row, int, error), error) {
	b := bufio.NewReaderSize(in, maxRow)
	if mark, err := b.Peek(len(byteOrderMark)); err == nil && string(mark) == byteOrderMark {
		_, _ = b.Discard(len(byteOrderMark)) // it is in the buffer
	}
	c := csv.NewReader(b)
	head, err := c.Read()
	if err != nil {
		return nil, fmt.Errorf("line 1: the first line must name the columns: %w", err)
	}
	if err := knownColumns(head); err != nil {
		return nil, err
	}
	return func() (row, int, error) {
		fields, err := c.Read()
		if errors.Is(err, io.EOF) {
			return row{}, 0, io.EOF
		}
		line := lineOf(c, fields, err)
		if errors.As(err, new(*csv.ParseError)) {
			return row{}, line, &badLine{err}
		}
		if err != nil {
			return row{}, line, err
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
	known := "address, name, aliases, role, email, mobile"
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

func csvRow(head, fields []string) (r row) {
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
		default:
			r.Contacts = append(r.Contacts, member.Contact{Kind: h, Value: v})
		}
	}
	return r
}

// splitter parts the lines of an import: passwords go to the output, what went wrong and how far it is to the terminal.
type splitter struct {
	out, progress io.Writer
	rest          []byte
}

func (s *splitter) Write(p []byte) (int, error) {
	s.rest = append(s.rest, p...)
	for {
		line, rest, ok := strings.Cut(string(s.rest), "\n")
		if !ok {
			return len(p), nil
		}
		s.rest = []byte(rest)
		if err := s.line(line); err != nil {
			return 0, err
		}
	}
}

func (s *splitter) line(line string) error {
	var l imported
	if json.Unmarshal([]byte(line), &l) != nil {
		return nil
	}
	var err error
	switch {
	case l.Progress != "":
		_, err = fmt.Fprintln(s.progress, l.Progress)
	case l.Failed != "":
		_, err = fmt.Fprintf(s.progress, "line %d: %s %s\n", l.Line, l.Address, l.Failed)
	case l.Skipped != "":
		_, err = fmt.Fprintf(s.progress, "line %d: %s: %s\n", l.Line, l.Address, l.Skipped)
	default:
		_, err = fmt.Fprintf(s.out, "%s\t%s\n", l.Address, l.Temporary)
	}
	return err
}

func (s *splitter) flush() error {
	if len(s.rest) > 0 {
		return fmt.Errorf("the server broke off in the middle of a line")
	}
	return nil
}
