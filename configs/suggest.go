package configs

import (
	"fmt"
	"strings"
)

// nearest names the known key that is most like a mistyped one, or all of them.
func nearest(name string, known []string) string {
	best, at := "", 3 // farther away it would be a guess
	for _, n := range known {
		if d := distance(name, n); d < at && d < len(n) {
			best, at = n, d
		}
	}
	if best != "" {
		return fmt.Sprintf("did you mean %q?", best)
	}
	return "use " + strings.Join(known, ", ")
}

// distance is how many letters must be put in, taken out or changed (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := before
			if a[i] != b[j] {
				cost++
			}
			before = row[j+1]
			row[j+1] = min(cost, row[j+1]+1, row[j]+1)
		}
	}
	return row[len(b)]
}
