package api

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"strconv"
	"testing"
	"time"

	"latchkey/authcore"
)

// TestEveryReasonHasAStatus reads the closed sets out of authcore's source, so that a new word without a row is seen.
func TestEveryReasonHasAStatus(t *testing.T) {
	table := answers()
	words := constants(t, "../../authcore/denial.go", "DenialReason")
	if len(words) < 14 {
		t.Fatalf("found %d reasons only: %v", len(words), words)
	}
	for _, r := range authcore.Reasons() {
		if r != authcore.Allowed {
			words = append(words, string(r))
		}
	}
	for _, w := range words {
		a, ok := table[authcore.DenialReason(w)]
		if !ok || a.status < 400 || a.status > 599 || http.StatusText(a.status) == "" {
			t.Errorf("%s: no status (%d)", w, a.status)
		}
		if p, _ := problemFrom(&authcore.Denial{Reason: authcore.DenialReason(w)}); p.Detail == "" && authcore.Reason(w).Sentence() == authcore.BadCredentials.Sentence() && w != string(authcore.BadCredentials) {
			t.Errorf("%s: neither the table nor authcore has a sentence", w)
		}
	}
	if len(table) != len(words) {
		t.Errorf("%d rows for %d reasons", len(table), len(words))
	}
}

// constants answers the values of the string constants of a type in a file.
func constants(t *testing.T, file, kind string) (values []string) {
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(f, func(n ast.Node) bool {
		s, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if id, ok := s.Type.(*ast.Ident); ok && id.Name == kind {
			for _, v := range s.Values {
				text, err := strconv.Unquote(v.(*ast.BasicLit).Value)
				if err != nil {
					t.Fatal(err)
				}
				values = append(values, text)
			}
		}
		return true
	})
	return values
}

func TestProblemOf(t *testing.T) {
	for name, c := range map[string]struct {
		err             error
		status          int
		reason          string
		broken          bool
		header, header2 string
	}{
		"denied":      {&authcore.Denial{Reason: authcore.Forbidden}, 403, "forbidden", false, "", ""},
		"signed out":  {&authcore.Denial{Reason: authcore.NotSignedIn}, 401, "not_signed_in", false, "WWW-Authenticate", challenge},
		"throttled":   {&authcore.Denial{Reason: from(authcore.Throttled), RetryAfter: 1500 * time.Millisecond}, 429, "throttled", false, "Retry-After", "2"},
		"no time":     {&authcore.Denial{Reason: from(authcore.Throttled)}, 429, "throttled", false, "Retry-After", "1"},
		"broken":      {errors.New("disk"), 503, "unavailable", true, "Retry-After", "5"},
		"unknown one": {&authcore.Denial{Reason: "news"}, 403, "news", false, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			p, broken := problemFrom(c.err)
			if p.Status != c.status || p.Reason != c.reason || broken != c.broken || c.header != "" && p.GetHeaders().Get(c.header) != c.header2 {
				t.Errorf("%+v, broken %v, %v", p, broken, p.GetHeaders())
			}
		})
	}
}
