package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"
)

// options are the flags of a measurement.
type options struct {
	rows     string
	rounds   int
	short    bool
	json     string
	latchkey string
	alone    bool
	part     scale // of tests; zero: as short says
}

func (o options) scale() scale {
	if o.part > 0 {
		return o.part
	}
	if o.short {
		return shortScale
	}
	return wholeScale
}

// Bounds of the flags: what a row takes is bounded in rows.go.
const maxRounds = 50

func parseOptions(s streams, args []string) (options, error) {
	var o options
	f := flag.NewFlagSet("latchkey-bench", flag.ContinueOnError)
	f.SetOutput(s.err)
	f.Usage = func() {
		fmt.Fprint(s.err, usageText)
		f.PrintDefaults()
		fmt.Fprintln(s.err, "\nrows:")
		for _, r := range rows() {
			fmt.Fprintf(s.err, "  %-10s %s\n", r.name, r.title)
		}
	}
	f.StringVar(&o.rows, "rows", "", "`names` of rows, with commas; empty: all")
	f.IntVar(&o.rounds, "rounds", 3, "rounds, in which the servers take turns")
	f.BoolVar(&o.short, "short", false, "a tenth of the time and of the sessions: shows that all works, and measures nothing well")
	f.StringVar(&o.json, "json", "", "`file` for every figure of every round")
	f.StringVar(&o.latchkey, "latchkey", "", "the `program` latchkey; empty: beside this one, or built")
	f.BoolVar(&o.alone, "only-latchkey", false, "leave the others out")
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return o, err
		}
		return o, errUsage
	}
	if f.NArg() > 0 || o.rounds < 1 || o.rounds > maxRounds {
		fmt.Fprintf(s.err, "latchkey-bench: rounds are 1 to %d, and nothing stands alone\n", maxRounds)
		return o, errUsage
	}
	return o, nil
}

var errFailedRows = errors.New("rows failed")

// measureRole measures and prints; it is what people call.
func measureRole(ctx context.Context, s streams, args []string) (err error) {
	o, err := parseOptions(s, args)
	if err != nil {
		return err
	}
	chosen, err := chooseRows(o.rows)
	if err != nil {
		return err
	}
	if runtime.GOOS != "linux" {
		return errors.New("it reads /proc of Linux")
	}
	r, err := measure(ctx, s, o, chosen)
	if err != nil && len(r.Rows) == 0 {
		return err
	}
	fmt.Fprint(s.out, r.text())
	if o.json != "" {
		err = errors.Join(err, r.write(o.json))
	}
	if failed := r.failed(); len(failed) > 0 {
		err = errors.Join(err, fmt.Errorf("%w: %s", errFailedRows, strings.Join(failed, ", ")))
	}
	return err
}

// measure sets everything up, goes through the rows, and takes everything away again, whatever happens.
func measure(ctx context.Context, s streams, o options, chosen []row) (r results, err error) {
	began := time.Now()
	b, err := newBench(ctx, s, o)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	r = results{Format: resultsFormat, Began: began.UTC().Truncate(time.Second), Machine: b.machine, Rounds: o.rounds, Short: o.short, Missing: b.missing}
	if err := b.prepare(ctx, chosen); err != nil {
		return r, err
	}
	for i, row := range chosen {
		fmt.Fprintf(s.err, "%s  %2d of %d  %s\n", stamp(began), i+1, len(chosen), row.title)
		r.Rows = append(r.Rows, b.row(ctx, row))
		if ctx.Err() != nil {
			break
		}
	}
	r.Seconds = time.Since(began).Round(time.Second).Seconds()
	return r, context.Cause(ctx)
}

// stamp is the time since the beginning.
func stamp(began time.Time) string {
	d := time.Since(began).Round(time.Second)
	return fmt.Sprintf("%3d:%02d", int(d.Minutes()), int(d.Seconds())%60)
}

func (r results) write(file string) error {
	text, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(text, '\n'), 0o644)
}
