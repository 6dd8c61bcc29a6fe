package proxytest

import (
	"encoding/base64"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// script is a parsed file.
type script struct {
	file     string
	settings *Settings
	people   []step // PERSON
	steps    []step
}

// step is one line.
type step struct {
	line int
	verb string // "C:", "S~", "TLS", …
	rest string
}

func readScript(t testing.TB, file string) *script {
	t.Helper()
	p, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s, err := parse(file, string(p))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func parse(file, text string) (*script, error) {
	s := &script{file: file, settings: newSettings()}
	for i, line := range strings.Split(text, "\n") {
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if err := s.add(parseStep(i+1, line)); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", file, i+1, err)
		}
	}
	if len(s.steps) == 0 {
		return nil, fmt.Errorf("%s: no steps", file)
	}
	return s, nil
}

// parseStep splits at the first space: what follows belongs to the line, spaces and all.
func parseStep(n int, line string) step {
	verb, rest, _ := strings.Cut(line, " ")
	return step{line: n, verb: verb, rest: rest}
}

func (s *script) add(st step) error {
	switch {
	case st.verb == "SET" || st.verb == "PERSON":
		if len(s.steps) > 0 {
			return fmt.Errorf("%s after the first step", st.verb)
		}
		if st.verb == "SET" {
			return s.settings.set(st.rest)
		}
		s.people = append(s.people, st)
	case isTalk(st.verb) || words[st.verb] != nil:
		s.steps = append(s.steps, st)
	default:
		return fmt.Errorf("%q is not a step", st.verb)
	}
	return nil
}

// isTalk says whether verb is one of C: C+ C> S: S~ S> and the same with U and V.
func isTalk(verb string) bool {
	if len(verb) != 2 {
		return false
	}
	switch verb[0] {
	case 'C', 'U':
		return strings.Contains(":+>", verb[1:])
	case 'S', 'V':
		return strings.Contains(":~>", verb[1:])
	}
	return false
}

var b64 = regexp.MustCompile(`\{b64 ("(?:[^"\\]|\\.)*")\}`)

// expand puts the base64 of {b64 "…"} in its place.
func expand(line string) (string, error) {
	var failed error
	line = b64.ReplaceAllStringFunc(line, func(m string) string {
		plain, err := strconv.Unquote(b64.FindStringSubmatch(m)[1])
		if err != nil {
			failed = fmt.Errorf("%s: %w", m, err)
		}
		return base64.StdEncoding.EncodeToString([]byte(plain))
	})
	return line, failed
}

// octets reads Go strings, each perhaps with *times behind it.
func octets(rest string) (string, error) {
	var b strings.Builder
	for rest = strings.TrimSpace(rest); rest != ""; rest = strings.TrimSpace(rest) {
		quoted, err := strconv.QuotedPrefix(rest)
		if err != nil {
			return "", fmt.Errorf("not a Go string: %s", rest)
		}
		part, err := strconv.Unquote(quoted)
		if err != nil {
			return "", fmt.Errorf("%s: %w", quoted, err)
		}
		rest = rest[len(quoted):]
		times := 1
		if strings.HasPrefix(rest, "*") {
			var number string
			number, rest, _ = strings.Cut(rest[1:], " ")
			if times, err = strconv.Atoi(number); err != nil || times < 0 {
				return "", fmt.Errorf("not a number: %s", number)
			}
		}
		b.WriteString(strings.Repeat(part, times))
	}
	return b.String(), nil
}

// fields splits at spaces; a field in Go quotes may hold some.
func fields(rest string) ([]string, error) {
	var out []string
	for rest = strings.TrimSpace(rest); rest != ""; rest = strings.TrimSpace(rest) {
		if rest[0] != '"' {
			var f string
			f, rest, _ = strings.Cut(rest, " ")
			out = append(out, f)
			continue
		}
		quoted, err := strconv.QuotedPrefix(rest)
		if err != nil {
			return nil, fmt.Errorf("not a Go string: %s", rest)
		}
		f, err := strconv.Unquote(quoted)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", quoted, err)
		}
		out, rest = append(out, f), rest[len(quoted):]
	}
	return out, nil
}
