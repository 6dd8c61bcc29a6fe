// Command latchkey is the front door for mail and calendar: `latchkey serve` runs it, `latchkey demo` shows it, the other
// commands look after it. main builds everything, passes it on and owns it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/redis/go-redis/v9"
)

// program is one call of a command with what it may read and write.
type program struct {
	in       io.Reader
	out, err io.Writer
}

type command struct {
	name, use, what string
	run             func(ctx context.Context, p program, args []string) error
}

func commands() []command {
	return []command{
		{"serve", "-config FILE [-takeover]", "run the doors and the API", serveCommand},
		{"demo", "[-data DIR] [-ports auto] [-describe FILE] [-hold DURATION] [-log LEVEL]", "run everything on loopback with people in every state", demoCommand},
		{"check", "-config FILE", "name every mistake in a configuration", checkCommand},
		{"doctor", "-config FILE [-member ADDRESS] [-password-file FILE] [-accept-rollback]", "try every upstream and say what to mend", doctorCommand},
		{"operator", "create|reset -config FILE ADDRESS", "make an operator; let one in who is locked out", operatorCommand},
		{"import", "-config FILE -domain NAME [-format csv|jsonl|passwd] [-dry-run] FILE", "make many members", importCommand},
		{"backup", "-config FILE [-out FILE] [-with-keys FILE] [-passphrase-file FILE]", "write a backup of a running or stopped server", backupCommand},
		{"restore", "-config FILE [-with-keys FILE] [-passphrase-file FILE] FILE", "put a backup into an empty store", restoreCommand},
		{"keys", "list|rotate|drop|export -config FILE [-mac] [-sign] [-dovecot DIR] [ID]", "show, rotate and drop the server keys, or write their public halves", keysCommand},
	}
}

// Exit codes: 1 is a command that could not do its work, 2 one that was called wrongly.
const (
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	redis.SetLogger(silent{})
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, program{in: os.Stdin, out: os.Stdout, err: os.Stderr}, os.Args[1:]))
}

// silent takes what the client of Redis would write to standard error past the log: what matters of it comes as errors.
type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}

func run(ctx context.Context, p program, args []string) int {
	if len(args) == 0 {
		usage(p.err)
		return exitUsage
	}
	name := strings.TrimLeft(args[0], "-")
	if name == "help" || name == "h" {
		usage(p.out)
		return 0
	}
	for _, c := range commands() {
		if c.name != name {
			continue
		}
		err := c.run(ctx, p, args[1:])
		switch {
		case err == nil, errors.Is(err, flag.ErrHelp):
			return 0
		case errors.As(err, new(*usageError)):
			fmt.Fprintf(p.err, "latchkey %s: %v\nusage: latchkey %s %s\n", c.name, err, c.name, c.use)
			return exitUsage
		default:
			fmt.Fprintf(p.err, "latchkey %s: %v\n", c.name, err)
			return exitFailed
		}
	}
	fmt.Fprintf(p.err, "latchkey: there is no command %q\n", args[0])
	usage(p.err)
	return exitUsage
}

func usage(w io.Writer) {
	fmt.Fprintln(w, "Latchkey, the front door for mail and calendar.\n\nusage: latchkey COMMAND [options]")
	fmt.Fprintln(w)
	for _, c := range commands() {
		fmt.Fprintf(w, "  %-9s %s\n            latchkey %s %s\n", c.name, c.what, c.name, c.use)
	}
}

// usageError is a call that the command does not understand.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

func misused(format string, a ...any) error { return &usageError{fmt.Sprintf(format, a...)} }

// flags makes a FlagSet that reports to the program's own streams.
func (p program) flags(name string) *flag.FlagSet {
	f := flag.NewFlagSet("latchkey "+name, flag.ContinueOnError)
	f.SetOutput(p.err)
	return f
}

// parse takes the flags, before or between the other words, which it answers.
func parse(f *flag.FlagSet, args []string) ([]string, error) {
	var words []string
	for {
		if err := f.Parse(args); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				return nil, err
			}
			return nil, misused("%v", err)
		}
		if f.NArg() == 0 {
			return words, nil
		}
		words = append(words, f.Arg(0))
		args = f.Args()[1:]
	}
}
