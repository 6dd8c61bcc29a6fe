package sasl_test

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"latchkey/authcore"
	"latchkey/proxy/sasl"
)

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// exchange runs a mechanism against the lines that a client sends; it answers the challenges too.
func exchange(t testing.TB, mechanism string, initial []byte, lines ...string) (authcore.Credential, []string, error) {
	t.Helper()
	_, m, ok := sasl.New(mechanism)
	if !ok {
		t.Fatalf("no mechanism %s", mechanism)
	}
	var challenges []string
	c, err := sasl.Run(context.Background(), m, initial, func(challenge string) ([]byte, error) {
		challenges = append(challenges, challenge)
		if len(lines) == 0 {
			return nil, io.EOF
		}
		line := lines[0]
		lines = lines[1:]
		return []byte(line), nil
	})
	return c, challenges, err
}

func TestCredentials(t *testing.T) {
	const user, pass = b64User, b64Pass
	for name, c := range map[string]struct {
		mechanism  string
		initial    []byte // nil: none
		lines      []string
		challenges []string
		as         string
		name       string
		secret     string
	}{
		"PLAIN asked for":              {"PLAIN", nil, []string{b64("\x00ann@new.example\x00pw")}, []string{""}, "", "ann@new.example", "pw"},
		"PLAIN at once":                {"plain", []byte(b64("\x00ann@new.example\x00pw")), nil, nil, "", "ann@new.example", "pw"},
		"PLAIN with an identity":       {"PLAIN", []byte(b64("ann@new.example\x00ann\x00pw")), nil, nil, "ann@new.example", "ann", "pw"},
		"PLAIN beyond ASCII":           {"PLAIN", []byte(b64("\x00ann\x00p\u00e4ss\u200bw\U0001f511")), nil, nil, "", "ann", "p\u00e4ss\u200bw\U0001f511"},
		"PLAIN with an empty secret":   {"PLAIN", []byte(b64("\x00ann\x00")), nil, nil, "", "ann", ""},
		"PLAIN with the longest parts": {"PLAIN", []byte(b64(long(1024) + "\x00" + long(1024) + "\x00" + long(1024))), nil, nil, long(1024), long(1024), long(1024)},
		"LOGIN":                        {"LOGIN", nil, []string{user, pass}, []string{b64("Username:"), b64("Password:")}, "", "ann@new.example", "pw and more"},
		"LOGIN with the name at once":  {"Login", []byte(user), []string{pass}, []string{b64("Password:")}, "", "ann@new.example", "pw and more"},
		"LOGIN with an empty secret":   {"LOGIN", nil, []string{user, ""}, []string{b64("Username:"), b64("Password:")}, "", "ann@new.example", ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, challenges, err := exchange(t, c.mechanism, c.initial, c.lines...)
			if err != nil {
				t.Fatal(err)
			}
			p, ok := got.(authcore.Password)
			if !ok || p.UnverifiedName != c.name || p.AuthorizeAs != c.as || p.Secret.Reveal() != c.secret {
				t.Errorf("got %q as %q with %q, want %q as %q with %q", p.UnverifiedName, p.AuthorizeAs, p.Secret.Reveal(), c.name, c.as, c.secret)
			}
			if !slices.Equal(challenges, c.challenges) {
				t.Errorf("challenges %q, want %q", challenges, c.challenges)
			}
		})
	}
}

const (
	b64User = "YW5uQG5ldy5leGFtcGxl" // ann@new.example
	b64Pass = "cHcgYW5kIG1vcmU="     // pw and more
)

func long(n int) string { return strings.Repeat("a", n) }

func TestMalformed(t *testing.T) {
	plain := func(message string) []string { return []string{b64(message)} }
	for name, c := range map[string]struct {
		mechanism string
		initial   []byte
		lines     []string
	}{
		"no NUL":                        {"PLAIN", nil, plain("annpw")},
		"one NUL":                       {"PLAIN", nil, plain("ann\x00pw")},
		"three NULs":                    {"PLAIN", nil, plain("\x00ann\x00pw\x00")},
		"NUL in the secret":             {"PLAIN", nil, plain("\x00ann\x00p\x00w")},
		"no name":                       {"PLAIN", nil, plain("ann\x00\x00pw")},
		"empty message":                 {"PLAIN", nil, []string{""}},
		"empty message at once":         {"PLAIN", []byte("="), nil},
		"nothing where = belongs":       {"PLAIN", []byte{}, nil},
		"= later on":                    {"PLAIN", nil, []string{"="}},
		"CR LF in the name":             {"PLAIN", nil, plain("\x00ann\r\nx\x00pw")},
		"LF in the secret":              {"PLAIN", nil, plain("\x00ann\x00p\nw")},
		"control in the identity":       {"PLAIN", nil, plain("a\x01nn\x00ann\x00pw")},
		"DEL":                           {"PLAIN", nil, plain("\x00ann\x00p\x7fw")},
		"C1 control":                    {"PLAIN", nil, plain("\x00ann\x00p\u0085w")},
		"Latin-1":                       {"PLAIN", nil, plain("\x00ann\x00p\xe4ss")},
		"half a character":              {"PLAIN", nil, plain("\x00ann\xf0\x9f\x00pw")},
		"surrogate":                     {"PLAIN", nil, plain("\x00ann\xed\xa0\x80\x00pw")},
		"overlong NUL":                  {"PLAIN", nil, plain("\x00ann\xc0\x80\x00pw")},
		"name too long":                 {"PLAIN", nil, plain("\x00" + long(1025) + "\x00pw")},
		"identity too long":             {"PLAIN", nil, plain(long(1025) + "\x00ann\x00pw")},
		"secret too long":               {"PLAIN", nil, plain("\x00ann\x00" + long(1025))},
		"message too long":              {"PLAIN", nil, plain(long(9000))},
		"not base64":                    {"PLAIN", nil, []string{"!!!!"}},
		"URL base64":                    {"PLAIN", nil, []string{"AGFubgB_-w=="}},
		"no padding":                    {"PLAIN", nil, []string{"AGFubgBwdw"}},
		"padding in the middle":         {"PLAIN", nil, []string{"AA==AGFubgBwdw=="}},
		"bits behind the end":           {"PLAIN", nil, []string{"AGFubgBwdx=="}},
		"space in base64":               {"PLAIN", nil, []string{"AGFu bgBwdw=="}},
		"space behind base64":           {"PLAIN", nil, []string{"AGFubgBwdw== "}},
		"CR in base64":                  {"PLAIN", nil, []string{"AGFu\rbgBwdw=="}},
		"LF in base64":                  {"PLAIN", nil, []string{"AGFu\nbgBwdw=="}},
		"LOGIN: no name":                {"LOGIN", nil, []string{""}},
		"LOGIN: no name at once":        {"LOGIN", []byte("="), nil},
		"LOGIN: NUL in the name":        {"LOGIN", nil, []string{b64("a\x00b"), b64Pass}},
		"LOGIN: control in the secret":  {"LOGIN", nil, []string{b64User, b64("p\tw")}},
		"LOGIN: secret too long":        {"LOGIN", nil, []string{b64User, b64(long(1025))}},
		"LOGIN: name too long":          {"LOGIN", nil, []string{b64(long(1025)), b64Pass}},
		"LOGIN: secret is not base64":   {"LOGIN", nil, []string{b64User, "pw and more"}},
		"LOGIN: an identity is no name": {"LOGIN", nil, []string{b64("ann\x00bob"), b64Pass}},
	} {
		t.Run(name, func(t *testing.T) {
			got, _, err := exchange(t, c.mechanism, c.initial, c.lines...)
			if !errors.Is(err, sasl.ErrMalformed) || got != nil {
				t.Errorf("got %v, %v; want none and %v", got, err, sasl.ErrMalformed)
			}
		})
	}
}

func TestLoginAsksNoPasswordForABadName(t *testing.T) {
	_, challenges, err := exchange(t, "LOGIN", nil, b64("a\x00b"), b64Pass)
	if !errors.Is(err, sasl.ErrMalformed) || len(challenges) != 1 {
		t.Errorf("challenges %q, %v; want the first one alone", challenges, err)
	}
}

func TestCancelled(t *testing.T) {
	for name, c := range map[string]struct {
		mechanism string
		initial   []byte
		lines     []string
	}{
		"PLAIN":             {"PLAIN", nil, []string{"*"}},
		"PLAIN at once":     {"PLAIN", []byte("*"), nil},
		"LOGIN name":        {"LOGIN", nil, []string{"*"}},
		"LOGIN password":    {"LOGIN", nil, []string{b64User, "*"}},
		"LOGIN name before": {"LOGIN", []byte(b64User), []string{"*"}},
	} {
		t.Run(name, func(t *testing.T) {
			if got, _, err := exchange(t, c.mechanism, c.initial, c.lines...); !errors.Is(err, sasl.ErrCancelled) || got != nil {
				t.Errorf("got %v, %v; want none and %v", got, err, sasl.ErrCancelled)
			}
		})
	}
}

func TestErrorOfTheConnectionIsHandedBack(t *testing.T) {
	if got, _, err := exchange(t, "LOGIN", nil, b64User); !errors.Is(err, io.EOF) || got != nil {
		t.Errorf("got %v, %v; want none and %v", got, err, io.EOF)
	}
}

func TestErrorsKeepTheSecret(t *testing.T) {
	for _, line := range []string{b64("\x00ann\x00geheim\n"), b64("\x00ann\x00geheim") + "!", b64("geheim")} {
		_, _, err := exchange(t, "PLAIN", nil, line)
		if err == nil || strings.Contains(err.Error(), "geheim") || strings.Contains(err.Error(), line[:8]) {
			t.Errorf("error %v tells of the secret, or is none", err)
		}
	}
}

func TestNames(t *testing.T) {
	for _, name := range sasl.Names() {
		if got, m, ok := sasl.New(strings.ToLower(name)); !ok || m == nil || got != name {
			t.Errorf("New(%s) = %q, %v, %t", strings.ToLower(name), got, m, ok)
		}
	}
	for _, name := range []string{"", "PLAIN ", "ANONYMOUS", "EXTERNAL", "CRAM-MD5", "XOAUTH2", "PLA\u0131N"} {
		if _, _, ok := sasl.New(name); ok {
			t.Errorf("New(%q) knows it", name)
		}
	}
}

// TestMechanismEnds: a dialogue that forgot to stop gets no second credential out of an exchange.
func TestMechanismEnds(t *testing.T) {
	for name, responses := range map[string][]string{
		"PLAIN": {"\x00ann\x00pw", "\x00bob\x00pw"},
		"LOGIN": {"ann", "pw", "bob", "pw"},
	} {
		_, m, _ := sasl.New(name)
		credentials := 0
		for _, r := range responses {
			if step, err := m.Next(context.Background(), []byte(r)); err == nil && step.Credential != nil {
				credentials++
			}
		}
		if credentials != 1 {
			t.Errorf("%s: %d credentials, want 1", name, credentials)
		}
	}
}
