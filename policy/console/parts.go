package console

import (
	"fmt"
	"html/template"
	"net/url"
	"slices"
	"strings"
)

// What templates/parts.html draws, by the functions that templates call to fill a part in.
//
//	{{template "field" (field $ "name" (t "Name of the program") .Data.Typed.Name "required" "maxlength=40" "hint" (t "…"))}}
//	{{template "tick" (field $ "delete_apps" (t "Delete all app passwords too") .Data.Typed.DeleteApps)}}
//	{{template "choices" (choices $ "line" (t "Login with LINE") .Data.LINE (choice "allow" (t "Allow")) (choice "deny" (t "Do not approve")))}}
//	{{template "select" (choices $ …)}}
//	{{template "secret" .Data.Secret}}   shown once, with a copy button
//	{{template "copied" "id"}}           a button that copies the text of the element with that id
//	{{template "paging" .Data.Paging}}   newer and older
//	{{template "wrong" (wrong $ "f")}}   in the tag of an input of one's own, which has the id f-f: aria-invalid, aria-describedby
//	{{template "mistake" (wrong $ "f")}} below it: what is wrong with it
//	{{icon "key"}}

// field is one labelled input. Its id is f-NAME; what is wrong with it is shown below it.
type field struct {
	Name, Label, Value string
	Ticked             bool
	Mistake            string
	Hint               string
	Type               string
	Autocomplete       string
	InputMode          string
	MaxLength          string
	Placeholder        string
	Rows               string // of a text area; empty: it is an input
	Required           bool
	Autofocus          bool
	ReadOnly           bool
	Rules              bool // the password rules beside it are ticked off as one types
	Choices            []offer
}

// offer is one of the values that a field may have.
type offer struct {
	Value, Label, Hint string
	Chosen             bool
}

// fieldOf makes a field of its name, its label in the reader's language, its value, and options: "required",
// "autofocus", "readonly", "rules", or one with "=", like "type=email"; "hint" has its text behind it.
func fieldOf(v *view, name, label string, value any, options ...string) (field, error) {
	f := field{Name: name, Label: label, Type: "text", Mistake: v.Mistake(name)}
	switch x := value.(type) {
	case bool:
		f.Ticked = x
	case nil:
	default:
		f.Value = fmt.Sprint(x)
	}
	for i := 0; i < len(options); i++ {
		if options[i] == "hint" && i+1 < len(options) {
			i++
			f.Hint = options[i]
			continue
		}
		if !f.take(strings.Cut(options[i], "=")) {
			return f, fmt.Errorf("field %s: there is no option %q", name, options[i])
		}
	}
	return f, nil
}

func (f *field) take(option, value string, _ bool) bool {
	switch option {
	case "required":
		f.Required = true
	case "autofocus":
		f.Autofocus = true
	case "readonly":
		f.ReadOnly = true
	case "rules":
		f.Rules = true
	case "type":
		f.Type = value
	case "autocomplete":
		f.Autocomplete = value
	case "inputmode":
		f.InputMode = value
	case "maxlength":
		f.MaxLength = value
	case "placeholder":
		f.Placeholder = value
	case "rows":
		f.Rows = value
	default:
		return false
	}
	return true
}

// DescribedBy names what a screen reader says of the field after its label.
func (f field) DescribedBy() string {
	var l []string
	if f.Mistake != "" {
		l = append(l, "m-"+f.Name)
	}
	if f.Hint != "" {
		l = append(l, "h-"+f.Name)
	}
	if f.Rules {
		l = append(l, "rules")
	}
	return strings.Join(l, " ")
}

// wrong is what is wrong with an input that a template writes itself.
func wrong(v *view, name string) field { return field{Name: name, Mistake: v.Mistake(name)} }

func choice(value any, label string, hint ...string) offer {
	return offer{Value: fmt.Sprint(value), Label: label, Hint: strings.Join(hint, " ")}
}

// choices make a field of its offers; chosen is the value of one of them.
func choices(v *view, name, label string, chosen any, offers ...offer) field {
	f := field{Name: name, Label: label, Value: fmt.Sprint(chosen), Mistake: v.Mistake(name), Choices: slices.Clone(offers)}
	for i := range f.Choices {
		f.Choices[i].Chosen = f.Choices[i].Value == f.Value
	}
	return f
}

// paging leads through a long list; an empty link is not shown.
type paging struct{ First, Next string }

// paging keeps what the list was asked for, and goes on after a mark; "" means that this is the end.
func (p *page) paging(parameter, next string) paging {
	at := func(mark string) string {
		q := p.r.URL.Query()
		q.Del(parameter)
		if mark != "" {
			q.Set(parameter, mark)
		}
		return (&url.URL{Path: p.r.URL.Path, RawQuery: q.Encode()}).String()
	}
	var l paging
	if p.r.URL.Query().Get(parameter) != "" {
		l.First = at("")
	}
	if next != "" {
		l.Next = at(next)
	}
	return l
}

// confirmation is a page that asks once more before something is done: p.confirm shows it, and its form posts to Action.
type confirmation struct {
	Title     string   // a question, in the reader's language like all that follows
	Sentences []string // what it will do
	Action    string   // the path that the form posts to
	Button    string
	Back      string     // where "Cancel" leads
	Keep      url.Values // hidden fields
}

func (p *page) confirm(c confirmation) error { return p.show("confirm.html", c) }

// icons are drawn in the colour of the text around them, on a ground of 24 by 24.
func icons() map[string]string {
	return map[string]string{
		"key":    `<circle cx="8" cy="15" r="4"/><path d="m11 12 8-8m-3 3 3 3m-6 0 2 2"/>`,
		"shield": `<path d="M12 3 5 6v5c0 4.5 2.9 8.2 7 10 4.1-1.8 7-5.5 7-10V6z"/><path d="m9 12 2 2 4-4"/>`,
		"people": `<circle cx="9" cy="8" r="3.5"/><path d="M3 20c0-3.3 2.7-6 6-6s6 2.7 6 6m1-15.5a3.5 3.5 0 0 1 0 7M17 14c2.5.6 4 3 4 6"/>`,
		"door":   `<path d="M6 21V4a1 1 0 0 1 1-1h10a1 1 0 0 1 1 1v17M3 21h18"/><path d="M14 12v1"/>`,
		"clock":  `<circle cx="12" cy="12" r="9"/><path d="M12 7v5l3 2"/>`,
		"bell":   `<path d="M6 17V11a6 6 0 0 1 12 0v6l2 2H4zM10 21h4"/>`,
		"globe":  `<circle cx="12" cy="12" r="9"/><path d="M3 12h18M12 3c3 3 3 15 0 18M12 3c-3 3-3 15 0 18"/>`,
		"phone":  `<rect x="7" y="2" width="10" height="20" rx="2"/><path d="M11 18h2"/>`,
		"mail":   `<rect x="3" y="5" width="18" height="14" rx="2"/><path d="m3 7 9 6 9-6"/>`,
		"laptop": `<rect x="4" y="5" width="16" height="11" rx="1.5"/><path d="M2 20h20"/>`,
		"menu":   `<path d="M4 6h16M4 12h16M4 18h16"/>`,
		"check":  `<path d="m5 13 4 4L19 7"/>`,
		"warn":   `<path d="M12 3 2 20h20zM12 10v4m0 3v.01"/>`,
		"person": `<circle cx="12" cy="8" r="4"/><path d="M4 21c0-4 3.6-7 8-7s8 3 8 7"/>`,
		"list":   `<path d="M8 6h12M8 12h12M8 18h12M4 6v.01M4 12v.01M4 18v.01"/>`,
		"back":   `<path d="m14 6-6 6 6 6"/>`,
		"out":    `<path d="M14 4H6a1 1 0 0 0-1 1v14a1 1 0 0 0 1 1h8M10 12h11m-4-4 4 4-4 4"/>`,
	}
}

// icon says nothing to a screen reader: words stand beside it.
func icon(name string) (template.HTML, error) {
	drawing, ok := icons()[name]
	if !ok {
		return "", fmt.Errorf("there is no icon %q", name)
	}
	return template.HTML(`<svg class="icon" viewBox="0 0 24 24" width="20" height="20" fill="none" stroke="currentColor" stroke-width="1.75" ` +
		`stroke-linecap="round" stroke-linejoin="round" aria-hidden="true" focusable="false">` + drawing + `</svg>`), nil
}
