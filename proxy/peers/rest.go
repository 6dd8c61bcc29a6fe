package peers

import (
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

// rest knows whether a page is on its way to another one. What is read or pressed in between may belong to either, and an
// address that is opened then ends one of the two with ERR_ABORTED.
type rest struct {
	mu      sync.Mutex
	of      cdp.FrameID   // the page itself, and no frame inside it
	asked   bool          // guarded by mu: the page asked for another one, which has not begun to load
	loading bool          // guarded by mu
	left    int           // guarded by mu: how often it went on its way
	changed chan struct{} // guarded by mu: closed at the next change
}

// restOf begins to listen.
func restOf(t testing.TB, b *Browser) *rest {
	t.Helper()
	r := &rest{changed: make(chan struct{})}
	r.of = command(t, b, page.GetFrameTree, cdp.Empty{}).FrameTree.Frame.ID
	if err := chromedp.Listen(b.ctx, r.hear); err != nil {
		t.Fatalf("chromium: %v", err)
	}
	return r
}

// hear runs between the messages of the browser: once a command is answered, all that came before has been heard.
func (r *rest) hear(ev any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch e := ev.(type) {
	case *page.EventFrameRequestedNavigation:
		if e.FrameID != r.of || e.Disposition != page.ClientNavigationDispositionCurrentTab {
			return
		}
		r.asked = true
		r.left++
	case *page.EventFrameStartedLoading:
		if e.FrameID != r.of {
			return
		}
		r.asked, r.loading = false, true
		r.left++
	case *page.EventFrameStoppedLoading:
		if e.FrameID != r.of {
			return
		}
		r.loading = false
	default:
		return
	}
	close(r.changed)
	r.changed = make(chan struct{})
}

func (r *rest) state() (underWay bool, left int, changed <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.asked || r.loading, r.left, r.changed
}

// settle waits until the page is where it goes, and answers how often it was left.
func (b *Browser) settle(t testing.TB) (left int) {
	t.Helper()
	end := time.After(readFor)
	for {
		underWay, left, changed := b.rest.state()
		if !underWay {
			return left
		}
		select {
		case <-changed:
		case <-end:
			t.Fatalf("chromium: the page is still on its way after %v", readFor)
		}
	}
}

// did follows what a person did: where the page goes because of it, it has said so when this returns. The page answers in
// turn, so it has dealt with the click or key when it answers anything else.
func (b *Browser) did(t testing.TB) {
	t.Helper()
	_, err := chromedp.Call(b.ctx, page.GetLayoutMetrics, cdp.Empty{})
	if underWay, _, _ := b.rest.state(); err != nil && !underWay {
		t.Fatalf("chromium: after what was done: %v", err)
	}
}
