package console

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"latchkey/authcore"
	"latchkey/policy"
)

// chart is bars of days, each of parts that stand on each other. It is drawn as SVG without any style: the colours of the
// parts are classes. A table says the same in numbers.
type chart struct {
	ID, Title string
	Parts     []chartPart
	Days      []chartDay
	Lines     []chartLine
	Total     int
}

// chartPart is what one colour stands for.
type chartPart struct {
	Words string
	Path  string // of all its bars
	Total int
}

// chartDay is one bar.
type chartDay struct {
	Day    time.Time
	Counts []int  // by part
	Label  string // below the bar; empty: none
	X      int
}

// chartLine is a line across, and what it stands for.
type chartLine struct{ Y, Value int }

// Measures of the drawing, in its own units.
const (
	chartLeft, chartTop, chartBottom = 48, 12, 200
	chartStep, chartBar              = 22, 15
)

// maxParts is how many colours people tell apart; the rest is one part.
const maxParts = 6

// picturePage is the last days of a domain.
type picturePage struct {
	Domain  string
	Charts  []chart
	Bounded bool // a day that goes on has more entries than were counted
	Behind  int  // days that are over and not counted to their end yet
}

func (p *page) picture() error {
	domain := p.r.PathValue("domain")
	pic, err := p.core.Picture(p.ctx, p.actor, domain)
	if err != nil {
		return err
	}
	v := picturePage{Domain: domain}
	var allowed, refused []map[string]int
	for _, d := range pic.Days {
		allowed, refused = append(allowed, d.Allowed), append(refused, d.Refused)
		switch {
		case d.Whole:
		case d.Over:
			v.Behind++
		default:
			v.Bounded = true
		}
	}
	doors := append(policy.Doors(), authcore.WebDoor)
	v.Charts = []chart{
		p.chart("signed-in", p.t("Sign-ins by door"), pic.Days, allowed, p.doorWords, func(a, b string) int {
			return cmp.Compare(slices.Index(doors, a), slices.Index(doors, b))
		}),
		p.chart("refused", p.t("Refusals by reason"), pic.Days, refused, p.resultWords, nil),
	}
	return p.show("picture.html", v)
}

// chart makes one of counts by word. order says how its parts stand; nil: the largest first.
func (p *page) chart(id, title string, days []authcore.PictureDay, counts []map[string]int, words func(string) string, order func(a, b string) int) chart {
	sums := map[string]int{}
	for _, day := range counts {
		for word, n := range day {
			sums[word] += n
		}
	}
	shown := slices.SortedFunc(maps.Keys(sums), func(a, b string) int { return cmp.Or(cmp.Compare(sums[b], sums[a]), strings.Compare(a, b)) })
	rest := shown[min(maxParts, len(shown)):]
	shown = shown[:len(shown)-len(rest)]
	if order != nil {
		slices.SortStableFunc(shown, order)
	}
	c := chart{ID: id, Title: title}
	for _, word := range shown {
		c.Parts = append(c.Parts, chartPart{Words: words(word)})
	}
	if len(rest) > 0 {
		c.Parts = append(c.Parts, chartPart{Words: p.t("Others")})
	}
	for i, d := range days {
		day := chartDay{Day: d.Day, Counts: make([]int, len(c.Parts)), X: chartLeft + i*chartStep}
		for j, word := range shown {
			day.Counts[j] = counts[i][word]
		}
		for _, word := range rest {
			day.Counts[len(shown)] += counts[i][word]
		}
		if (len(days)-1-i)%5 == 0 {
			day.Label = d.Day.Format("01-02")
		}
		c.Days = append(c.Days, day)
	}
	c.draw()
	return c
}

// draw puts the bars in.
func (c *chart) draw() {
	highest := 1
	for _, d := range c.Days {
		sum := 0
		for i, n := range d.Counts {
			sum += n
			c.Parts[i].Total += n
			c.Total += n
		}
		highest = max(highest, sum)
	}
	top := rounded(highest)
	for _, v := range slices.Compact([]int{0, top / 2, top}) {
		c.Lines = append(c.Lines, chartLine{Y: height(v, top), Value: v})
	}
	paths := make([]strings.Builder, len(c.Parts))
	for _, d := range c.Days {
		below := 0
		for i, n := range d.Counts {
			if n > 0 {
				from, to := height(below, top), height(below+n, top)
				fmt.Fprintf(&paths[i], "M%d %dh%dV%dh-%dz", d.X, from, chartBar, to, chartBar)
			}
			below += n
		}
	}
	for i := range c.Parts {
		c.Parts[i].Path = paths[i].String()
	}
}

// height is where a number lies; what is there is seen, however few.
func height(n, top int) int {
	if n == 0 {
		return chartBottom
	}
	return min(chartBottom-1, chartBottom-n*(chartBottom-chartTop)/top)
}

// rounded is the number at the top of the drawing: 2, 4, 10, 20, 40, 100, …
func rounded(n int) int {
	for step := 1; ; step *= 10 {
		for _, m := range []int{2, 4, 10} {
			if n <= m*step {
				return m * step
			}
		}
	}
}
