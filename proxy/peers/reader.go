package peers

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/dom"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// Here a person reads and uses the page, as a screen reader tells it: by roles and names out of the accessibility tree,
// and by the mouse and keyboard. So what has no name cannot be used, and script may be off.

// readFor bounds how long something may take to come to the page.
const readFor = 15 * time.Second

// An element is one thing of the page that a screen reader names.
type element struct {
	role, name, value string
	node              cdp.BackendNodeID
	properties        map[string]string
}

// elements reads the page, once it is at rest.
func (b *Browser) elements(t testing.TB) (l []element) {
	t.Helper()
	for _, n := range b.nodes(t) {
		if n.Ignored {
			continue
		}
		e := element{role: said(n.Role), name: strings.Join(strings.Fields(said(n.Name)), " "), value: said(n.Value), node: n.BackendDOMNodeID, properties: map[string]string{}}
		for _, p := range n.Properties {
			e.properties[string(p.Name)] = said(p.Value)
		}
		l = append(l, e)
	}
	return l
}

func (b *Browser) nodes(t testing.TB) []*accessibility.Node {
	t.Helper()
	for {
		before := b.settle(t)
		r, err := chromedp.Call(b.ctx, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{})
		if b.settle(t) != before {
			continue // it was left meanwhile
		}
		if err != nil {
			t.Fatalf("chromium: read the page: %v", err)
		}
		return r.Nodes
	}
}

func said(v *accessibility.Value) string {
	if v == nil || len(v.Value) == 0 {
		return ""
	}
	var x any
	if json.Unmarshal(v.Value, &x) != nil {
		return ""
	}
	return fmt.Sprint(x)
}

// until reads the page again and again until found is content with it, and fails with what stands there in the end.
func (b *Browser) until(t testing.TB, what string, found func([]element) bool) {
	t.Helper()
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	end := time.After(readFor)
	for {
		l := b.elements(t)
		if found(l) {
			return
		}
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("chromium: %s shows no %s:\n%s", b.At(t), what, outline(l))
		}
	}
}

// outline is what a person would read, for a test that failed.
func outline(l []element) string {
	var s strings.Builder
	for _, e := range l {
		if e.name != "" && e.role != "InlineTextBox" && e.role != "StaticText" || e.role == "StaticText" && !slices.ContainsFunc(l, func(o element) bool {
			return o.role != "StaticText" && o.role != "InlineTextBox" && o.name == e.name
		}) {
			fmt.Fprintf(&s, "  %s %q %s\n", e.role, e.name, e.value)
		}
	}
	return s.String()
}

// roles are what people call them by.
var roles = map[string][]string{
	"button": {"button", "DisclosureTriangle", "DisclosureTriangleGrouped"},
	"link":   {"link"},
	"field":  {"textbox", "searchbox", "combobox", "spinbutton", "Date", "DateTime", "InputTime"},
	"choice": {"radio", "checkbox", "switch", "option", "MenuListOption"},
}

// find waits for the first of that kind with that name.
func (b *Browser) find(t testing.TB, kind, name string) (e element) {
	t.Helper()
	b.until(t, kind+" "+name, func(l []element) bool {
		for _, e = range l {
			if slices.Contains(roles[kind], e.role) && called(kind, e.name, name) && e.properties["disabled"] != "true" {
				return true
			}
		}
		return false
	})
	return e
}

// called says that somebody means an element by these words: a choice may have its explanation behind them.
func called(kind, name, words string) bool {
	return name == words || kind == "choice" && strings.HasPrefix(name, words+" ")
}

// Press presses a button, Follow follows a link, Choose takes a radio button or ticks a box: by its words.
func (b *Browser) Press(t testing.TB, name string)  { t.Helper(); b.click(t, b.find(t, "button", name)) }
func (b *Browser) Follow(t testing.TB, name string) { t.Helper(); b.click(t, b.find(t, "link", name)) }
func (b *Browser) Choose(t testing.TB, name string) {
	t.Helper()
	b.click(t, b.find(t, "choice", name))
}

// Unfold presses the button whose words begin so: of a row that says its state too.
func (b *Browser) Unfold(t testing.TB, begins string) {
	t.Helper()
	var found element
	b.until(t, "button that begins with "+begins, func(l []element) bool {
		for _, found = range l {
			if slices.Contains(roles["button"], found.role) && strings.HasPrefix(found.name, begins) {
				return true
			}
		}
		return false
	})
	b.click(t, found)
}

// PressBy presses the button with that name behind some words of the page: of the row that they stand in.
func (b *Browser) PressBy(t testing.TB, words, name string) {
	t.Helper()
	var found element
	b.until(t, fmt.Sprintf("button %q behind %q", name, words), func(l []element) bool {
		behind := false
		for _, found = range l {
			behind = behind || strings.Contains(found.name, words)
			if behind && (slices.Contains(roles["button"], found.role) || found.role == "link") && found.name == name {
				return true
			}
		}
		return false
	})
	b.click(t, found)
}

// click moves the mouse there.
func (b *Browser) click(t testing.TB, e element) {
	t.Helper()
	command(t, b, dom.ScrollIntoViewIfNeeded, dom.ScrollIntoViewIfNeededParams{BackendNodeID: e.node})
	q := command(t, b, dom.GetContentQuads, dom.GetContentQuadsParams{BackendNodeID: e.node}).Quads
	if len(q) == 0 {
		t.Fatalf("chromium: %s %q cannot be seen", e.role, e.name)
	}
	x, y := (q[0][0]+q[0][4])/2, (q[0][1]+q[0][5])/2
	if err := chromedp.Do(b.ctx, chromedp.MouseClickXY(x, y)); err != nil {
		t.Fatalf("chromium: click %s %q: %v", e.role, e.name, err)
	}
	b.did(t)
}

// Fill types into a field that has that label, in the place of what stands there.
func (b *Browser) Fill(t testing.TB, label, text string) {
	t.Helper()
	e := b.find(t, "field", label)
	command(t, b, dom.Focus, dom.FocusParams{BackendNodeID: e.node})
	command(t, b, input.DispatchKeyEvent, input.DispatchKeyEventParams{Type: input.DispatchKeyEventTypeKeyDown, Commands: []string{"selectAll"}})
	if text == "" {
		command(t, b, input.DispatchKeyEvent, input.DispatchKeyEventParams{Type: input.DispatchKeyEventTypeKeyDown, Commands: []string{"deleteBackward"}})
		return
	}
	command(t, b, input.InsertText, input.InsertTextParams{Text: text})
}

// most bounds how many options a list is looked through for.
const most = 64

// Select takes an option of the list that has that label, by the arrow keys.
func (b *Browser) Select(t testing.TB, label, option string) {
	t.Helper()
	e := b.find(t, "field", label)
	command(t, b, dom.Focus, dom.FocusParams{BackendNodeID: e.node})
	b.Key(t, kb.Home)
	for range most {
		if b.find(t, "field", label).value == option {
			return
		}
		b.Key(t, kb.ArrowDown)
	}
	t.Fatalf("chromium: the list %q has no %q", label, option)
}

// Key presses a key, like "\t", "\r" or " ".
func (b *Browser) Key(t testing.TB, key string) {
	t.Helper()
	if err := chromedp.Do(b.ctx, chromedp.KeyEvent(key)); err != nil {
		t.Fatal(err)
	}
	b.did(t)
}

// Focused is the name of what the keyboard is at.
func (b *Browser) Focused(t testing.TB) string {
	t.Helper()
	for _, e := range b.elements(t) {
		if e.properties["focused"] == "true" && e.role != "RootWebArea" {
			return e.name
		}
	}
	return ""
}

// See waits until the page shows all these words.
func (b *Browser) See(t testing.TB, words ...string) {
	t.Helper()
	for _, w := range words {
		b.until(t, fmt.Sprintf("words %q", w), func(l []element) bool { return strings.Contains(text(l), w) })
	}
}

// On waits for the page with that heading.
func (b *Browser) On(t testing.TB, heading string) {
	t.Helper()
	b.until(t, fmt.Sprintf("heading %q", heading), func(l []element) bool {
		return slices.ContainsFunc(l, func(e element) bool { return e.role == "heading" && e.name == heading && e.properties["level"] == "1" })
	})
}

// Text is what stands on the page.
func (b *Browser) Text(t testing.TB) string { t.Helper(); return text(b.elements(t)) }

func text(l []element) string {
	var s []string
	for _, e := range l {
		if e.role == "StaticText" {
			s = append(s, e.name)
		}
	}
	return strings.Join(s, " ")
}

// Value is what stands in a field.
func (b *Browser) Value(t testing.TB, label string) string {
	t.Helper()
	return b.find(t, "field", label).value
}

// At is the address of the page.
func (b *Browser) At(t testing.TB) string {
	t.Helper()
	at, err := chromedp.Run(b.ctx, chromedp.Location())
	if err != nil {
		return err.Error()
	}
	return at
}

// Size makes the window that large, in CSS pixels.
func (b *Browser) Size(t testing.TB, width, height int64) {
	t.Helper()
	command(t, b, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: width, Height: height, DeviceScaleFactor: 1})
}

// Script says whether pages run scripts from now on.
func (b *Browser) Script(t testing.TB, runs bool) {
	t.Helper()
	command(t, b, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: !runs})
}

// Dark says which colours the person likes, who likes nothing that moves: a colour on its way to another is neither.
func (b *Browser) Dark(t testing.TB, likes bool) {
	t.Helper()
	value := "light"
	if likes {
		value = "dark"
	}
	command(t, b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: value}, {Name: "prefers-reduced-motion", Value: "reduce"},
	}})
}

// Has says whether the page has a button, link, field or choice of that name now.
func (b *Browser) Has(t testing.TB, kind, name string) bool {
	t.Helper()
	return slices.ContainsFunc(b.elements(t), func(e element) bool { return slices.Contains(roles[kind], e.role) && called(kind, e.name, name) })
}

// Attach chooses a file in the field that has that label.
func (b *Browser) Attach(t testing.TB, label, file string) {
	t.Helper()
	var found element
	b.until(t, "field for a file "+label, func(l []element) bool {
		for _, found = range l {
			if found.role == "button" && strings.HasPrefix(found.name, label) && found.value != "" {
				return true
			}
		}
		return false
	})
	command(t, b, dom.SetFileInputFiles, dom.SetFileInputFilesParams{Files: []string{file}, BackendNodeID: found.node})
}

// Type types where the keyboard is.
func (b *Browser) Type(t testing.TB, text string) {
	t.Helper()
	command(t, b, input.InsertText, input.InsertTextParams{Text: text})
}

// Wide is how many pixels the page takes from left to right.
func (b *Browser) Wide(t testing.TB) int {
	t.Helper()
	b.settle(t)
	n, err := chromedp.Run(b.ctx, chromedp.Evaluate[float64]("document.documentElement.scrollWidth"))
	if err != nil {
		t.Fatalf("chromium: %v", err)
	}
	return int(n)
}
