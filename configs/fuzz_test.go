package configs

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Whatever is read, there is a configuration or a list of mistakes that each say where and what.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/mistakes/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range append(files, "latchkey.yaml") {
		p, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(p)
	}
	f.Add([]byte(least))
	f.Fuzz(func(t *testing.T, p []byte) {
		if strings.Contains(string(p), "secret_file") {
			return // the fuzzer shall not read files
		}
		c, err := Parse("f.yaml", p)
		if err == nil {
			if len(c.Listeners) == 0 || c.Hostname == "" || len(c.Certificates) == 0 {
				t.Errorf("accepted without listeners, name or certificates: %+v", c)
			}
			return
		}
		var m Mistakes
		if !errors.As(err, &m) || len(m) == 0 {
			t.Fatalf("error %v, want Mistakes", err)
		}
		for _, x := range m {
			if x.File == "" || x.Text == "" || x.Line < 0 {
				t.Errorf("a mistake without file or text: %+v", x)
			}
		}
	})
}
