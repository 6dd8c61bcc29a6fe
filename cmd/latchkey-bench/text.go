package main

import (
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
)

// text is what a run prints.
func (r results) text() string {
	var s strings.Builder
	fmt.Fprintf(&s, "%s\n%d rounds, the servers in turns; median (lowest–highest); %.0f s in all; other work took %.1f processors at most\n", r.Machine.text(), r.Rounds, r.Seconds, r.strangers())
	if r.Short {
		fmt.Fprintln(&s, "-short: shows that all works, and measures nothing well")
	}
	for _, m := range r.Missing {
		fmt.Fprintln(&s, m)
	}
	for _, known := range rows() {
		if row := r.row(known.name); row.Name != "" {
			row.text(&s, known)
		}
	}
	r.targetsText(&s)
	return s.String()
}

func (m machine) text() string {
	return fmt.Sprintf("%s, %d cores, %d MiB, %s, Linux %s\n%s", m.Processor, m.Cores, m.MemoryMiB, m.System, m.Kernel, m.versions())
}

func (m machine) versions() string {
	var l []string
	for _, name := range m.names() {
		l = append(l, name+" "+strings.TrimPrefix(m.Versions[name], "go"))
	}
	return strings.Join(l, ", ")
}

func (r rowResult) text(s *strings.Builder, known row) {
	fmt.Fprintf(s, "\n%s (%s)\n", known.title, known.name)
	w := tabwriter.NewWriter(s, 0, 0, 2, ' ', 0)
	for _, e := range known.entries {
		got := r.entry(e.who())
		switch {
		case got.Who == "":
			continue
		case got.Problem != "":
			problem, _, _ := strings.Cut(got.Problem, "\n")
			fmt.Fprintf(w, "  %s\tFAILED: %s\n", e.who(), problem)
			continue
		}
		fmt.Fprintf(w, "  %s", e.who())
		for _, f := range known.figures {
			if v, ok := spreadOf(got.figures(f.key)); ok {
				fmt.Fprintf(w, "\t%s", strings.TrimSpace(f.title+" "+v.with(f.digits)+" "+f.unit))
			}
		}
		fmt.Fprintln(w)
	}
	_ = w.Flush() // into memory
	for _, f := range known.figures {
		if who, to, ok := r.best(known, f); ok {
			fmt.Fprintf(s, "  ratio to %s, %s: %s\n", who, f.title, to.with(2))
		}
	}
}

// with prints a spread with so many digits.
func (v spread) with(digits int) string {
	if v.lowest == v.highest {
		return v.only(digits)
	}
	return fmt.Sprintf("%.*f (%.*f–%.*f)", digits, v.median, digits, v.lowest, digits, v.highest)
}

func (v spread) only(digits int) string { return fmt.Sprintf("%.*f", digits, v.median) }

func (r results) targetsText(s *strings.Builder) {
	verdicts := r.verdicts()
	if len(verdicts) == 0 {
		return
	}
	fmt.Fprintf(s, "\ntargets: the ratio to the other, or the figure itself\n")
	w := tabwriter.NewWriter(s, 0, 0, 2, ' ', 0)
	for _, v := range verdicts {
		fmt.Fprintf(w, "  %s\t%s\t%s\t%s\n", v.word(), v.what(), v.bound(), v.measured())
	}
	_ = w.Flush() // into memory
}

func (v verdict) word() string {
	switch {
	case !v.known:
		return "unknown"
	case v.reached:
		return "reached"
	}
	return "MISSED"
}

// what names the row and the figure.
func (t target) what() string {
	known := rows()
	row := known[slices.IndexFunc(known, func(r row) bool { return r.name == t.row })]
	return row.title + ": " + row.figure(t.figure).title
}

func (t target) bound() string {
	sign, to := "≤", ""
	if t.atLeast {
		sign = "≥"
	}
	switch {
	case t.ofFigure != "":
		to = " × what it is before"
	case t.of != "":
		to = " × " + t.of
	default:
		known := rows()
		to = " " + known[slices.IndexFunc(known, func(r row) bool { return r.name == t.row })].figure(t.figure).unit
	}
	return fmt.Sprintf("%s %.4g%s", sign, t.limit, to)
}

func (v verdict) measured() string {
	if !v.known {
		return "–"
	}
	return v.got.with(2)
}

func (r row) figure(key string) figure {
	for _, f := range r.figures {
		if f.key == key {
			return f
		}
	}
	return figure{key: key, title: key}
}
