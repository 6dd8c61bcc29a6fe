package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/store"
	"latchkey/authcore/store/redis"
	"latchkey/configs"
)

// A store that lost what it had acknowledged is used by no node until an operator has decided: first he is told what is
// missing, as far as nodes know, then he types a word. Where no server runs on this node the store is opened without what
// stands on it, for that cannot be read.

// acceptWord is typed by whoever goes on without what is missing.
const acceptWord = "accept"

// errNothingMissing ends the command before anybody is asked.
var errNothingMissing = errors.New("no node misses anything: there is nothing to accept")

// mayRollBack is an engine that notices.
type mayRollBack interface {
	State() redis.State
	AcceptRollback(ctx context.Context) error
}

// acceptRollback is doctor -accept-rollback.
func acceptRollback(ctx context.Context, p program, cfg *configs.Config, sure bool) error {
	if !cfg.Fleet() {
		return misused("-accept-rollback is for engine redis: the embedded store has no other server that could be behind")
	}
	if err := onEngine(ctx, cfg, p, "show"); err != nil {
		return err
	}
	if !sure {
		fmt.Fprintf(p.out, "Type %s to go on without it: ", acceptWord)
		line, err := bufio.NewReader(io.LimitReader(p.in, 1024)).ReadString('\n')
		if strings.TrimSpace(line) != acceptWord {
			return errors.Join(errors.New("nothing was accepted, and the doors stay closed"), notEOF(err))
		}
	}
	return onEngine(ctx, cfg, p, "accept")
}

func notEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// onEngine does one step where the store is: at the running server, or here.
func onEngine(ctx context.Context, cfg *configs.Config, p program, step string) error {
	h := &house{log: newLog(configs.Log{Level: "error", Format: "text"}, io.Discard, newLevel())} // what it finds is told
	err := ownStore(cfg)
	if err == nil {
		h.db, err = h.openEngine(ctx, cfg)
	}
	if isLocked(err) {
		return remotely(ctx, cfg, err, "rollback", []string{step}, nil, p.out)
	}
	if err != nil {
		return err
	}
	missing, err := rollbackStep(ctx, h.db, step, p.out)
	if err = errors.Join(err, h.db.Close()); err != nil || step != "accept" {
		return err
	}
	work := storeWork{"rollback", rollbackWork} // now what stands on the store can be read
	if err := inStore(ctx, cfg, p, work, []string{"record", missing}, nil, p.out); err != nil {
		return fmt.Errorf("it was accepted, and could not be written into the audit: %w", err)
	}
	return nil
}

// rollbackWork is a step at a running server, or the last one of a command that had no server.
func rollbackWork(ctx context.Context, w works, words []string, _ io.Reader, out io.Writer) error {
	switch {
	case len(words) == 2 && words[0] == "record":
		return w.core.RecordRollback(ctx, authcore.CommandActor("doctor"), words[1])
	case len(words) != 1:
		return misused("say show or accept")
	}
	missing, err := rollbackStep(ctx, w.db, words[0], out)
	if err != nil || words[0] != "accept" {
		return err
	}
	if err := w.core.RecordRollback(ctx, authcore.CommandActor("doctor"), missing); err != nil {
		return fmt.Errorf("it was accepted, and could not be written into the audit: %w", err)
	}
	return nil
}

// rollbackStep tells what is missing, or accepts it; it answers it in short, for the audit.
func rollbackStep(ctx context.Context, db engine, step string, out io.Writer) (string, error) {
	e, ok := db.(mayRollBack)
	if !ok {
		return "", errNothingMissing
	}
	alarms := e.State().RolledBack
	if len(alarms) == 0 {
		return "", errNothingMissing
	}
	switch step {
	case "show":
		tellMissing(out, alarms)
		return "", nil
	case "accept":
		if err := e.AcceptRollback(ctx); err != nil {
			return "", fmt.Errorf("accept the rollback (which may be repeated): %w", err)
		}
		fmt.Fprintln(out, "Accepted: all nodes serve again. It stands in the audit of the installation.")
		return missingInShort(alarms), nil
	}
	return "", misused("say show or accept")
}

// tellMissing is what an operator should know before he decides.
func tellMissing(out io.Writer, alarms []redis.Alarm) {
	fmt.Fprintln(out, "The store has lost writes that it had acknowledged. As far as the nodes know:")
	for _, a := range alarms {
		own := "all of them other nodes' writes"
		if a.Own > 0 {
			own = fmt.Sprintf("its own writes in %s", count(a.Own, "group"))
		}
		fmt.Fprintf(out, "  node %s (%s) misses %s at least, in %d of 256 groups of domains, %s, since %s\n    for example: %s\n",
			a.Node, a.ID, count(int(a.Revisions), "write"), a.Groups, own, a.Since.UTC().Format(time.RFC3339), a.Example)
	}
	fmt.Fprint(out, `What these writes were nobody knows: app passwords made since are gone, and what was taken back since (a suspension, a
deleted app password, a changed password) may be good again. If a replica or a file has more than this server, stop here and
bring that one back; docs/fleet.md, "After a rollback", has the steps. There too: what to look at afterwards.
`)
}

func missingInShort(alarms []redis.Alarm) string {
	var l []string
	for _, a := range alarms {
		l = append(l, fmt.Sprintf("node %s: %s in %s", a.Node, count(int(a.Revisions), "write"), count(a.Groups, "group")))
	}
	return strings.Join(l, "; ")
}

// mendRollback says at the key of the store what to do about one that was rolled back.
func mendRollback(err error, cfg *configs.Config) error {
	if !cfg.Fleet() || !errors.Is(err, store.ErrDistrusted) {
		return err
	}
	return cfg.At("store.redis", "the store has lost what it had acknowledged, and no node serves until you have decided: "+
		"latchkey doctor -config %s -accept-rollback says what is missing, and asks (%v)", cfg.Path(), err)
}
