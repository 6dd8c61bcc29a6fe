package redis

import (
	"strconv"
	"sync"

	goredis "github.com/redis/go-redis/v9"
)

// words are the arguments of one command, written one behind the other, so that they take one piece of memory. It is
// used again when the command was answered. One whose caller gave up may still be in a pipeline: its words are left to
// the collector.
type words struct {
	text []byte
	ends []int
	each []word
	args []any
	left bool // owned by the caller of the command
}

// word is an argument. A pointer to it takes no memory where an interface around a string does.
type word []byte

// MarshalBinary keeps encoding.BinaryMarshaler, for the client's writer.
func (w *word) MarshalBinary() ([]byte, error) { return *w, nil }

// add writes one word out of its parts.
func (w *words) add(parts ...string) {
	for _, p := range parts {
		w.text = append(w.text, p...)
	}
	w.end()
}

func (w *words) number(n int64) {
	w.text = strconv.AppendInt(w.text, n, 10)
	w.end()
}

// end ends the word that was written into text.
func (w *words) end() { w.ends = append(w.ends, len(w.text)) }

// behind answers the arguments of a command: the first ones, then the words. They are w's.
func (w *words) behind(first ...any) []any {
	if w.left { // a run before this one may still be read
		w.args, w.each = nil, nil
	}
	w.args, w.each = append(w.args[:0], first...), w.each[:0]
	from := 0
	for _, end := range w.ends {
		w.each = append(w.each, w.text[from:end:end])
		from = end
	}
	for i := range w.each { // they stay where they are now
		w.args = append(w.args, &w.each[i])
	}
	return w.args
}

// leave says that the commands' words may still be read when their caller has gone.
func leave(cmds []goredis.Cmder) {
	for _, cmd := range cmds {
		if c, is := cmd.(*scriptCall); is && c.words != nil {
			c.words.left = true
		}
	}
}

// wordsPool keeps what commands were written in.
type wordsPool struct{ pool sync.Pool }

// The largest that are kept: a usual batch has 1 KiB and twenty words, and one in a thousand a record of a megabyte.
const (
	maxKept      = 8 << 10
	maxKeptWords = 128
)

func (p *wordsPool) get() *words {
	if w, is := p.pool.Get().(*words); is {
		return w
	}
	return &words{text: make([]byte, 0, 1<<10), ends: make([]int, 0, 24), each: make([]word, 0, 24), args: make([]any, 0, 28)}
}

// put takes back the words of a command that was answered, which nobody reads any more.
func (p *wordsPool) put(w *words) {
	if w.left || cap(w.text) > maxKept || cap(w.args) > maxKeptWords {
		return
	}
	w.text, w.ends = w.text[:0], w.ends[:0]
	p.pool.Put(w)
}
