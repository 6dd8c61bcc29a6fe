package sasl_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"latchkey/authcore"
	"latchkey/proxy/sasl"
)

var errNoMoreLines = errors.New("no more lines")

// FuzzExchange: whatever lines come, an exchange ends with a clean credential or with one of its errors.
func FuzzExchange(f *testing.F) {
	f.Add("PLAIN", true, b64("\x00ann@new.example\x00pw"))
	f.Add("PLAIN", false, b64("ann\x00ann\x00p\u00e4ss"))
	f.Add("PLAIN", false, b64("\x00ann\x00pw\x00"))
	f.Add("PLAIN", true, "=")
	f.Add("LOGIN", false, b64User+"\n"+b64Pass)
	f.Add("login", true, b64User+"\n"+b64Pass)
	f.Add("LOGIN", false, b64User+"\n*")
	f.Fuzz(func(t *testing.T, mechanism string, at bool, input string) {
		name, m, ok := sasl.New(mechanism)
		if !ok {
			return
		}
		lines := strings.Split(input, "\n")
		var initial []byte
		if at {
			initial, lines = []byte(lines[0]), lines[1:]
		}
		asked := 0
		got, err := sasl.Run(context.Background(), m, initial, func(string) ([]byte, error) {
			if asked++; asked > 2 {
				t.Fatalf("%s asks %d times", name, asked)
			}
			if len(lines) == 0 {
				return nil, errNoMoreLines
			}
			line := lines[0]
			lines = lines[1:]
			return []byte(line), nil
		})
		if err != nil {
			if got != nil || !errors.Is(err, sasl.ErrMalformed) && !errors.Is(err, sasl.ErrCancelled) && !errors.Is(err, errNoMoreLines) {
				t.Fatalf("got %v, %v", got, err)
			}
			return
		}
		p, ok := got.(authcore.Password)
		if !ok || p.UnverifiedName == "" {
			t.Fatalf("got %#v", got)
		}
		for _, part := range []string{p.UnverifiedName, p.AuthorizeAs, p.Secret.Reveal()} {
			if len(part) > 1024 || !utf8.ValidString(part) || strings.ContainsFunc(part, unicode.IsControl) {
				t.Fatalf("credential with %q", part)
			}
		}
	})
}
