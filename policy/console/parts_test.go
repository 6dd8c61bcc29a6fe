package console

import (
	"bytes"
	"html/template"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"
)

// drawn is what a template makes of a view.
func drawn(t *testing.T, text string, v *view) string {
	t.Helper()
	l := shared().languages["en"]
	tmpl := template.Must(template.New("").Funcs(l.functions(shared().assets)).ParseFS(files, "templates/parts.html"))
	template.Must(tmpl.New("drawn").Parse(text))
	var b bytes.Buffer
	if err := tmpl.ExecuteTemplate(&b, "drawn", v); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// A person who cannot see the page hears of a field what others read beside it.
func TestAFieldSaysWhatIsWrongWithIt(t *testing.T) {
	t.Parallel()
	bad := &view{Failed: &failure{Fields: map[string]string{"name": "It is too <long>."}}}
	for _, tc := range []struct {
		name, text  string
		has, hasNot []string
	}{
		{"input", `{{template "field" (field . "name" "Name" "x\"y" "required" "maxlength=40" "hint" "So that you know it.")}}`,
			[]string{`<label for="f-name">Name</label>`, `value="x&#34;y"`, ` required`, ` maxlength="40"`, ` aria-invalid="true"`, ` aria-describedby="m-name h-name"`,
				`<p class="mistake" id="m-name">It is too &lt;long&gt;.</p>`, `<p class="hint" id="h-name">So that you know it.</p>`}, nil},
		{"right one", `{{template "field" (field . "other" "Other" nil)}}`, []string{`value=""`}, []string{"aria-", "mistake", "required"}},
		{"password", `{{template "field" (field . "new_password" "New password" "" "type=password" "rules")}}`, []string{`type="password"`, `data-rules-of="rules"`, `aria-describedby="rules"`}, nil},
		{"text area", `{{template "field" (field . "name" "Names" "a\nb" "rows=4")}}`, []string{"<textarea", ">a\nb</textarea>", `aria-invalid="true"`}, []string{"<input"}},
		{"check box", `{{template "tick" (field . "name" "Yes" true)}}`, []string{" checked", `aria-invalid="true"`, "<span>Yes</span>"}, nil},
		{"radio buttons", `{{template "choices" (choices . "name" "LINE" "deny" (choice "allow" "Allow") (choice "deny" "Do not approve" "Nobody can."))}}`,
			[]string{"<legend>LINE</legend>", `value="deny" checked`, "Nobody can.", `aria-describedby="m-name"`}, []string{`value="allow" checked`}},
		{"list", `{{template "select" (choices . "days" "Days" 30 (choice 0 "Never") (choice 30 "30 days"))}}`, []string{`<option value="30" selected>30 days</option>`, `<option value="0">Never`}, nil},
		{"input of one's own", `<input id="f-name"{{template "wrong" (wrong . "name")}}>`, []string{` aria-invalid="true" aria-describedby="m-name"`}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got := drawn(t, tc.text, bad)
			for _, want := range tc.has {
				if !strings.Contains(got, want) {
					t.Errorf("lacks %s:\n%s", want, got)
				}
			}
			for _, not := range tc.hasNot {
				if strings.Contains(got, not) {
					t.Errorf("has %s:\n%s", not, got)
				}
			}
		})
	}
}

func TestAFieldRefusesWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	if _, err := fieldOf(&view{}, "name", "Name", "", "onfocus=x"); err == nil {
		t.Error("an unknown option was taken")
	}
	if _, err := icon("nothing"); err == nil {
		t.Error("an unknown icon was drawn")
	}
}

// Each icon is a drawing that a browser reads as one.
func TestIconsAreWellFormed(t *testing.T) {
	t.Parallel()
	for name := range icons() {
		h, err := icon(name)
		if err != nil {
			t.Fatal(err)
		}
		z := html.NewTokenizer(strings.NewReader(string(h)))
		open := 0
		for k := z.Next(); k != html.ErrorToken; k = z.Next() {
			switch k {
			case html.StartTagToken:
				open++
			case html.EndTagToken:
				open--
			}
		}
		if open != 0 {
			t.Errorf("icon %s leaves %d tags open", name, open)
		}
	}
}

// A time says which instant it is, so that a script can show it where its reader is.
func TestTimesAreMarked(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 22, 18, 30, 0, 0, time.FixedZone("KST", 9*3600))
	for text, want := range map[string]string{
		`{{time .Data}}`: `<time datetime="2026-11-22T09:30:00Z">2026-11-22 09:30 UTC</time>`,
		`{{date .Data}}`: `<time datetime="2026-11-22T09:30:00Z">2026-11-22</time>`,
	} {
		if got := drawn(t, text, &view{Data: at}); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
	if got := drawn(t, `{{time .Data}}`, &view{Data: time.Time{}}); got != "–" {
		t.Errorf("no time: %q", got)
	}
}
