package configs

import (
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// reader takes a YAML document into a struct, key by key, so that every mistake is found and every key has its line.
// The library's own strict decoding stops at the first, takes 2 for two nanoseconds and 5 for a text.
type reader struct {
	file     string
	lines    map[string]int // of every key, by its path
	mistakes Mistakes
}

func (r *reader) bad(line int, key, format string, a ...any) {
	r.mistakes = append(r.mistakes, Mistake{File: r.file, Line: line, Key: key, Text: fmt.Sprintf(format, a...)})
}

// read answers false where p is no YAML: then nothing can be said about its keys.
func (r *reader) read(p []byte, into any) bool {
	f, err := parse(p)
	if err != nil {
		line, text := 0, err.Error()
		var se *yaml.SyntaxError
		if errors.As(err, &se) {
			text = se.Message
			if se.Token != nil {
				line = se.Token.Position.Line
			}
		}
		r.bad(line, "", "is not YAML: %s", text)
		return false
	}
	docs := slices.DeleteFunc(slices.Clone(f.Docs), func(d *ast.DocumentNode) bool { return d.Body == nil })
	switch len(docs) {
	case 0:
		r.bad(0, "", "is empty: see latchkey.yaml, which shows every key")
		return false
	case 1:
		if _, ok := pairs(docs[0].Body); !ok {
			r.bad(lineOf(docs[0].Body), "", "must be keys with values, is %s", show(docs[0].Body))
			return false
		}
		r.value(docs[0].Body, reflect.ValueOf(into).Elem(), "")
		return true
	default:
		r.bad(lineOf(docs[1].Body), "", "is a second document: keep one")
		return false
	}
}

// parse turns a panic of the library, which garbled text can cause, into an error.
func parse(p []byte) (f *ast.File, err error) {
	defer func() {
		if x := recover(); x != nil {
			f, err = nil, errors.New("the text confuses the parser: look for stray brackets, quotes and colons")
		}
	}()
	return parser.ParseBytes(p, 0, parser.AllowDuplicateMapKey()) // duplicates are told with all other mistakes
}

// lineOf is where a node begins.
func lineOf(n ast.Node) int {
	if n == nil || n.GetToken() == nil {
		return 0
	}
	return n.GetToken().Position.Line
}

// value reads one node. A key with nothing behind it is as good as left out.
func (r *reader) value(n ast.Node, v reflect.Value, key string) {
	switch n.(type) {
	case nil, *ast.NullNode:
		return
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode:
		r.bad(lineOf(n), key, "is an anchor, an alias or a tag: write the value itself")
		return
	}
	switch {
	case isWord(v.Type()):
		r.word(n, v, key)
	case v.Kind() == reflect.Struct:
		r.fields(n, v, key)
	case v.Kind() == reflect.Map:
		r.entries(n, v, key)
	default:
		r.items(n, v, key)
	}
}

// pairs answers the entries of a mapping, whichever way the parser put it.
func pairs(n ast.Node) ([]*ast.MappingValueNode, bool) {
	switch m := n.(type) {
	case *ast.MappingNode:
		return m.Values, true
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{m}, true
	default:
		return nil, false
	}
}

// nameOf is a mapping's key as it stands in the file.
func nameOf(p *ast.MappingValueNode) string {
	if s, ok := p.Key.(*ast.StringNode); ok {
		return s.Value
	}
	return p.Key.GetToken().Value
}

func join(key, name string) string {
	if key == "" {
		return name
	}
	return key + "." + name
}

func (r *reader) fields(n ast.Node, v reflect.Value, key string) {
	l, ok := pairs(n)
	if !ok {
		r.bad(lineOf(n), key, "must be keys with values, is %s", show(n))
		return
	}
	fields := keysOf(v.Type())
	seen := map[string]bool{}
	for _, p := range l {
		name, line := nameOf(p), lineOf(p.Key)
		at := join(key, name)
		i, known := fields[name]
		switch {
		case !known:
			r.bad(line, at, "is not known here: %s", nearest(name, names(fields)))
		case seen[name]:
			r.bad(line, at, "stands twice, first in line %d: keep one", r.lines[at])
		default:
			seen[name] = true
			r.lines[at] = line
			r.value(p.Value, v.Field(i), at)
		}
	}
}

// keysOf answers the index of each field that is a key.
func keysOf(t reflect.Type) map[string]int {
	keys := map[string]int{}
	for i := range t.NumField() {
		if name := t.Field(i).Tag.Get("yaml"); name != "" {
			keys[name] = i
		}
	}
	return keys
}

func names(fields map[string]int) []string {
	l := make([]string, 0, len(fields))
	for name := range fields {
		l = append(l, name)
	}
	slices.Sort(l)
	return l
}

func (r *reader) entries(n ast.Node, v reflect.Value, key string) {
	l, ok := pairs(n)
	if !ok {
		r.bad(lineOf(n), key, "must be names with keys below them, is %s", show(n))
		return
	}
	v.Set(reflect.MakeMap(v.Type()))
	for _, p := range l {
		name, line := nameOf(p), lineOf(p.Key)
		at := join(key, name)
		if v.MapIndex(reflect.ValueOf(name)).IsValid() {
			r.bad(line, at, "stands twice, first in line %d: keep one", r.lines[at])
			continue
		}
		r.lines[at] = line
		e := reflect.New(v.Type().Elem()).Elem()
		r.value(p.Value, e, at)
		v.SetMapIndex(reflect.ValueOf(name), e)
	}
}

func (r *reader) items(n ast.Node, v reflect.Value, key string) {
	s, ok := n.(*ast.SequenceNode)
	if !ok {
		r.bad(lineOf(n), key, "must be a list, is %s", show(n))
		return
	}
	for i, it := range s.Values {
		at := fmt.Sprintf("%s[%d]", key, i)
		r.lines[at] = lineOf(it)
		e := reflect.New(v.Type().Elem()).Elem()
		r.value(it, e, at)
		v.Set(reflect.Append(v, e))
	}
}
