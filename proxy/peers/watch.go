package peers

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/audits"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// Watch is what a browser complains of, and how much it loads.
type Watch struct {
	mu    sync.Mutex
	said  []string // guarded by mu
	bytes int64    // guarded by mu: of the page and all that it loaded, as they came over the wire
}

// Watch begins to listen. What was complained of fails the test when it ends: a Content-Security-Policy that was broken, a
// script that failed, an error of the console.
func (b *Browser) Watch(t testing.TB) *Watch {
	t.Helper()
	w := &Watch{}
	if err := chromedp.Listen(b.ctx, w.hear); err != nil {
		t.Fatalf("chromium: %v", err)
	}
	command(t, b, audits.Enable, cdp.Empty{})
	command(t, b, log.Enable, cdp.Empty{})
	command(t, b, network.Enable, network.EnableParams{})
	t.Cleanup(func() {
		for _, s := range w.Said() {
			t.Errorf("chromium: %s", s)
		}
	})
	return w
}

func (w *Watch) hear(ev any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch e := ev.(type) {
	case *audits.EventIssueAdded:
		if d := e.Issue.Details.ContentSecurityPolicyIssueDetails; d != nil {
			w.said = append(w.said, fmt.Sprintf("Content-Security-Policy: %s, %s %s", d.ViolatedDirective, d.ContentSecurityPolicyViolationType, d.BlockedURL))
		}
	case *runtime.EventExceptionThrown:
		w.said = append(w.said, "script: "+e.ExceptionDetails.Text)
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError && !answered(e.Entry.Text) {
			w.said = append(w.said, e.Entry.Text+" "+e.Entry.URL)
		}
	case *network.EventLoadingFinished:
		w.bytes += int64(e.EncodedDataLength)
	}
}

// answered says that an entry is only about the status of an answer: a form with mistakes is 422, on purpose.
func answered(text string) bool {
	return strings.HasPrefix(text, "Failed to load resource: the server responded with a status of 4")
}

// Said is what was complained of so far; it is forgotten then.
func (w *Watch) Said() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	l := w.said
	w.said = nil
	return l
}

// Weigh is how many bytes came over the wire since it was asked the last time.
func (w *Watch) Weigh() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := w.bytes
	w.bytes = 0
	return n
}

// axeFile is where the dependencies' script puts axe-core.
func axeFile() string {
	cache, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(cache, "latchkey", "axe", "node_modules", "axe-core", "axe.min.js")
}

// axeRules are all of WCAG 2.2 at level AA.
const axeRules = `{runOnly: {type: "tag", values: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}, resultTypes: ["violations"]}`

// violation is what axe-core found.
type violation struct {
	ID, Help string
	Nodes    []struct {
		HTML           string `json:"html"`
		FailureSummary string `json:"failureSummary"`
	}
}

// Accessible fails the test with everything that Violations finds.
func (b *Browser) Accessible(t testing.TB) {
	t.Helper()
	for _, v := range b.Violations(t) {
		t.Errorf("axe-core: %s: %s", b.At(t), v)
	}
}

// Violations runs axe-core on the page as it is, by the rules of WCAG 2.2 AA.
func (b *Browser) Violations(t testing.TB) (l []string) {
	t.Helper()
	b.settle(t)
	source, err := os.ReadFile(axeFile())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := chromedp.Run(b.ctx, chromedp.EvaluateAsDevTools[any](string(source)+";0")); err != nil {
		t.Fatalf("axe-core: %v", err)
	}
	p, err := chromedp.Run(b.ctx, chromedp.Evaluate[[]byte]("axe.run(document, "+axeRules+").then(r => r.violations)", chromedp.EvalAwaitPromise))
	if err != nil {
		t.Fatalf("axe-core: %v", err)
	}
	var found []violation
	if err := json.Unmarshal(p, &found); err != nil {
		t.Fatalf("axe-core answers %s: %v", p, err)
	}
	for _, v := range found {
		for _, n := range v.Nodes {
			l = append(l, fmt.Sprintf("%s: %s\n%s\n%s", v.ID, v.Help, n.HTML, n.FailureSummary))
		}
	}
	return l
}

// firstPaint is told of what was painted before, too.
const firstPaint = `new Promise(painted => new PerformanceObserver(seen => {
	for (const entry of seen.getEntriesByName("first-contentful-paint")) painted(entry.startTime)
}).observe({type: "paint", buffered: true}))`

// FirstPaint is when the page was first painted, in milliseconds after it was asked for. It waits for that: a page is there
// before anything of it is seen.
func (b *Browser) FirstPaint(t testing.TB) float64 {
	t.Helper()
	b.settle(t)
	ctx, cancel := context.WithTimeout(b.ctx, readFor)
	defer cancel()
	at, err := chromedp.Run(ctx, chromedp.Evaluate[float64](firstPaint, chromedp.EvalAwaitPromise))
	if err != nil {
		t.Fatalf("chromium: nothing is painted: %v", err)
	}
	return at
}

// Cookie gives the browser one, for a page at https://localhost.
func (b *Browser) Cookie(t testing.TB, at, name, value string) {
	t.Helper()
	command(t, b, network.SetCookie, network.SetCookieParams{Name: name, Value: value, URL: at, Path: "/", Secure: new(true), HTTPOnly: new(true)})
}

// Forget makes it another browser: it has no cookie any more.
func (b *Browser) Forget(t testing.TB) {
	t.Helper()
	command(t, b, network.ClearBrowserCookies, cdp.Empty{})
}
