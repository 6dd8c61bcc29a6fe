package console

import (
	"strings"
	"testing"
)

func TestNobodyIsThere(t *testing.T) {
	t.Parallel()
	s := open(t, Options{}, nil)
	p := s.browser().get("/nothing/here").is(404, "This did not work")
	if got := p.header.Get("Content-Security-Policy"); !strings.Contains(got, "require-trusted-types-for 'script'") || strings.Contains(got, "unsafe") {
		t.Errorf("Content-Security-Policy %q", got)
	}
	if p.header.Get("Cache-Control") != "no-store" {
		t.Error("a page may be kept")
	}
}
