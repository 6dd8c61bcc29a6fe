package main

import (
	"encoding/xml"
	"fmt"
	"strings"
)

// A chart is a picture of a few panels, each with a scale of its own that begins at nothing. It says in words what it shows, for
// whom it is read aloud, and takes its colours from whether the reader's pages are light or dark.
type chart struct {
	file, title string
	panels      []panel
}

// A panel is one figure of one row.
type panel struct{ row, figure string }

func charts() []chart {
	return []chart{
		{"pictures/performance-memory.svg", "Memory of what is idle; shorter is better",
			[]panel{{"idle", "kib"}, {"idle", "kib_after"}, {"plainidle", "kib"}, {"keep", "kib"}}},
		{"pictures/performance-signin.svg", "Signing in over TLS",
			[]panel{{"signin64", "per_second"}, {"signin64", "cpu_1000"}, {"signin1", "p50_ms"}}},
		{"pictures/performance-traffic.svg", "Processor time of what moves; shorter is better",
			[]panel{{"bulk", "cpu_gb"}, {"plainbulk", "cpu_gb"}, {"noop", "cpu_1000"}, {"message", "cpu_1000"}, {"propfind", "cpu_1000"}}},
	}
}

// Measures of a chart, in units of the picture.
const (
	chartWidth = 720
	labelWidth = 190
	barsWidth  = 350
	barHeight  = 18
	barStep    = 24
	headHeight = 30
)

const chartStyle = `<style>
text{font:13px system-ui,sans-serif;fill:#1f2328}.head{font-weight:600}.note{fill:#59636e}
.ours{fill:#0b6bcb}.theirs{fill:#8c959f}.range{stroke:#1f2328;stroke-width:1.5}.axis{stroke:#8c959f}
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.note{fill:#9198a1}.ours{fill:#58a6ff}.theirs{fill:#6e7681}.range{stroke:#e6edf3}}
</style>
`

// svg draws it. What is missing or failed has no bar, and a panel without any is left out.
func (c chart) svg(r results) string {
	var body, words strings.Builder
	y := 0
	for _, p := range c.panels {
		y = p.draw(&body, &words, r, y)
	}
	var s strings.Builder
	fmt.Fprintf(&s, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-labelledby="title desc">`+"\n", chartWidth, y+4, chartWidth, y+4)
	fmt.Fprintf(&s, "<title id=\"title\">%s</title>\n<desc id=\"desc\">%s</desc>\n", escaped(c.title), escaped(strings.TrimSpace(words.String())))
	s.WriteString(chartStyle)
	s.WriteString(body.String())
	s.WriteString("</svg>\n")
	return s.String()
}

// bar is one server's figure.
type bar struct {
	who   string
	ours  bool
	value spread
}

// draw adds a panel at y, and answers where the next begins.
func (p panel) draw(body, words *strings.Builder, r results, y int) int {
	known, f := p.known()
	var bars []bar
	longest := 0.0
	for _, e := range known.entries {
		if v, ok := spreadOf(r.row(p.row).entry(e.who()).figures(p.figure)); ok {
			bars = append(bars, bar{e.who(), e.server == latchkeyName, v})
			longest = max(longest, v.highest)
		}
	}
	if len(bars) == 0 || longest <= 0 {
		return y
	}
	head := known.title + ": " + f.title
	fmt.Fprintf(body, `<text class="head" x="4" y="%d">%s</text>`+"\n", y+20, escaped(head))
	fmt.Fprintf(words, "%s: ", head)
	top := y + headHeight
	for i, b := range bars {
		b.draw(body, f, longest, top+i*barStep)
		if i > 0 {
			words.WriteString(", ")
		}
		fmt.Fprintf(words, "%s %s", b.who, strings.TrimSpace(b.value.only(f.digits)+" "+f.unit))
	}
	words.WriteString(". ")
	end := top + len(bars)*barStep
	fmt.Fprintf(body, `<line class="axis" x1="%d" y1="%d" x2="%d" y2="%d"/>`+"\n", labelWidth, top-3, labelWidth, end-3)
	return end + 8
}

func (b bar) draw(body *strings.Builder, f figure, longest float64, y int) {
	class := map[bool]string{true: "ours", false: "theirs"}[b.ours]
	length := func(v float64) float64 { return v / longest * barsWidth }
	middle := float64(y) + barHeight/2
	fmt.Fprintf(body, `<text x="%d" y="%d" text-anchor="end">%s</text>`, labelWidth-8, y+14, escaped(b.who))
	fmt.Fprintf(body, `<rect class="%s" x="%d" y="%d" width="%.1f" height="%d" rx="2"/>`, class, labelWidth, y, length(b.value.median), barHeight)
	if b.value.lowest < b.value.highest {
		fmt.Fprintf(body, `<line class="range" x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f"/>`, labelWidth+length(b.value.lowest), middle, labelWidth+length(b.value.highest), middle)
	}
	fmt.Fprintf(body, `<text class="note" x="%.1f" y="%d">%s</text>`+"\n", labelWidth+length(b.value.highest)+8, y+14, escaped(strings.TrimSpace(b.value.with(f.digits)+" "+f.unit)))
}

func (p panel) known() (row, figure) {
	for _, r := range rows() {
		if r.name == p.row {
			return r, r.figure(p.figure)
		}
	}
	return row{}, figure{}
}

func escaped(text string) string {
	var s strings.Builder
	_ = xml.EscapeText(&s, []byte(text)) // into memory
	return s.String()
}
