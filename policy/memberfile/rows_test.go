package memberfile

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
)

// Each format tells its rows with their lines, and goes on behind a line that it cannot read.
func TestRows(t *testing.T) {
	for _, c := range []struct {
		name, format, text string
		want               []string
	}{
		{"CSV", CSV, "address,name,aliases,email\nann@a.example,Ann,x@a.example y@a.example,\nbob@a.example,Bob\n\ncy@a.example,,,cy@b.example\n",
			[]string{"2 ann@a.example Ann 2 0", "3 !", "5 cy@a.example  0 1"}},
		{"CSV with a byte order mark", CSV, "\ufeffaddress\nann@a.example\n", []string{"2 ann@a.example  0 0"}},
		{"JSON lines", JSONL, "{\"address\":\"ann@a.example\"}\n\n{\"adress\":1}\n{\"address\":\"bob@a.example\"}{}\n{\"address\":\"cy@a.example\"}\n",
			[]string{"1 ann@a.example  0 0", "3 !", "4 !", "5 cy@a.example  0 0"}},
		{"passwd-file", Passwd, "# of Dovecot\nann:{BLF-CRYPT}x::::::\nbob\ncy@a.example:{BLF-CRYPT}x:1:1:Cy,room 3::\n",
			[]string{"2 ann@a.example  0 0", "3 !", "4 cy@a.example Cy 0 0"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			next, err := Rows("a.example", c.format, strings.NewReader(c.text))
			if err != nil {
				t.Fatal(err)
			}
			if got := all(t, next); !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func all(t *testing.T, next Next) (l []string) {
	t.Helper()
	digit := func(n int) string { return string(rune('0' + n)) }
	for {
		r, line, err := next()
		switch {
		case errors.Is(err, io.EOF):
			return l
		case errors.As(err, new(*BadLine)):
			l = append(l, digit(line)+" !")
		case err != nil:
			t.Fatal(err)
		default:
			l = append(l, digit(line)+" "+r.Address+" "+r.Name+" "+digit(len(r.Aliases))+" "+digit(len(r.Contacts)))
		}
	}
}

// What is wrong with a whole file is told before its first row.
func TestFilesThatCannotBeRead(t *testing.T) {
	for name, c := range map[string]struct{ format, text, want string }{
		"empty":          {CSV, "", "must name the columns"},
		"unknown column": {CSV, "address,colour\n", `"colour" is not known`},
		"no address":     {CSV, "name\n", "address is missing"},
		"unknown format": {"xlsx", "", `"xlsx" is not known`},
	} {
		if _, err := Rows("a.example", c.format, strings.NewReader(c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	next, err := Rows("a.example", JSONL, strings.NewReader(strings.Repeat("x", maxRow+1)))
	if err != nil {
		t.Fatal(err)
	}
	if _, line, err := next(); err == nil || errors.As(err, new(*BadLine)) || line != 1 {
		t.Errorf("a line without an end: line %d, %v", line, err)
	}
}

func TestSeen(t *testing.T) {
	s := Seen{}
	if err := s.Take(Row{Address: "ann@a.example", Aliases: []string{"Sales@a.example"}}, 2); err != nil {
		t.Fatal(err)
	}
	if err := s.Take(Row{Address: "sales@a.example"}, 3); err == nil || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("got %v", err)
	}
}

func FuzzPasswdRow(f *testing.F) {
	for _, line := range []string{"ann:{BLF-CRYPT}x::::::", "# nobody", "bob@a.example:!x", "cy:*", ":x", "dan:x:1:1:Dan,room:/home:/bin/sh:nologin=y", "eve::"} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		r, err := passwdRow(line, "old.example")
		if err == nil && (!strings.Contains(r.Address, "@") || r.Hash == "" || strings.ContainsAny(r.Hash[:1], "!*")) {
			t.Errorf("%q is taken as %+v", line, r)
		}
	})
}
