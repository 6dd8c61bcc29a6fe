package configs

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files of testdata/mistakes anew")

// Each file of testdata/mistakes has its mistakes beside it, every one with line, key and mend.
func TestMistakes(t *testing.T) {
	files, err := filepath.Glob("testdata/mistakes/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files: %v", err)
	}
	for _, file := range files {
		name := filepath.Base(file)
		t.Run(strings.TrimSuffix(name, ".yaml"), func(t *testing.T) {
			p, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			_, err = Parse(name, p)
			var m Mistakes
			if !errors.As(err, &m) {
				t.Fatalf("error is %v, want Mistakes", err)
			}
			compare(t, strings.TrimSuffix(file, ".yaml")+".txt", m.Error()+"\n")
		})
	}
}

func compare(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("got\n%s\nwant (%s)\n%s", got, file, want)
	}
}

// What was understood is answered beside the mistakes, so that others may look at it.
func TestMistakesLeaveTheRest(t *testing.T) {
	c, err := Parse("x.yaml", []byte("hostname: mail.example.com\nlog:\n  level: loud\nupstreams:\n  mail:\n    protocol: imap\n"))
	if err == nil || c == nil || c.Hostname != "mail.example.com" || c.Upstreams["mail"].Protocol != "imap" {
		t.Errorf("got %+v, %v", c, err)
	}
}

func TestMistakesWith(t *testing.T) {
	told := Mistakes{{Line: 3, Key: "listeners[0]"}, {Line: 1, Key: "upstreams.a"}}
	got := told.With(Mistakes{
		{Line: 4, Key: "listeners[0].address"}, {Line: 2, Key: "listeners[1]"}, {Line: 1, Key: "upstreams.a"}, {Line: 1, Key: "upstreams.ab"},
	})
	var keys []string
	for _, m := range got {
		keys = append(keys, m.Key)
	}
	if got, want := strings.Join(keys, " "), "upstreams.a upstreams.ab listeners[1] listeners[0]"; got != want {
		t.Errorf("keys %q, want %q", got, want)
	}
	if len(told) != 2 {
		t.Error("the receiver was changed")
	}
}

// A configuration that a program made, as the demo's, has no file to name.
func TestMistakeWithoutAFile(t *testing.T) {
	c := Default()
	if got, want := c.At("ops.address", "is taken").Error(), "ops.address: is taken"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
