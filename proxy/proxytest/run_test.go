package proxytest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
)

func TestDialogues(t *testing.T) { Dialogues(t, "testdata/dialogue/*.txt", newToy) }

func TestLogIns(t *testing.T) { LogIns(t, "testdata/login/*.txt", newToy) }

// A runner that lets a wrong script pass is worse than none.
func TestWrongScriptsFail(t *testing.T) {
	files, err := filepath.Glob("testdata/fails/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no scripts")
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			first, _, _ := strings.Cut(string(text), "\n")
			want, ok := strings.CutPrefix(first, "# complaint: ")
			if !ok {
				t.Fatalf("%s does not say what is wrong with it", file)
			}
			s := readScript(t, file)
			synctest.Test(t, func(t *testing.T) {
				if err := dialogue(t, s, newToy); err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want a complaint with %s", err, want)
				}
			})
		})
	}
}

func TestScriptsThatDoNotParse(t *testing.T) {
	for name, text := range map[string]string{
		"no steps":        "# only words\n",
		"unknown word":    "S: a\nSTOP\n",
		"late setting":    "S: a\nSET a b\n",
		"setting twice":   "SET a b\nSET a c\nS: a\n",
		"unknown speaker": "X: a\n",
		"no such talk":    "C~ a\n",
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := parse("file", text); err == nil {
				t.Error("parsed")
			}
		})
	}
}

func TestOctets(t *testing.T) {
	got, err := octets(`"a\x00" "bc"*3  "\r\n"`)
	if want := "a\x00bcbcbc\r\n"; err != nil || got != want {
		t.Errorf("octets: got %q, %v, want %q", got, err, want)
	}
	for _, wrong := range []string{`a`, `"a`, `"a"*x`, `"a"*-1`} {
		if got, err := octets(wrong); err == nil {
			t.Errorf("octets(%s): got %q, want an error", wrong, got)
		}
	}
}
