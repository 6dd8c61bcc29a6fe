package latchkey_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"math"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// docs/scale.md reckons: its first table holds the inputs, and each row of the others a formula and what comes of it. Here
// it is reckoned again. With LATCHKEY_FILL=1 the results are written into the page: for whoever has changed an input.

const scalePage = "docs/scale.md"

// figures are values by name: inputs, and what came of the rows above.
type figures map[string]float64

var (
	inputRow   = regexp.MustCompile("^\\| `([a-z_]+)` \\| ([0-9][0-9 .]*) \\|")
	formulaRow = regexp.MustCompile("^\\| `([a-z_]+) = ([^`]+)` \\|")
	columnOf   = regexp.MustCompile(`^([a-z_]+) = ([0-9][0-9 .]*)$`)
)

func parseFigure(t *testing.T, s string) float64 {
	t.Helper()
	v, err := strconv.ParseFloat(strings.ReplaceAll(strings.TrimSpace(s), " ", ""), 64)
	if err != nil {
		t.Fatalf("%s: %q is no figure", scalePage, s)
	}
	return v
}

// evaluate reckons a formula of figures, + - * /, ceil, max and min.
func (f figures) evaluate(e ast.Expr) (float64, error) {
	switch e := e.(type) {
	case *ast.ParenExpr:
		return f.evaluate(e.X)
	case *ast.BasicLit:
		return strconv.ParseFloat(e.Value, 64)
	case *ast.Ident:
		v, ok := f[e.Name]
		if !ok {
			return 0, fmt.Errorf("%s is not known here", e.Name)
		}
		return v, nil
	case *ast.BinaryExpr:
		a, err := f.evaluate(e.X)
		if err != nil {
			return 0, err
		}
		b, err := f.evaluate(e.Y)
		if err != nil {
			return 0, err
		}
		return operate(e.Op, a, b)
	case *ast.CallExpr:
		return f.call(e)
	}
	return 0, fmt.Errorf("%T is no arithmetic", e)
}

func operate(op token.Token, a, b float64) (float64, error) {
	switch op {
	case token.ADD:
		return a + b, nil
	case token.SUB:
		return a - b, nil
	case token.MUL:
		return a * b, nil
	case token.QUO:
		return a / b, nil
	}
	return 0, fmt.Errorf("%s is no operator here", op)
}

func (f figures) call(e *ast.CallExpr) (float64, error) {
	var args []float64
	for _, x := range e.Args {
		v, err := f.evaluate(x)
		if err != nil {
			return 0, err
		}
		args = append(args, v)
	}
	name, _ := e.Fun.(*ast.Ident)
	switch {
	case name == nil || len(args) == 0:
	case name.Name == "ceil":
		return math.Ceil(args[0] - 1e-9), nil // 3.0000000001 is 3
	case name.Name == "max":
		return slices.Max(args), nil
	case name.Name == "min":
		return slices.Min(args), nil
	}
	return 0, fmt.Errorf("no such function")
}

// shown is a figure as the page has it: counts whole, all others with two digits that count.
func shown(v float64, formula string) string {
	if !strings.HasPrefix(formula, "ceil(") && v != 0 {
		unit := math.Pow(10, math.Floor(math.Log10(math.Abs(v)))-1)
		v = math.Round(v/unit) * unit
		if unit < 1 {
			return strconv.FormatFloat(v, 'f', int(math.Round(-math.Log10(unit))), 64)
		}
	}
	digits := strconv.FormatFloat(v, 'f', 0, 64)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + " " + digits[i:]
	}
	return digits
}

// column is what the columns of a table stand for.
type column struct {
	name  string  // of what differs from column to column; empty: nothing
	value float64 // of that
	known figures // what came of the rows above
}

func columnsOf(t *testing.T, header []string, inputs figures) (l []column) {
	for _, h := range header {
		c := column{known: figures{}}
		if m := columnOf.FindStringSubmatch(h); m != nil {
			c.name, c.value = m[1], parseFigure(t, m[2])
		}
		for k, v := range inputs {
			c.known[k] = v
		}
		if c.name != "" {
			c.known[c.name] = c.value
		}
		l = append(l, c)
	}
	return l
}

func cells(row string) []string {
	l := strings.Split(strings.Trim(row, "|"), "|")
	for i := range l {
		l[i] = strings.TrimSpace(l[i])
	}
	return l
}

// scale is the page on its way through the test.
type scale struct {
	t       *testing.T
	lines   []string
	inputs  figures
	columns []column
	rows    int
}

// Every figure of docs/scale.md that has a formula is what comes of it.
func TestScalePageReckons(t *testing.T) {
	p, err := os.ReadFile(scalePage)
	if err != nil {
		t.Fatal(err)
	}
	s := &scale{t: t, lines: strings.Split(string(p), "\n"), inputs: figures{}}
	for i, line := range s.lines {
		if m := inputRow.FindStringSubmatch(line); m != nil {
			s.inputs[m[1]] = parseFigure(t, m[2])
		}
		if strings.HasPrefix(line, "| formula |") {
			s.columns = columnsOf(t, cells(line)[3:], s.inputs)
		}
		if m := formulaRow.FindStringSubmatch(line); m != nil {
			s.lines[i] = s.row(line, m[1], m[2])
		}
	}
	if len(s.inputs) < 10 || s.rows < 20 {
		t.Fatalf("only %d inputs and %d formulas were found", len(s.inputs), s.rows)
	}
	s.limitsInOrder()
	if os.Getenv("LATCHKEY_FILL") != "" {
		if err := os.WriteFile(scalePage, []byte(strings.Join(s.lines, "\n")), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// row reckons one, and answers it as it should be.
func (s *scale) row(line, name, formula string) string {
	s.rows++
	e, err := parser.ParseExpr(formula)
	if err != nil {
		s.t.Fatalf("%s: %s: %v", name, formula, err)
	}
	l := cells(line)
	for i, c := range s.columns {
		v, err := c.known.evaluate(e)
		if err != nil {
			s.t.Fatalf("%s = %s: %v", name, formula, err)
		}
		c.known[name] = v
		want := shown(v, formula)
		if got := l[3+i]; got != want && os.Getenv("LATCHKEY_FILL") == "" {
			s.t.Errorf("%s: %s = %s is %s, the page says %s: LATCHKEY_FILL=1 go test -run ScalePage . writes it", scalePage, name, formula, want, got)
		}
		l[3+i] = want
	}
	return "| " + strings.Join(l, " | ") + " |"
}

// limitsInOrder wants the list of limits to begin with the one that is met first.
func (s *scale) limitsInOrder() {
	_, table, ok := strings.Cut(strings.Join(s.lines, "\n"), "## What comes first")
	table, _, _ = strings.Cut(table, "\n## ")
	last, n := 0.0, 0
	for line := range strings.Lines(table) {
		if formulaRow.MatchString(line) {
			v := parseFigure(s.t, cells(strings.TrimSpace(line))[3])
			if v < last {
				s.t.Errorf("%s: %s comes before what stands above it: put the rows in order", scalePage, cells(line)[0])
			}
			last = v
			n++
		}
	}
	if !ok || n < 5 {
		s.t.Errorf("%s: only %d limits were found", scalePage, n)
	}
}

// What the page takes from the kernel and from the units is what stands there.
func TestScalePageInputs(t *testing.T) {
	for input, from := range map[string]string{"unit_files": "configs/systemd/latchkey.service", "fleet_files": "configs/systemd/fleet.conf"} {
		m := regexp.MustCompile("\\| `" + input + "` \\| ([0-9 ]+) \\|").FindStringSubmatch(read(t, scalePage))
		if m == nil || !strings.Contains(read(t, from), "LimitNOFILE="+strings.ReplaceAll(m[1], " ", "")) {
			t.Errorf("%s is not what %s has", input, from)
		}
	}
}

// The reckoning itself.
func TestFormulas(t *testing.T) {
	f := figures{"a": 7, "b": 2}
	for formula, want := range map[string]string{
		"a / b": "3.5", "ceil(a / b)": "4", "a + b * 100": "210", "(a + b) * 100": "900", "max(a, b, 9)": "9.0", "min(a, b)": "2.0",
		"a * 1e6": "7 000 000", "ceil(a * 12345.6)": "86 420", "a / 1000": "0.0070", "a - a": "0",
	} {
		e, err := parser.ParseExpr(formula)
		if err != nil {
			t.Fatal(err)
		}
		v, err := f.evaluate(e)
		if got := shown(v, formula); err != nil || got != want {
			t.Errorf("%s: got %s, %v, want %s", formula, got, err, want)
		}
	}
	for _, wrong := range []string{"c", "a % b", "sqrt(a)", "\"a\"", "ceil()"} {
		if e, err := parser.ParseExpr(wrong); err == nil {
			if v, err := f.evaluate(e); err == nil {
				t.Errorf("%s is taken for %v", wrong, v)
			}
		}
	}
}
