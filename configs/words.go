package configs

import (
	"encoding"
	"fmt"
	"reflect"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// isWord says that a value is written as one word: a text, a number, an instant, a network.
func isWord(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.String, reflect.Bool, reflect.Int, reflect.Int64:
		return true
	default:
		return reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
	}
}

// word sets v, or says what it must be.
func (r *reader) word(n ast.Node, v reflect.Value, key string) {
	if !set(n, v) {
		r.bad(lineOf(n), key, "must be %s, is %s", describe(v.Type()), show(n))
	}
}

func set(n ast.Node, v reflect.Value) bool {
	if d, ok := v.Addr().Interface().(*time.Duration); ok {
		text, _ := textOf(n)
		var err error
		*d, err = time.ParseDuration(text) // no text is no duration
		return err == nil
	}
	switch v.Kind() {
	case reflect.String:
		text, ok := textOf(n)
		v.SetString(text)
		return ok
	case reflect.Bool:
		b, ok := n.(*ast.BoolNode)
		if ok {
			v.SetBool(b.Value)
		}
		return ok
	case reflect.Int:
		return setInt(n, v)
	}
	text, ok := textOf(n)
	if u, is := v.Addr().Interface().(encoding.TextUnmarshaler); ok && is {
		return u.UnmarshalText([]byte(text)) == nil
	}
	return false
}

func textOf(n ast.Node) (string, bool) {
	switch s := n.(type) {
	case *ast.StringNode:
		return s.Value, true
	case *ast.LiteralNode:
		return s.Value.Value, true
	default:
		return "", false
	}
}

func setInt(n ast.Node, v reflect.Value) bool {
	i, ok := n.(*ast.IntegerNode)
	if !ok {
		return false
	}
	switch x := i.Value.(type) {
	case int64:
		v.SetInt(x)
	case uint64:
		v.SetInt(int64(x))
		return x < 1<<63
	default:
		return false
	}
	return true
}

func describe(t reflect.Type) string {
	switch t {
	case reflect.TypeFor[time.Duration]():
		return "a duration like 30s or 5m"
	case reflect.TypeFor[time.Time]():
		return "an instant like 2022-10-13T00:00:00+09:00"
	}
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Int:
		return "a whole number"
	case reflect.String:
		return "a text (in quotes, where it looks like something else)"
	default:
		return "a network like 192.0.2.0/24"
	}
}

// show says in few words what stands in the file.
func show(n ast.Node) string {
	switch s := n.(type) {
	case *ast.SequenceNode:
		return "a list"
	case *ast.MappingNode, *ast.MappingValueNode:
		return "keys with values"
	case *ast.StringNode:
		return clip(fmt.Sprintf("%q", s.Value))
	case *ast.LiteralNode:
		return "several lines"
	default:
		return clip(n.GetToken().Value)
	}
}

// clip keeps a message on its line.
func clip(s string) string {
	const most = 60
	if len(s) <= most {
		return s
	}
	return s[:most] + "…"
}
