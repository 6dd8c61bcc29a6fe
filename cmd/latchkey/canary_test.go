package main

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// canaries are secrets that went through the server, by what they were.
type canaries map[string]string

// add keeps one, and sees that it is one: the search for an empty word finds nothing. Several may be of one kind.
func (c canaries) add(t *testing.T, what, secret string) string {
	t.Helper()
	if len(secret) < 6 {
		t.Fatalf("%s is no secret: %q", what, secret)
	}
	for n := 2; c[what] != "" && c[what] != secret; n++ {
		what = strings.TrimRight(what, " 0123456789") + " " + itoa(n)
	}
	c[what] = secret
	return secret
}

func (c canaries) has(secret string) bool {
	for _, s := range c {
		if s == secret {
			return true
		}
	}
	return false
}

// search answers where which canaries are, as they are or in the encodings that hide nothing.
func (c canaries) search(places map[string]string) (hits []string) {
	for what, secret := range c {
		look := forms(secret)
		for where, text := range places {
			if slices.ContainsFunc(look, func(f func(string) bool) bool { return f(text) }) {
				hits = append(hits, where+" holds "+what)
			}
		}
	}
	slices.Sort(hits)
	return hits
}

// asField is a secret in the place of a field's name.
const asField = "a secret as a field"

var sixAlone = regexp.MustCompile(`^[0-9]{6}$`)

// forms are the ways to find a secret. Six digits count where they stand alone: they are in any longer number by chance, and
// in the fraction of one.
func forms(secret string) []func(string) bool {
	if sixAlone.MatchString(secret) {
		alone := regexp.MustCompile(`(?:^|[^0-9A-Za-z.])` + secret + `(?:[^0-9A-Za-z]|$)`)
		return []func(string) bool{alone.MatchString}
	}
	words := []string{secret, hex.EncodeToString([]byte(secret))}
	for k := range 3 { // base64 of a text that has the secret in it begins with any of its first three bytes
		whole := []byte(secret[k : k+(len(secret)-k)/3*3])
		if len(whole) >= 6 { // eight characters are in no text by chance
			words = append(words, base64.StdEncoding.EncodeToString(whole), base64.URLEncoding.EncodeToString(whole))
		}
	}
	var l []func(string) bool
	for _, w := range words {
		l = append(l, func(text string) bool { return strings.Contains(text, w) })
	}
	return l
}

// refusals are what the API answered to what it did not do: problems.
type refusals struct {
	mu   sync.Mutex
	text strings.Builder // guarded by mu
}

// watched is the way of a client to the API; it keeps the refusals, and sends a key with each request where it has one.
type watched struct {
	http.RoundTripper
	seen *refusals
	key  string
}

func (w watched) RoundTrip(req *http.Request) (*http.Response, error) {
	if w.key != "" {
		req.Header.Set("Idempotency-Key", w.key)
	}
	res, err := w.RoundTripper.RoundTrip(req)
	if err != nil || res.StatusCode < 400 {
		return res, err
	}
	defer res.Body.Close()
	p, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, err
	}
	w.seen.mu.Lock()
	defer w.seen.mu.Unlock()
	fmt.Fprintf(&w.seen.text, "%d %v %s\n", res.StatusCode, res.Header, p)
	res.Body = io.NopCloser(strings.NewReader(string(p)))
	return res, nil
}

// TestDrillCanaries sends secrets through every path, right and wrong ones, in the right fields and in wrong ones, and looks
// for them in every byte that the server leaves: the store with its log, a backup, its own log, the metrics, the audit, and the
// answers of what it refuses.
func TestDrillCanaries(t *testing.T) {
	d := newCanaryDrill(t)
	d.overTheAPI(t)
	d.atTheDoors(t)
	d.twoSteps(t)
	d.quick(t)
	d.atProvider(t)
	d.wentOut(t)
	places := d.places(t, "backup.lkb")
	t.Logf("%d canaries, %d places", len(d.found), len(places))
	for _, hit := range d.found.search(places) {
		if hit != "answers holds "+asField { // who sent it is told which field he must not send
			t.Error(hit)
		}
	}
	t.Run("one that was planted is found", d.planted)
}

// planted puts a canary where the server keeps and tells it, and asks that the same search sees it there.
func (d *canaryDrill) planted(t *testing.T) {
	c := d.api()
	if err := c.signIn(d.people["admin"]); err != nil {
		t.Fatal(err)
	}
	planted := canaries{}
	name := planted.add(t, "a name", "canary-planted-99")
	for _, n := range []string{name, planted.add(t, "six digits", "604713")} {
		d.call(t, c, "POST", "/me/app-passwords", map[string]any{"name": n}, 201)
	}
	places := d.places(t, "planted.lkb")
	hits := planted.search(places)
	for _, where := range []string{"store ", "backup ", "audit jsonl ", "audit csv "} {
		for what := range planted { // what is in the store's log may not be in the store yet
			if !slices.ContainsFunc(hits, func(h string) bool { return strings.HasPrefix(h, where) && strings.HasSuffix(h, " holds "+what) }) {
				t.Errorf("%s was planted and not found in the %s: %q", what, where, hits)
			}
		}
	}
	for where, text := range places { // what takes no word of a client is seen to be searched all the same
		if len(planted.search(map[string]string{where: text + base64.StdEncoding.EncodeToString([]byte("\x00"+name))})) == 0 {
			t.Errorf("not found at the end of the %s", where)
		}
	}
}

// places are all that the server leaves, by name.
func (d *canaryDrill) places(t *testing.T, backup string) map[string]string {
	t.Helper()
	metrics, err := http.Get("http://" + d.addr["ops"] + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer metrics.Body.Close()
	told, err := io.ReadAll(metrics.Body)
	if err != nil {
		t.Fatal(err)
	}
	if p := (start{args: []string{"backup", "-config", d.file, "-out", d.path(backup)}}).begin(t); p.ends() != 0 {
		t.Fatalf("no backup: %s", p.err)
	}
	d.seen.mu.Lock()
	refused := d.seen.text.String()
	d.seen.mu.Unlock()
	l := map[string]string{"metrics": string(told), "log": d.server.err.String() + d.server.out.String(), "answers": refused,
		"audit jsonl": d.audit(t, "jsonl"), "audit csv": d.audit(t, "csv")}
	for kind, dir := range map[string]string{"store": "data", "backup": backup} {
		_ = filepath.WalkDir(d.path(dir), func(file string, e fs.DirEntry, err error) error {
			if err == nil && e.Type().IsRegular() {
				b, _ := os.ReadFile(file)
				if strings.HasSuffix(file, "-wal") {
					l["store log "+e.Name()] = string(b)
				} else {
					l[kind+" "+e.Name()] = string(b) + unzipped(t, b)
				}
			}
			return nil
		})
	}
	for where, word := range map[string]string{"metrics": "latchkey_", "log": "request", "answers": "bad_credentials", "audit jsonl": "token_create", "audit csv": "token_create"} {
		if !strings.Contains(l[where], word) {
			t.Errorf("the %s does not tell of what was done: %.300q", where, l[where])
		}
	}
	return l
}

// unzipped is what a backup holds, which nothing is found in as it lies there; "" of another file.
func unzipped(t *testing.T, file []byte) string {
	t.Helper()
	if !bytes.HasPrefix(file, []byte("\x1f\x8b")) { // RFC 1952 section 2.3.1
		return ""
	}
	z, err := gzip.NewReader(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	p, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return string(p)
}

// audit is an export of the domain's audit.
func (d *canaryDrill) audit(t *testing.T, format string) string {
	t.Helper()
	c := d.api()
	if err := c.signIn(d.people["admin"]); err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequest("GET", c.base+"/domains/old.example/audit?format="+format, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	res, err := c.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	lines, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != 200 {
		t.Fatalf("audit as %s: %d, %v", format, res.StatusCode, err)
	}
	return string(lines)
}
