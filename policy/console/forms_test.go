package console

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/net/html"
)

// filling is a form that is being filled in: its fields by name, as a browser would send them.
type filling struct {
	page   *shown
	form   *html.Node
	values url.Values
}

// follow goes where the link with these words leads.
func (p *shown) follow(text string) *shown {
	p.b.s.t.Helper()
	for n := range p.doc.Descendants() {
		if n.Data == "a" && (words(n) == text || attr(n, "aria-label") == text) {
			to, err := p.at.Parse(attr(n, "href"))
			if err != nil {
				p.b.s.t.Fatal(err)
			}
			return p.b.get(to.String())
		}
	}
	p.b.s.t.Fatalf("%s has no link %q:\n%s", p.at, text, p.text())
	return nil
}

// press presses the button with these words; with several of them, the first.
func (p *shown) press(button string) *shown {
	p.b.s.t.Helper()
	return p.having(button).press(button)
}

// having is the form that has that button, with what stands in its fields.
func (p *shown) having(button string) *filling {
	p.b.s.t.Helper()
	return p.within("", button)
}

// within is the form with that button whose row, list item or section shows the words besides.
func (p *shown) within(besides, button string) *filling {
	p.b.s.t.Helper()
	for n := range p.doc.Descendants() {
		if n.Data != "form" || !slices.ContainsFunc(buttons(p.doc, n), func(b *html.Node) bool { return label(b) == button }) {
			continue
		}
		around := n
		for around.Parent != nil && !slices.Contains([]string{"tr", "li", "section", "main", "body"}, around.Data) {
			around = around.Parent
		}
		if strings.Contains(words(around), besides) {
			return &filling{page: p, form: n, values: fields(p.doc, n)}
		}
	}
	p.b.s.t.Fatalf("%s has no form with the button %q by %q:\n%s", p.at, button, besides, p.text())
	return nil
}

// fill puts text into the field with that label.
func (f *filling) fill(text, value string) *filling {
	f.page.b.s.t.Helper()
	f.values.Set(attr(f.field(text), "name"), value)
	return f
}

// choose takes the option with these words, of a radio button or a list; tick and untick a check box.
func (f *filling) choose(text string) *filling {
	f.page.b.s.t.Helper()
	for n := range f.form.Descendants() {
		if n.Data == "option" && words(n) == text {
			at := n.Parent
			for at.Data != "select" {
				at = at.Parent
			}
			f.values.Set(attr(at, "name"), value(n))
			return f
		}
	}
	n := f.field(text)
	f.values.Set(attr(n, "name"), value(n))
	return f
}

func (f *filling) tick(text string) *filling {
	f.page.b.s.t.Helper()
	n := f.field(text)
	f.values.Add(attr(n, "name"), value(n))
	return f
}

func (f *filling) untick(text string) *filling {
	f.page.b.s.t.Helper()
	n := f.field(text)
	name, v := attr(n, "name"), value(n)
	f.values[name] = slices.DeleteFunc(f.values[name], func(s string) bool { return s == v })
	return f
}

// press sends the form by that button.
func (f *filling) press(button string) *shown {
	t := f.page.b.s.t
	t.Helper()
	for _, b := range buttons(f.page.doc, f.form) {
		if label(b) != button {
			continue
		}
		if name := attr(b, "name"); name != "" {
			f.values.Set(name, attr(b, "value"))
		}
		action := attr(f.form, "action")
		if a := attr(b, "formaction"); a != "" {
			action = a
		}
		to, err := f.page.at.Parse(action)
		if err != nil {
			t.Fatal(err)
		}
		if strings.EqualFold(attr(f.form, "method"), "post") {
			return f.page.b.send(http.MethodPost, to.String(), f.values)
		}
		to.RawQuery = f.values.Encode()
		return f.page.b.get(to.String())
	}
	t.Fatalf("the form has no button %q", button)
	return nil
}

// field finds one by its label, which is around it or names its id.
func (f *filling) field(text string) *html.Node {
	t := f.page.b.s.t
	t.Helper()
	for n := range f.page.doc.Descendants() {
		if n.Data != "label" || words(n) != text && named(n) != text {
			continue
		}
		for c := range f.page.doc.Descendants() {
			if !isField(c) || !belongs(c, f.form) {
				continue
			}
			if id := attr(n, "for"); id != "" && attr(c, "id") == id || within(c, n) {
				return c
			}
		}
	}
	t.Fatalf("%s: the form has no field %q:\n%s", f.page.at, text, words(f.form))
	return nil
}

// named are the words of a label without the hint in it.
func named(label *html.Node) string {
	for n := range label.Descendants() {
		if attr(n, "class") == "hint" {
			return strings.TrimSpace(strings.TrimSuffix(words(label), words(n)))
		}
	}
	return words(label)
}

// fields are what a browser would send of a form that nobody touched (HTML section 4.10.21.4).
func fields(doc, form *html.Node) url.Values {
	v := url.Values{}
	for n := range doc.Descendants() {
		if !isField(n) || !belongs(n, form) || attr(n, "name") == "" {
			continue
		}
		switch kind := attr(n, "type"); {
		case n.Data == "textarea":
			v.Add(attr(n, "name"), words(n))
		case n.Data == "select":
			v.Add(attr(n, "name"), selected(n))
		case (kind == "checkbox" || kind == "radio") && !has(n, "checked"):
		default:
			v.Add(attr(n, "name"), value(n))
		}
	}
	return v
}

func selected(n *html.Node) string {
	var first *html.Node
	for o := range n.Descendants() {
		if o.Data != "option" {
			continue
		}
		if has(o, "selected") {
			return value(o)
		}
		if first == nil {
			first = o
		}
	}
	if first == nil {
		return ""
	}
	return value(first)
}

func buttons(doc, form *html.Node) (l []*html.Node) {
	for n := range doc.Descendants() {
		if n.Data == "button" && attr(n, "type") != "button" && belongs(n, form) {
			l = append(l, n)
		}
	}
	return l
}

// label is what a screen reader says of a button.
func label(n *html.Node) string {
	if s := attr(n, "aria-label"); s != "" {
		return s
	}
	return words(n)
}

// belongs says whether a control is the form's: inside it, or by its form attribute.
func belongs(n, form *html.Node) bool {
	if id := attr(n, "form"); id != "" {
		return id == attr(form, "id")
	}
	return within(n, form)
}

func within(n, outer *html.Node) bool {
	for ; n != nil; n = n.Parent {
		if n == outer {
			return true
		}
	}
	return false
}

func isField(n *html.Node) bool {
	return n.Data == "input" || n.Data == "select" || n.Data == "textarea"
}

func value(n *html.Node) string {
	if has(n, "value") {
		return attr(n, "value")
	}
	if n.Data == "option" {
		return words(n)
	}
	if k := attr(n, "type"); k == "checkbox" || k == "radio" {
		return "on"
	}
	return ""
}

func attr(n *html.Node, key string) string {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}

func has(n *html.Node, key string) bool {
	return slices.ContainsFunc(n.Attr, func(a html.Attribute) bool { return a.Key == key })
}
