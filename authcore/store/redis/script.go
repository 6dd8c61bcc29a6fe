package redis

import (
	"context"
	"crypto/sha1" // what EVALSHA names a script by
	"encoding/hex"

	goredis "github.com/redis/go-redis/v9"
)

// script is a Lua script with its hash. It never changes.
type script struct {
	source, hash string
	answers      int // bytes that it may answer, about, where that is much
}

func newScript(source string) *script {
	sum := sha1.Sum([]byte(source))
	return &script{source: source, hash: hex.EncodeToString(sum[:])}
}

func (s *script) answering(bytes int) *script {
	return &script{source: s.source, hash: s.hash, answers: bytes}
}

// scriptCall is a command that runs a script: by its hash, until a server says that it does not know it.
type scriptCall struct {
	*goredis.Cmd
	script *script
	words  *words // nil: its arguments are the collector's
}

// call prepares a run of the script. Every key that it touches must be in keys, all of one group.
func (s *script) call(ctx context.Context, keys []string, args ...any) *scriptCall {
	all := make([]any, 0, 3+len(keys)+len(args))
	all = append(all, "evalsha", &s.hash, len(keys))
	for i := range keys {
		all = append(all, &keys[i])
	}
	return &scriptCall{Cmd: goredis.NewCmd(ctx, append(all, args...)...), script: s}
}

// run prepares a run with the first n of w as keys. w is the call's until it was answered.
func (s *script) run(ctx context.Context, n int, w *words) *scriptCall {
	return &scriptCall{Cmd: goredis.NewCmd(ctx, w.behind("evalsha", &s.hash, n)...), script: s, words: w}
}

// sendSources makes the scripts among cmds run by their source, which a server then knows.
func sendSources(cmds []goredis.Cmder) {
	for _, cmd := range cmds {
		if c, is := cmd.(*scriptCall); is {
			args := c.Args() // the command's own
			args[0], args[1] = "eval", c.script.source
		}
	}
}
