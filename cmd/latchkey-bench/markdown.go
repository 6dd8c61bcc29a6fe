package main

import (
	"fmt"
	"strings"
)

// The part of docs/performance.md that report writes stands between these.
const (
	blockBegins = "<!-- latchkey-bench report begins: do not edit by hand -->"
	blockEnds   = "<!-- latchkey-bench report ends -->"
)

// markdown is that part: what was measured on, the charts, every figure, and the targets.
func (r results) markdown() string {
	var s strings.Builder
	m := r.Machine
	fmt.Fprintf(&s, "%s, %d cores, %s, Linux %s; %s; %s.\n", m.Processor, m.Cores, m.System, m.Kernel, m.versions(), r.Began.Format("2 January 2006"))
	fmt.Fprintf(&s, "%d rounds, in which the servers took turns; median, with the lowest and highest in brackets. Other work took %.1f processors at most. "+
		"Every round: [%s](%s).\n", r.Rounds, r.strangers(), dataFile, dataFile)
	if r.Short {
		s.WriteString("\nThis was a run with `-short`, which shows that all works and measures nothing well.\n")
	}
	for _, m := range r.Missing {
		fmt.Fprintf(&s, "\nMissing: %s.\n", m)
	}
	for _, c := range charts() {
		fmt.Fprintf(&s, "\n![%s](%s)\n", c.title, c.file)
	}
	s.WriteString("\n| | Latchkey | nginx | Dovecot | ratio to the best |\n|---|--:|--:|--:|--:|\n")
	for _, known := range rows() {
		if row := r.row(known.name); row.Name != "" {
			row.markdown(&s, known)
		}
	}
	s.WriteString("\n| target | | measured | | for |\n|---|---|--:|---|---|\n")
	for _, v := range r.verdicts() {
		fmt.Fprintf(&s, "| %s | %s | %s | %s | %s |\n", v.what(), v.bound(), v.measured(), v.word(), v.why)
	}
	return s.String()
}

func (r rowResult) markdown(s *strings.Builder, known row) {
	for i, f := range known.figures {
		name := "… " + f.title
		if i == 0 {
			name = known.title + ": " + f.title
		}
		if f.unit != "" {
			name += ", " + f.unit
		}
		cells := map[string][]string{}
		for _, e := range known.entries {
			if text := r.entry(e.who()).cell(f); text != "" {
				if e.variant != "" && e.information {
					text = e.variant + ": " + text
				}
				cells[e.server] = append(cells[e.server], text)
			}
		}
		to := ""
		if _, v, ok := r.best(known, f); ok {
			to = v.with(2)
		}
		fmt.Fprintf(s, "| %s", name)
		for _, server := range []string{latchkeyName, nginxName, dovecotName} {
			fmt.Fprintf(s, " | %s", strings.Join(cells[server], "; "))
		}
		fmt.Fprintf(s, " | %s |\n", to)
	}
}

func (e entryResult) cell(f figure) string {
	if e.Problem != "" {
		return "failed"
	}
	v, ok := spreadOf(e.figures(f.key))
	if !ok {
		return ""
	}
	return v.with(f.digits)
}

// replaceBlock puts text between the two marks of a page.
func replaceBlock(page, text string) (string, bool) {
	before, rest, ok := strings.Cut(page, blockBegins)
	_, after, also := strings.Cut(rest, blockEnds)
	if !ok || !also {
		return page, false
	}
	return before + blockBegins + "\n\n" + strings.TrimSpace(text) + "\n\n" + blockEnds + after, true
}
