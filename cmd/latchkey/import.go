package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/secret"
	"latchkey/policy/memberfile"
)

func importCommand(ctx context.Context, p program, args []string) (err error) {
	var domain, format, out string
	var dry bool
	cfg, words, err := p.load("import", args, func(f *flag.FlagSet) {
		f.StringVar(&domain, "domain", "", "`domain` of the members")
		f.StringVar(&format, "format", "", "csv, jsonl, or passwd for a passwd-file of Dovecot; without it the file's ending says")
		f.BoolVar(&dry, "dry-run", false, "say what would be made, and make nobody")
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
	if !slices.Contains(memberfile.Formats(), format) {
		return misused("-format must be csv, jsonl or passwd")
	}
	say := []string{domain, format}
	if dry {
		say = append(say, dryRun)
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
	err = inStore(ctx, cfg, p, storeWork{"import", importWork}, say, in, split)
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

// dryRun is the word that makes an import check alone.
const dryRun = "dry-run"

// importWork makes the members of a file one by one. Each line of its output is a JSON object: a made member with his
// temporary password, a line that could not be imported with what to mend, or progress. Who brings the hash of a password
// keeps it, and is only counted. A file may be imported again: who is there already is left alone and said so.
func importWork(ctx context.Context, w works, words []string, in io.Reader, out io.Writer) error {
	dry := len(words) == 3 && words[2] == dryRun
	if len(words) != 2 && !dry {
		return misused("import needs a domain and a format")
	}
	next, err := memberfile.Rows(words[0], words[1], in)
	if err != nil {
		return err
	}
	im := importing{w: w, domain: words[0], out: json.NewEncoder(out), last: time.Now()}
	if dry {
		im.seen = memberfile.Seen{}
	}
	for {
		row, line, err := next()
		if errors.Is(err, io.EOF) {
			break
		}
		switch {
		case err == nil:
			err = im.take(ctx, row, line)
		case errors.As(err, new(*memberfile.BadLine)):
			im.failed++
			err = im.say(imported{Line: line, Address: row.Address, Failed: err.Error()})
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
	seen                  memberfile.Seen // of a dry run: the lines of the addresses so far; nil: members are made
}

func (im *importing) say(l imported) error { return im.out.Encode(l) }

func (im *importing) progress() string {
	made := "made"
	if im.seen != nil {
		made = "would be made"
	}
	return fmt.Sprintf("%d %s, %d there already, %d not imported", im.made, made, im.skipped, im.failed)
}

func (im *importing) take(ctx context.Context, r memberfile.Row, line int) error {
	temporary, err := im.make(ctx, r, line)
	var d *authcore.Denial
	switch {
	case err == nil:
		im.made++
		if !temporary.Empty() {
			err = im.say(imported{Line: line, Address: r.Address, Temporary: temporary.Reveal()})
		}
	case errors.As(err, &d) && d.Reason == authcore.AddressTaken:
		im.skipped++
		err = im.say(imported{Line: line, Address: r.Address, Skipped: "the address is somebody's already"})
	case errors.As(err, &d) && d.Reason == authcore.NotFound:
		return fmt.Errorf("there is no domain %s", im.domain)
	case errors.As(err, &d), errors.As(err, new(*memberfile.BadLine)):
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

// make makes one member, or checks alone in a dry run, which sees what the lines before would have taken.
func (im *importing) make(ctx context.Context, r memberfile.Row, line int) (secret.String, error) {
	n, err := r.Member()
	if err != nil {
		return secret.String{}, &memberfile.BadLine{Err: err}
	}
	if im.seen == nil {
		_, temporary, err := im.w.core.CreateMember(ctx, authcore.CommandActor("import"), im.domain, n)
		return temporary, err
	}
	if err := im.seen.Take(r, line); err != nil {
		return secret.String{}, err
	}
	return secret.String{}, im.w.core.CheckNewMember(ctx, authcore.CommandActor("import"), im.domain, n)
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
