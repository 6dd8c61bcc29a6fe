package configs

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// annotated reads latchkey.yaml with its secrets in a folder of the test.
func annotated(t *testing.T) (*Config, []string) {
	t.Helper()
	p, err := os.ReadFile("latchkey.yaml")
	if err != nil {
		t.Fatal(err)
	}
	c, err := Parse("latchkey.yaml", []byte(withSecrets(t, string(p))))
	if err != nil {
		t.Fatal(err)
	}
	return c, strings.Split(string(p), "\n")
}

var secretFile = regexp.MustCompile(`secret_file: (\S+)`)

// withSecrets puts a file of the test in the place of each secret_file.
func withSecrets(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "secret")
	write(t, file, "hush-hush\n", 0o600)
	return secretFile.ReplaceAllString(text, "secret_file: "+file)
}

// keys lists every key of a type by its path, with [] for any item and * for any name.
func keys(t reflect.Type, path string) []string {
	switch {
	case isWord(t):
		return []string{path}
	case t.Kind() == reflect.Slice:
		if isWord(t.Elem()) {
			return []string{path}
		}
		return append([]string{path}, keys(t.Elem(), path+"[]")...)
	case t.Kind() == reflect.Map:
		return append([]string{path}, keys(t.Elem(), path+".*")...)
	}
	var l []string
	if path != "" && !strings.HasSuffix(path, "[]") && !strings.HasSuffix(path, "*") {
		l = append(l, path)
	}
	for name, i := range keysOf(t) {
		l = append(l, keys(t.Field(i).Type, join(path, name))...)
	}
	return l
}

var (
	itemOf = regexp.MustCompile(`\[\d+\]`)
	nameIn = regexp.MustCompile(`^(upstreams|notify\.webhooks|notify\.sms\.headers)\.[^.]+`)
)

// generic turns the path of a key in a file into that of the type.
func generic(path string) string {
	return nameIn.ReplaceAllString(itemOf.ReplaceAllString(path, "[]"), "$1.*")
}

// No key is missing in the annotated file, and it invents none: strict reading refuses those.
func TestEveryKeyIsAnnotated(t *testing.T) {
	c, lines := annotated(t)
	shown, explained := map[string]bool{}, map[string]bool{}
	for path, line := range c.lines {
		key := generic(path)
		shown[key] = true
		if strings.HasPrefix(strings.TrimSpace(lines[line-2]), "#") {
			explained[key] = true
		}
	}
	for _, key := range keys(reflect.TypeFor[Config](), "") {
		switch {
		case !shown[key]:
			t.Errorf("%s does not stand in latchkey.yaml", key)
		case !explained[key] && key != "upstreams.*.tls.key_file": // explained with cert_file
			t.Errorf("%s stands in latchkey.yaml without a comment above", key)
		}
	}
}

// The defaults that the comments name are those of the code.
func TestAnnotatedDefaults(t *testing.T) {
	c, lines := annotated(t)
	for key, want := range defaults(reflect.ValueOf(Default()), "") {
		line, ok := c.lines[key]
		if !ok {
			t.Errorf("%s does not stand in latchkey.yaml", key)
			continue
		}
		if comment := above(lines, line); !strings.HasSuffix(comment, "Default: "+want) {
			t.Errorf("%s: the comment ends %q, want Default: %s", key, comment[max(0, len(comment)-40):], want)
		}
	}
}

// defaults lists the values of single words that Default sets or that are zero by default, outside lists and maps.
func defaults(v reflect.Value, path string) map[string]string {
	l := map[string]string{}
	for name, i := range keysOf(v.Type()) {
		f, key := v.Field(i), join(path, name)
		switch {
		case isWord(f.Type()):
			if text := written(f); text != "" {
				l[key] = text
			}
		case f.Kind() == reflect.Struct:
			maps.Copy(l, defaults(f, key))
		}
	}
	return l
}

func written(v reflect.Value) string {
	switch x := v.Interface().(type) {
	case time.Duration:
		s := x.String() // 32m0s
		if strings.HasSuffix(s, "m0s") {
			s = strings.TrimSuffix(s, "0s")
		}
		return s
	case time.Time:
		return x.Format(time.RFC3339)
	default:
		return fmt.Sprint(x)
	}
}

// above is the comment in the lines right above a key, as one text.
func above(lines []string, line int) string {
	var words []string
	for i := line - 2; i >= 0 && strings.HasPrefix(strings.TrimSpace(lines[i]), "#"); i-- {
		words = append(words, strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(lines[i]), "#")))
	}
	slices.Reverse(words)
	return strings.Join(words, " ")
}

// What pages of the documentation show as a configuration is one.
func TestDocumentedConfigurations(t *testing.T) {
	pages, err := filepath.Glob("../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, page := range append(pages, "../README.md") {
		p, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, block := range blocks(string(p)) {
			found++
			if _, err := Parse(page, []byte(withSecrets(t, whole(block)))); err != nil {
				t.Errorf("%s shows a configuration with mistakes: %v\n%s", page, err, block)
			}
		}
	}
	if found == 0 {
		t.Error("no page shows a configuration")
	}
}

// blocks are the texts between ```yaml and ``` in a page.
func blocks(page string) (l []string) {
	for _, part := range strings.Split(page, "```yaml\n")[1:] {
		block, _, _ := strings.Cut(part, "```")
		l = append(l, block)
	}
	return l
}

// whole adds to an excerpt the keys that every file needs.
func whole(block string) string {
	for key, text := range map[string]string{
		"hostname":     "hostname: mail.example.com\n",
		"certificates": "certificates: [{cert_file: /c.pem, key_file: /k.pem}]\n",
		"listeners":    "listeners: [{name: api, protocol: api, address: \":8443\"}]\n",
	} {
		if !strings.HasPrefix(block, key+":") && !strings.Contains(block, "\n"+key+":") {
			block += text
		}
	}
	return block
}
