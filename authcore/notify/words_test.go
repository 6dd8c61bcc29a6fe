package notify

import (
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// every kind that the package names is in Kinds: nobody adds one and forgets its words.
func TestKindsAreAll(t *testing.T) {
	f, err := parser.ParseFile(token.NewFileSet(), "inbox.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	ast.Inspect(f, func(x ast.Node) bool {
		if v, ok := x.(*ast.ValueSpec); ok {
			if id, ok := v.Type.(*ast.Ident); ok && id.Name == "Kind" {
				n++
			}
		}
		return true
	})
	if got := len(Kinds()); got != n || n < 17 {
		t.Errorf("Kinds has %d, the package names %d", got, n)
	}
}

func sampleEvent(k Kind) Event {
	return Event{Kind: k, At: noon, From: "192.0.2.1", Address: "ann@example.org", Name: "phone-7", Door: "imap", Code: "482913", Lines: []string{"ann@example.org", "bob@example.org"}}
}

// What every message must say, in every language: what was done and to whom, when, from where, and what to do if it was
// somebody else.
func TestEveryKindIsWordedInEveryLanguage(t *testing.T) {
	stamps := map[string]string{"en": "4 May 2026 at 12:00 UTC+00:00", "ja": "2026年5月4日 21:00 (UTC+09:00)", "ko": "2026년 5월 4일 21:00 (UTC+09:00)"}
	mends := map[string]string{"en": "\n\nIf ", "ja": "場合は", "ko": "면 "}
	named := []Kind{AppPasswordCreated, TwoStepChanged, MethodChanged, ContactChanged, WayAllowed, LinkChanged, QuickChanged, NewClient, TokenCreated}
	for _, name := range Languages() {
		for _, k := range Kinds() {
			e := sampleEvent(k)
			m := e.Message(name)
			all := m.Subject + "\n" + m.Text
			says := func(s string) {
				if !strings.Contains(all, s) {
					t.Errorf("%s %s: says nothing of %q: %q", name, k, s, all)
				}
			}
			if m.Subject == "" || m.Text == "" || m.Kind != k || !m.Time.Equal(noon) {
				t.Errorf("%s %s: %+v", name, k, m)
			}
			if left := regexp.MustCompile(`[{}]`).FindString(all); left != "" {
				t.Errorf("%s %s: %q was not filled in: %q", name, k, left, all)
			}
			if k != CodeSent {
				says(stamps[name])
				says(e.From)
				says(mends[name])
			}
			if k != CodeSent && k != SignInCode {
				says(e.Address)
			}
			if slices.Contains(named, k) {
				says(e.Name)
			}
			if k == NewClient {
				says("IMAP")
			}
			if k == AddressesFound {
				says("bob@example.org")
			}
			if holds := strings.Contains(all, e.Code); holds != (k == CodeSent || k == SignInCode) {
				t.Errorf("%s %s: holds the code: %v", name, k, holds)
			}
			if strings.Contains(m.Subject, e.Code) {
				t.Errorf("%s %s: the code stands in the subject, which every screen shows", name, k)
			}
			if name != "en" && m.Subject == e.Message("en").Subject {
				t.Errorf("%s %s: is in English", name, k)
			}
		}
	}
}

func TestWords(t *testing.T) {
	for _, c := range []struct {
		name, language string
		e              Event
		want           string
	}{
		{"a closed word is said as people say it", "ja", Event{Kind: WayAllowed, Name: "line"}, "LINEでログイン"},
		{"on", "ko", Event{Kind: TwoStepChanged, Name: "on"}, "켜짐"},
		{"an unknown language is English", "xx", Event{Kind: TwoStepChanged, Name: "off"}, "switched off"},
		{"no address", "en", Event{Kind: PasswordChanged}, "an unknown address"},
		{"a name in braces stays a name", "en", Event{Kind: AppPasswordCreated, Name: "{code}", Code: "482913"}, `"{code}"`},
	} {
		if m := c.e.Message(c.language); !strings.Contains(m.Subject+m.Text, c.want) {
			t.Errorf("%s: %q", c.name, m.Text)
		}
	}
}

func TestSubjectIsOneLine(t *testing.T) {
	m := Event{Kind: WayAllowed, Name: "x\r\nBcc: everybody@example.org"}.Message("en")
	if strings.ContainsAny(m.Subject, "\r\n") {
		t.Errorf("%q", m.Subject)
	}
}
