// Command sizes prints the tail of file and function sizes of the module's own code and fails when one is over its bound.
// Tests, testdata and generated files are not counted: a table of cases may be as long as it needs.
package main

import (
	"bytes"
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// The bounds of the house style: past them a reader loses the thread.
const (
	maxFile     = 600
	maxFunction = 100
	tail        = 8
)

// A size is the length in lines of something that has a name.
type size struct {
	name  string
	lines int
}

func main() {
	files, functions, err := measure(".")
	if err != nil {
		fmt.Fprintln(os.Stderr, "sizes:", err)
		os.Exit(1)
	}
	bad := report("file", files, maxFile) + report("function", functions, maxFunction)
	if bad > 0 {
		fmt.Fprintf(os.Stderr, "sizes: %d over the bound (files %d lines, functions %d)\n", bad, maxFile, maxFunction)
		os.Exit(1)
	}
}

func measure(root string) (files, functions []size, err error) {
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == ".git" || d.Name() == "testdata" || d.Name() == "bin"):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		file, funcs, err := measureFile(path)
		if file.lines > 0 {
			files = append(files, file)
		}
		functions = append(functions, funcs...)
		return err
	})
	return files, functions, err
}

func measureFile(path string) (file size, functions []size, err error) {
	src, err := os.ReadFile(path)
	if err != nil {
		return size{}, nil, err
	}
	fset := token.NewFileSet()
	tree, err := parser.ParseFile(fset, path, src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return size{}, nil, err
	}
	if ast.IsGenerated(tree) {
		return size{}, nil, nil
	}
	for _, decl := range tree.Decls {
		if f, ok := decl.(*ast.FuncDecl); ok {
			lines := fset.Position(f.End()).Line - fset.Position(f.Pos()).Line + 1
			functions = append(functions, size{fmt.Sprintf("%s %s", path, f.Name.Name), lines})
		}
	}
	return size{path, bytes.Count(src, []byte("\n"))}, functions, nil
}

// report prints the distribution and the tail, and returns how many are over the bound.
func report(kind string, sizes []size, bound int) (over int) {
	if len(sizes) == 0 {
		return 0
	}
	slices.SortFunc(sizes, func(a, b size) int { return cmp.Compare(a.lines, b.lines) })
	at := func(percent int) int { return sizes[(len(sizes)-1)*percent/100].lines }
	fmt.Printf("%d %ss: median %d lines, 90%% %d, 99%% %d, most %d\n", len(sizes), kind, at(50), at(90), at(99), at(100))
	for i, s := range slices.Backward(sizes) {
		if s.lines > bound {
			over++
		}
		if i >= len(sizes)-tail || s.lines > bound {
			fmt.Printf("  %4d  %s\n", s.lines, s.name)
		}
	}
	return over
}
