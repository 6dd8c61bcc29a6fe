package peers

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
)

const readersPage = `<!doctype html><html lang="en"><title>A page</title><style>summary,button,input,select{min-height:2rem;display:block}</style><main><h1>Things</h1>
<form method="post" action="/"><label for="n">Name of it</label><input id="n" name="n" value="old"><label><input type="checkbox" name="b" value="1">Blue</label>
<label for="s">Size</label><select id="s" name="s"><option value="1">Small<option value="2">Large</select>
<details><summary>More</summary><p>Hidden words</p></details><button>Keep it</button></form>
<ul><li>First <button>Delete</button></li><li>Second <button form="x">Delete</button></li></ul><form id="x" method="post" action="/deleted"></form>
<script>document.querySelector("h1").textContent = "Things by script"</script></main>`

// TestPeersReader uses a page as a person does, with script and without.
func TestPeersReader(t *testing.T) {
	t.Parallel()
	Need(t, "chromium", "axe-core")
	mux := http.NewServeMux()
	mux.HandleFunc("GET /", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte(readersPage))
	})
	mux.HandleFunc("GET /small", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte("<!doctype html><html lang=en><title>x</title><input>"))
	})
	mux.HandleFunc("POST /", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte("<!doctype html><html lang=en><title>x</title><h1>Kept " + r.FormValue("n") + r.FormValue("b") + r.FormValue("s") + "</h1>"))
	})
	mux.HandleFunc("POST /deleted", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		w.Header().Set("Content-Security-Policy", "script-src 'none'")
		_, _ = w.Write([]byte("<!doctype html><html lang=en><title>x</title><h1>Deleted</h1><script>1</script>"))
	})
	s := httptest.NewTLSServer(mux)
	t.Cleanup(s.Close)
	b := Chromium(t, s.Certificate())
	w := b.Watch(t)
	for _, script := range []bool{true, false} {
		b.Script(t, script)
		b.Open(t, s.URL)
		b.On(t, map[bool]string{true: "Things by script", false: "Things"}[script])
		b.Press(t, "More")
		b.See(t, "Hidden words")
		b.Fill(t, "Name of it", "new")
		if v := b.Value(t, "Name of it"); v != "new" {
			t.Errorf("the field has %q", v)
		}
		b.Choose(t, "Blue")
		b.Select(t, "Size", "Large")
		b.Press(t, "Keep it")
		b.On(t, "Kept new12")
	}
	b.Script(t, true)
	b.Open(t, s.URL)
	b.Accessible(t)
	if n := w.Weigh(); n < int64(len(readersPage)) {
		t.Errorf("%d bytes came", n)
	}
	b.Shot(t, filepath.Join(t.TempDir(), "x.png"))
	if at := b.FirstPaint(t); at <= 0 {
		t.Errorf("painted after %v ms", at)
	}
	if l := w.Said(); len(l) > 0 {
		t.Errorf("complaints of a good page: %q", l)
	}
	b.Open(t, s.URL+"/small")
	if l := b.Violations(t); len(l) == 0 {
		t.Error("a field without a label is no violation")
	}
	b.Open(t, s.URL)
	b.PressBy(t, "Second", "Delete")
	b.On(t, "Deleted")
	if l := w.Said(); len(l) == 0 {
		t.Error("a broken Content-Security-Policy is not seen")
	}
}
