// Command latchkey-bench measures Latchkey on this machine, beside nginx's mail proxy and Dovecot's where they are installed,
// and draws the tables and charts of docs/performance.md from what it measured. Whoever doubts a figure there repeats it by
// one command.
//
// It is a process tree of its own: trivial servers behind the doors that let everybody in, nginx's auth service, the
// servers that are compared, and for each measurement a client process, so that the processor time and memory of each are told
// apart. Latchkey is the real program with a store, members and app passwords that were made over its own command and API.
// The servers take turns in every round, so that what else the machine does meets all of them.
//
// It refuses to load anything but loopback, and anything that it has not started itself. Connections, octets, time and
// memory of a load are bounded (load.go); a refused or broken exchange fails its row, for a server that lets nobody in must
// not look fast. All that it starts ends with it, whatever ends it, and its folder is removed unless it is killed outright.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// streams are what a command reads and writes.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// A role is what a process of the bench does. The first is for people, the others are started by it.
type role struct {
	name string
	run  func(ctx context.Context, s streams, args []string) error
}

func roles() []role {
	return []role{
		{"report", reportRole},
		{"backends", backendsRole},
		{"authservice", authServiceRole},
		{"load", loadRole},
	}
}

const usageText = `usage: latchkey-bench [-rows NAMES] [-rounds N] [-short] [-json FILE] [-latchkey PATH] [-only-latchkey]
       latchkey-bench report -in FILE -out DIR
`

// errUsage is a call that the command does not understand; what is wrong was said.
var errUsage = errors.New("see latchkey-bench -h")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	os.Exit(run(ctx, streams{in: os.Stdin, out: os.Stdout, err: os.Stderr}, os.Args[1:]))
}

func run(ctx context.Context, s streams, args []string) int {
	do := measureRole
	if len(args) > 0 {
		for _, r := range roles() {
			if r.name == args[0] {
				do, args = r.run, args[1:]
				break
			}
		}
	}
	err := do(ctx, s, args)
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case errors.Is(err, errUsage):
		fmt.Fprint(s.err, usageText)
		return 2
	}
	fmt.Fprintf(s.err, "latchkey-bench: %v\n", err)
	return 1
}
