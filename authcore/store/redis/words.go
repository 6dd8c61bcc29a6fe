package redis

import (
	"strconv"
	"sync"
)

// words are the arguments of one command, written one behind the other, so that they take one piece of memory.
type words struct {
	text []byte
	ends []int
}

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

// wordsPool keeps what commands were written in.
type wordsPool struct{ pool sync.Pool }

// maxKept is the largest that is kept: a usual batch has 1 KiB, and one in a thousand a record of a megabyte.
const maxKept = 8 << 10

func (p *wordsPool) get() *words {
	if w, is := p.pool.Get().(*words); is {
		return w
	}
	return &words{text: make([]byte, 0, 2<<10), ends: make([]int, 0, 32)}
}

// onto appends copies of the words to the arguments of a command, and takes w back. They are pointers, for a string in
// an interface is one more piece of memory.
func (p *wordsPool) onto(args []any, w *words) []any {
	all, each, from := string(w.text), make([]string, len(w.ends)), 0
	for i, end := range w.ends {
		each[i] = all[from:end]
		args = append(args, &each[i])
		from = end
	}
	if cap(w.text) <= maxKept {
		w.text, w.ends = w.text[:0], w.ends[:0]
		p.pool.Put(w)
	}
	return args
}
