package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestSpreadOf(t *testing.T) {
	for name, tt := range map[string]struct {
		of   []float64
		want spread
		ok   bool
	}{
		"none":     {},
		"one":      {[]float64{2}, spread{2, 2, 2}, true},
		"odd":      {[]float64{9, 1, 4}, spread{4, 1, 9}, true},
		"even":     {[]float64{4, 1, 9, 2}, spread{3, 1, 9}, true},
		"repeated": {[]float64{5, 5, 5}, spread{5, 5, 5}, true},
	} {
		t.Run(name, func(t *testing.T) {
			before := slices.Clone(tt.of)
			got, ok := spreadOf(tt.of)
			if got != tt.want || ok != tt.ok || !slices.Equal(tt.of, before) {
				t.Errorf("got %v, %v; want %v, %v", got, ok, tt.want, tt.ok)
			}
		})
	}
}

// A ratio is that of the medians; its spread is that of the rounds, each with the other's of the same round.
func TestRatio(t *testing.T) {
	for name, tt := range map[string]struct {
		ours, theirs []float64
		want         spread
		ok           bool
	}{
		"half":           {[]float64{1, 1, 1}, []float64{2, 2, 2}, spread{0.5, 0.5, 0.5}, true},
		"round by round": {[]float64{1, 2, 3}, []float64{2, 2, 2}, spread{1, 0.5, 1.5}, true},
		"both drift":     {[]float64{1, 10, 2}, []float64{2, 20, 4}, spread{0.5, 0.5, 0.5}, true},
		"nothing ours":   {nil, []float64{1}, spread{}, false},
		"nothing theirs": {[]float64{1}, nil, spread{}, false},
		"theirs is zero": {[]float64{1}, []float64{0}, spread{}, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got, ok := ratio(tt.ours, tt.theirs); got != tt.want || ok != tt.ok {
				t.Errorf("got %v, %v; want %v, %v", got, ok, tt.want, tt.ok)
			}
		})
	}
}

func TestQuantile(t *testing.T) {
	l := []time.Duration{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
	for q, want := range map[float64]time.Duration{0: 1, 0.5: 6, 0.99: 10, 1: 10} {
		if got := quantile(l, q); got != want {
			t.Errorf("quantile %v: got %d, want %d", q, got, want)
		}
	}
}

// rounds of one figure.
func rounds(who, key string, l ...float64) entryResult {
	e := entryResult{Who: who}
	for _, v := range l {
		e.Rounds = append(e.Rounds, measurement{Figures: map[string]float64{key: v}, Operations: 100})
	}
	return e
}

// made is a run with something of everything: reached, missed, failed, missing.
func made() results {
	failed := rounds(dovecotName, "kib", 60)
	failed.Problem = "not every exchange was as it must be: 1 errors, EOF\nand its log"
	return results{
		Format: resultsFormat, Began: time.Date(2026, 11, 22, 14, 0, 0, 0, time.UTC), Seconds: 600, Rounds: 3,
		Machine: machine{Processor: "A <Processor> & Co", Cores: 2, MemoryMiB: 1024, Kernel: "6.1", System: "Debian", Versions: map[string]string{
			latchkeyName: "0123456789ab", nginxName: "1.22.1", "Go": "go1.26.8",
		}},
		Rows: []rowResult{
			{Name: "signin64", Entries: []entryResult{
				rounds(latchkeyName, "per_second", 2000, 2100, 1900), rounds(nginxName, "per_second", 1000, 1100, 1200), rounds(dovecotName, "per_second", 1700, 1700, 1600),
			}},
			{Name: "bulk", Entries: []entryResult{
				rounds(latchkeyName, "cpu_gb", 0.8, 0.8, 0.9), rounds("nginx, 64 KB buffers", "cpu_gb", 0.9, 0.9, 0.9), rounds("nginx, default buffers", "cpu_gb", 0.5),
			}},
			{Name: "idle", Entries: []entryResult{rounds(latchkeyName, "kib", 7, 7, 7), rounds(nginxName, "kib", 22, 22.5, 23), failed}},
			{Name: "revoke", Entries: []entryResult{rounds(latchkeyName, "last_s", 0.2, 0.3, 0.25)}},
		},
	}
}

func TestVerdicts(t *testing.T) {
	want := map[string]string{
		"signin64 per_second nginx":        "reached",
		"signin64 per_second Dovecot":      "MISSED", // 1.18
		"signin64 cpu_1000 nginx":          "unknown",
		"bulk cpu_gb nginx, 64 KB buffers": "reached",
		"idle kib nginx":                   "reached",
		"idle kib Dovecot":                 "unknown", // failed: it has no figure, whatever it had before
		"idle kib_after Latchkey":          "unknown",
		"revoke last_s ":                   "reached",
	}
	seen := 0
	for _, v := range made().verdicts() {
		name := v.row + " " + v.figure + " " + v.of
		if w, ok := want[name]; ok {
			if seen++; v.word() != w {
				t.Errorf("%s: got %s (%v), want %s", name, v.word(), v.got, w)
			}
		}
		if v.row == "noop" {
			t.Error("there is a verdict on a row that was not measured")
		}
	}
	if seen != len(want) {
		t.Errorf("%d of %d verdicts", seen, len(want))
	}
	if got := made().failed(); !slices.Equal(got, []string{"idle of Dovecot"}) {
		t.Errorf("failed: got %q", got)
	}
}

// The best peer is the one ahead, and not one that is there for information.
func TestBest(t *testing.T) {
	for _, tt := range []struct {
		row    string
		figure int
		who    string
		median float64
	}{{"signin64", 0, dovecotName, 2000.0 / 1700}, {"bulk", 0, "nginx, 64 KB buffers", 0.8 / 0.9}, {"idle", 0, nginxName, 7 / 22.5}} {
		known, err := chooseRows(tt.row)
		if err != nil {
			t.Fatal(err)
		}
		who, to, ok := made().row(tt.row).best(known[0], known[0].figures[tt.figure])
		if !ok || who != tt.who || math.Abs(to.median-tt.median) > 1e-9 {
			t.Errorf("%s: got %s, %v, %v; want %s, %v", tt.row, who, to, ok, tt.who, tt.median)
		}
	}
}

// Every target is of a row, a figure and a server that there are, and says why.
func TestTargets(t *testing.T) {
	for _, target := range targets {
		l, err := chooseRows(target.row)
		if err != nil {
			t.Fatal(err)
		}
		has := func(key string) bool {
			return slices.ContainsFunc(l[0].figures, func(f figure) bool { return f.key == key })
		}
		of := target.of == "" || slices.ContainsFunc(l[0].entries, func(e entry) bool { return e.who() == target.of && !e.information })
		if !has(target.figure) || target.ofFigure != "" && !has(target.ofFigure) || !of || target.limit <= 0 || target.why == "" {
			t.Errorf("%+v", target)
		}
	}
	for _, c := range charts() {
		for _, p := range c.panels {
			if known, f := p.known(); known.name == "" || !slices.Contains(known.figures, f) {
				t.Errorf("%s: no figure %s %s", c.file, p.row, p.figure)
			}
		}
	}
}

// What a run prints, what a page gets and what a chart looks like are files, to be read by people.
func TestGolden(t *testing.T) {
	for file, got := range map[string]string{"run.txt": made().text(), "block.md": made().markdown(), "chart.svg": charts()[0].svg(made())} {
		t.Run(file, func(t *testing.T) {
			path := filepath.Join("testdata", file)
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got\n%s\nwant (go test -update writes it)\n%s", got, want)
			}
		})
	}
}

// A chart is sound XML, says in words what it shows, and loads nothing.
func TestCharts(t *testing.T) {
	for _, c := range charts() {
		for name, r := range map[string]results{"with figures": made(), "with nothing": {}} {
			svg := c.svg(r)
			words := xml.NewDecoder(strings.NewReader(svg))
			for {
				if _, err := words.Token(); errors.Is(err, io.EOF) {
					break
				} else if err != nil {
					t.Fatalf("%s, %s: %v\n%s", c.file, name, err, svg)
				}
			}
			for _, want := range []string{`role="img"`, "<title id=", "<desc id=", "prefers-color-scheme:dark"} {
				if !strings.Contains(svg, want) {
					t.Errorf("%s, %s: no %s", c.file, name, want)
				}
			}
			if strings.Contains(svg, "href") || strings.Contains(svg, "NaN") || len(svg) > 8<<10 {
				t.Errorf("%s, %s: it loads something, has no number, or %d octets", c.file, name, len(svg))
			}
		}
	}
}

// report writes the figures, the charts, and the marked part of the page, and nothing else of it.
func TestReport(t *testing.T) {
	dir := t.TempDir()
	in, page := filepath.Join(dir, "run.json"), filepath.Join(dir, "performance.md")
	if err := made().write(in); err != nil {
		t.Fatal(err)
	}
	report := func() error {
		return reportRole(t.Context(), streams{err: io.Discard}, []string{"-in", in, "-out", dir})
	}
	if err := report(); err == nil {
		t.Error("there is no page, and no error")
	}
	write := func(text string) {
		if err := os.WriteFile(page, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("# A page without the marks\n")
	if err := report(); err == nil {
		t.Error("the page has no marks, and there is no error")
	}
	write("# Before\n" + blockBegins + "\nold\n" + blockEnds + "\n## After\n")
	for range 2 { // again it is the same
		if err := report(); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(page)
		want := "# Before\n" + blockBegins + "\n\n" + strings.TrimSpace(made().markdown()) + "\n\n" + blockEnds + "\n## After\n"
		if err != nil || string(text) != want {
			t.Errorf("got\n%s\nwant\n%s", text, want)
		}
	}
	for _, c := range charts() {
		if _, err := os.Stat(filepath.Join(dir, c.file)); err != nil {
			t.Error(err)
		}
	}
	if r, err := readResults(filepath.Join(dir, dataFile)); err != nil || len(r.Rows) != len(made().Rows) {
		t.Errorf("the figures: %v", err)
	}
	if err := os.WriteFile(in, []byte(`{"format":99}`), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := report(); !errors.Is(err, errFormat) {
		t.Errorf("a file of another format: %v", err)
	}
}

func TestUsage(t *testing.T) {
	for name, tt := range map[string]struct {
		args []string
		code int
		says string
	}{
		"help":           {[]string{"-h"}, 0, "signin64"},
		"unknown row":    {[]string{"-rows", "idle,none"}, 1, `no row "none"`},
		"no rounds":      {[]string{"-rounds", "0"}, 2, "usage:"},
		"unknown flag":   {[]string{"-fast"}, 2, "usage:"},
		"a word":         {[]string{"everything"}, 2, "usage:"},
		"report of what": {[]string{"report"}, 2, "usage:"},
		"no Latchkey":    {[]string{"-latchkey", "/nonexistent/latchkey", "-only-latchkey", "-rows", "noop"}, 1, "/nonexistent/latchkey"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("TMPDIR", t.TempDir())
			var said bytes.Buffer
			code := run(t.Context(), streams{in: strings.NewReader(""), out: &said, err: &said}, tt.args)
			if code != tt.code || !strings.Contains(said.String(), tt.says) {
				t.Errorf("got %d, want %d; it says\n%s", code, tt.code, said.String())
			}
			if left, _ := os.ReadDir(os.TempDir()); len(left) > 0 {
				t.Errorf("it left %v", left)
			}
		})
	}
}
