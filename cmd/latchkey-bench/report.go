package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

// reportRole draws what a run has written: charts into DIR/pictures, and tables into the marked part of DIR/performance.md.
// The file itself is put beside them, so that a reader sees every round.
func reportRole(_ context.Context, s streams, args []string) error {
	f := flag.NewFlagSet("latchkey-bench report", flag.ContinueOnError)
	f.SetOutput(s.err)
	in := f.String("in", "", "`file` that a run wrote with -json")
	out := f.String("out", "", "`folder` with performance.md, such as docs")
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return errUsage
	}
	if *in == "" || *out == "" || f.NArg() > 0 {
		return errUsage
	}
	r, err := readResults(*in)
	if err != nil {
		return err
	}
	return r.report(*out)
}

// dataFile is where the figures of every round go.
const dataFile = "performance.json"

func (r results) report(dir string) error {
	page := filepath.Join(dir, "performance.md")
	old, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	text, ok := replaceBlock(string(old), r.markdown())
	if !ok {
		return fmt.Errorf("%s has no part between %q and %q", page, blockBegins, blockEnds)
	}
	if err := os.MkdirAll(filepath.Join(dir, "pictures"), 0o755); err != nil {
		return err
	}
	for _, c := range charts() {
		if err := os.WriteFile(filepath.Join(dir, c.file), []byte(c.svg(r)), 0o644); err != nil {
			return err
		}
	}
	if err := r.write(filepath.Join(dir, dataFile)); err != nil {
		return err
	}
	return os.WriteFile(page, []byte(text), 0o644)
}
