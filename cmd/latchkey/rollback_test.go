package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/audit"
	"latchkey/authcore/store/redistest"
)

// eventually waits for what becomes true within seconds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !holds(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it never came to this: %s", what)
		}
	}
}

// What was flushed closes every node, with words that lead to the command; the command says what is missing, goes on
// after the word was typed, and leaves a trace. With a server on the node, and without one.
func TestPeersAcceptRollback(t *testing.T) {
	t.Parallel()
	for name, running := range map[string]bool{"beside a server": true, "offline": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := redistest.Standalone(t)
			nodes := newFleet(t, 2, standalone(r))
			s := nodes[0]
			ask := func(stdin string, more ...string) called {
				return callWith(t, stdin, append([]string{"doctor", "-config", s.file, "-accept-rollback"}, more...)...)
			}
			if c := ask(""); c.code != exitFailed || !strings.Contains(c.err, "there is nothing to accept") {
				t.Errorf("with nothing missing: exit %d %s", c.code, c.err)
			}
			var mine *process
			if running {
				mine = s.serve()
				nodes[1].serve()
			}
			r.Must(t, "FLUSHALL")
			if running {
				eventually(t, "both nodes are closed", func() bool {
					return strings.Contains(s.signIn("imap", "app-only"), "UNAVAILABLE") && strings.Contains(nodes[1].signIn("imap", "app-only"), "UNAVAILABLE")
				})
				eventually(t, "readiness says so", func() bool {
					_, body := get(t, "http://"+s.addr["ops"]+"/readyz")
					return strings.Contains(body, "has lost what it had acknowledged") && strings.Contains(body, "latchkey doctor -accept-rollback")
				})
				if c := call(t, "doctor", "-config", s.file); c.code != exitFailed || !strings.Contains(c.out, "what was acknowledged is lost: node mx1 misses") {
					t.Errorf("doctor: exit %d\n%s", c.code, c.out)
				}
			} else {
				words := []string{s.file + ":", "store.redis: the store has lost what it had acknowledged", "latchkey doctor -config " + s.file + " -accept-rollback"}
				refused(t, words, "serve", "-config", s.file)
				refused(t, words, "keys", "list", "-config", s.file)
			}
			for _, word := range []string{"", "yes\n", "accepted\n"} {
				c := ask(word)
				if c.code != exitFailed || !strings.Contains(c.err, "nothing was accepted, and the doors stay closed") {
					t.Errorf("%q: exit %d %s", word, c.code, c.err)
				}
				for _, want := range []string{"node mx1 (", "writes at least", "of 256 groups of domains, its own writes in", "may be good again", "Type accept to go on without it"} {
					if !strings.Contains(c.out, want) {
						t.Errorf("%q: does not say %q:\n%s", word, want, c.out)
					}
				}
			}
			c := ask("accept\n")
			if c.code != 0 || !strings.Contains(c.out, "all nodes serve again") {
				t.Fatalf("accept: exit %d\n%s%s", c.code, c.out, c.err)
			}
			if c := ask("", "-yes"); c.code != exitFailed || !strings.Contains(c.err, "there is nothing to accept") {
				t.Errorf("once more: exit %d %s", c.code, c.err)
			}
			if running {
				for _, n := range nodes {
					eventually(t, "every node serves again", func() bool { return strings.HasPrefix(n.signIn("imap", "app-only"), wrong["imap"]) })
				}
				mine.stop()
			}
			s.inStore(func(ctx context.Context, w works) error {
				l, _, err := w.core.InstallationAudit(ctx, authcore.CommandActor("test"), audit.Filter{Actions: []audit.Action{audit.RollbackAccept}}, "", 10)
				if len(l) != 1 || l[0].Actor != "command:doctor" || !strings.Contains(l[0].Detail, "node mx1: ") {
					t.Errorf("the audit has %+v", l)
				}
				return err
			})
		})
	}
}
