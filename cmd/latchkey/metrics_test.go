package main

import (
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"latchkey/authcore/spool"
	"latchkey/configs"
)

// What is measured stands in the table of docs/operators.md, and what the pages speak of is measured.
func TestMetricsAreDocumented(t *testing.T) {
	s := newStage(t)
	cfg, err := configs.Load(s.file)
	if err != nil {
		t.Fatal(err)
	}
	h, err := build(t.Context(), cfg, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	shared := &house{db: talker{}, metrics: h.metrics, spool: spool.New(spool.Options{Dir: t.TempDir()})} // what only a fleet has
	shared.countStore()
	shared.countSpool()
	measured := describedBy(h.metrics)
	if err := h.close(); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../../docs/operators.md")
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `(latchkey_[a-z_]+)` \\| (?:counter|gauge|histogram) ").FindAllSubmatch(page, -1) {
		told[string(m[1])] = true
	}
	if got, want := slices.Sorted(maps.Keys(told)), slices.Sorted(maps.Keys(measured)); !slices.Equal(got, want) {
		t.Errorf("the table has\n%q\nmeasured are\n%q", got, want)
	}
	for _, file := range []string{"operators.md", "fleet.md"} {
		page, err := os.ReadFile("../../docs/" + file)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range regexp.MustCompile("`(latchkey_[a-z_]+)").FindAllSubmatch(page, -1) {
			if !measured[string(name[1])] {
				t.Errorf("%s speaks of %s, which nobody measures", file, name[1])
			}
		}
	}
}

// describedBy are the names of our metrics in a registry, those without a value yet among them.
func describedBy(r *prometheus.Registry) map[string]bool {
	all := make(chan *prometheus.Desc)
	go func() { defer close(all); r.Describe(all) }()
	names := map[string]bool{}
	for d := range all {
		if m := regexp.MustCompile(`fqName: "(latchkey_[a-z_]+)"`).FindStringSubmatch(d.String()); m != nil {
			names[m[1]] = true
		}
	}
	return names
}
