package main

import (
	"context"
	"fmt"
	"io"

	"latchkey/authcore"
)

func operatorCommand(ctx context.Context, p program, args []string) error {
	cfg, words, err := p.load("operator", args, nil)
	if err != nil {
		return err
	}
	if len(words) != 2 || words[0] != "create" && words[0] != "reset" {
		return misused("say create or reset, and an address")
	}
	return inStore(ctx, cfg, p, storeWork{"operator", operatorWork}, words, nil, p.out)
}

// operatorWork makes an operator, or lets one in who is locked out (break-glass). It is audited.
func operatorWork(ctx context.Context, w works, words []string, _ io.Reader, out io.Writer) error {
	if len(words) != 2 {
		return misused("say create or reset, and an address")
	}
	a, address := authcore.CommandActor("operator"), words[1]
	if words[0] == "create" {
		temporary, err := w.core.CreateOperator(ctx, a, address)
		if err != nil {
			return plain(err)
		}
		if temporary.Empty() {
			fmt.Fprintf(out, "%s is an operator now.\n", address)
			return nil
		}
		fmt.Fprintf(out, "%s is an operator now.\nTemporary password, good for 72 hours on the web: %s\n", address, temporary.Reveal())
		return nil
	}
	temporary, until, err := w.core.ResetOperator(ctx, a, address)
	if err != nil {
		return plain(err)
	}
	fmt.Fprintf(out, "%s can sign in again.\nTemporary password, good on the web until %s: %s\n", address, until.UTC().Format("2 January 2006 15:04 UTC"), temporary.Reveal())
	return nil
}
