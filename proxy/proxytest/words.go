package proxytest

import (
	"crypto/tls"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing/synctest"
	"time"

	"latchkey/authcore"
	"latchkey/proxy"
)

// words are the steps that do not talk.
var words = map[string]func(r *run, rest string) error{
	"TLS":     (*run).startTLS,
	"EOF":     func(r *run, rest string) error { return r.expectEnd(rest, closedCleanly) },
	"RESET":   func(r *run, rest string) error { return r.expectEnd(rest, wasReset) },
	"CLOSE":   (*run).close,
	"QUIET":   (*run).quiet,
	"WAIT":    (*run).wait,
	"CANCEL":  func(r *run, _ string) error { r.cancel(errCancelled); return nil },
	"ATTEMPT": (*run).attempt,
	"NO":      (*run).no,
	"REPLY":   (*run).reply,
	"GONE":    (*run).gone,
	"FAIL":    (*run).fail,
	"WELCOME": (*run).welcome,
	"TEXT":    (*run).text,
}

// do carries one step out.
func (r *run) do(st step) error {
	if isTalk(st.verb) {
		return r.talk(st)
	}
	return words[st.verb](r, st.rest)
}

func (r *run) talk(st step) error {
	s := r.client
	if st.verb[0] == 'U' || st.verb[0] == 'V' {
		s = r.upstream
	}
	if s == nil {
		return fmt.Errorf("%s: there is no such side in this script", st.verb)
	}
	switch st.verb[1] {
	case '>':
		p, err := octets(st.rest)
		if err != nil {
			return err
		}
		if st.verb[0] == 'S' || st.verb[0] == 'V' {
			return expectOctets(s, p)
		}
		return s.send([]byte(p))
	case '~':
		return expectMatch(s, st.rest)
	}
	line, err := expand(st.rest)
	if err != nil {
		return err
	}
	switch st.verb {
	case "S:", "V:":
		return expectLine(s, line)
	case "C+", "U+":
		s.gather(line)
		return nil
	}
	return s.send([]byte(line + "\r\n"))
}

func expectLine(s *side, want string) error {
	got, err := s.line()
	if err != nil {
		return fmt.Errorf("got %w, want %q", err, want)
	}
	if got != want {
		return fmt.Errorf("got  %q\nwant %q", got, want)
	}
	return nil
}

func expectMatch(s *side, pattern string) error {
	re, err := regexp.Compile(pattern)
	if err != nil {
		return err
	}
	got, err := s.line()
	if err != nil {
		return fmt.Errorf("got %w, want a match of %s", err, pattern)
	}
	if !re.MatchString(got) {
		return fmt.Errorf("got  %q\nwant a match of %s", got, pattern)
	}
	return nil
}

func expectOctets(s *side, want string) error {
	got, err := s.exactly(len(want))
	if err != nil {
		return fmt.Errorf("got %w, want %q", err, want)
	}
	if string(got) != want {
		return fmt.Errorf("got  %q\nwant %q", got, want)
	}
	return nil
}

// which answers the side that a word acts on.
func (r *run) which(rest string) (*side, error) {
	switch {
	case rest == "upstream" || r.client == nil && rest == "":
		if r.upstream == nil {
			return nil, errors.New("there is no upstream in this script")
		}
		return r.upstream, nil
	case rest == "":
		return r.client, nil
	}
	return nil, fmt.Errorf("%q is not a side", rest)
}

func (r *run) startTLS(rest string) error {
	s, err := r.which(rest)
	if err != nil {
		return err
	}
	if s != r.client {
		return s.startTLS(r.ctx, tls.Server, r.upstreamTLS())
	}
	return s.startTLS(r.ctx, tls.Client, r.clientTLS())
}

func (r *run) expectEnd(rest string, is func(error) bool) error {
	s, err := r.which(rest)
	if err != nil {
		return err
	}
	if err := s.end(); !is(err) {
		return fmt.Errorf("the connection ended with: %w", err)
	}
	return nil
}

func (r *run) quiet(rest string) error {
	s, err := r.which(rest)
	if err != nil {
		return err
	}
	synctest.Wait()
	if left := s.in.unread(); len(left) > 0 {
		return fmt.Errorf("unexpected %q", left)
	}
	return nil
}

func (r *run) wait(rest string) error {
	d, err := time.ParseDuration(rest)
	if err != nil {
		return err
	}
	<-time.After(d)
	synctest.Wait()
	return nil
}

func (r *run) reply(rest string) error {
	f, err := fields(rest)
	if err != nil || len(f) == 0 {
		return fmt.Errorf("REPLY wants a reason: %v", err)
	}
	reason := authcore.Reason(f[0])
	if !slices.Contains(authcore.Reasons(), reason) {
		return fmt.Errorf("%q is not a Reason", reason)
	}
	login, err := r.login()
	if err != nil {
		return err
	}
	if err := login.Reply(reason, proxy.Welcome{Capabilities: f[1:]}); err != nil {
		return fmt.Errorf("answer the waiting command: %w", err)
	}
	if reason != authcore.Allowed {
		return r.door.Close()
	}
	return nil
}

func (r *run) gone(string) error {
	if err := r.ended(); err != nil {
		return err
	}
	r.judged = true
	if !errors.Is(r.err, proxy.ErrGone) {
		return fmt.Errorf("ended with %v, want ErrGone", r.err)
	}
	return nil
}

func (r *run) fail(pattern string) error {
	if err := r.ended(); err != nil {
		return err
	}
	r.judged = true
	re, err := regexp.Compile(pattern)
	if err != nil {
		return err
	}
	if r.err == nil || errors.Is(r.err, proxy.ErrGone) || !re.MatchString(r.err.Error()) {
		return fmt.Errorf("ended with: %v\nwant an error that matches %s", r.err, pattern)
	}
	return nil
}

func (r *run) welcome(rest string) error {
	want, err := fields(rest)
	if err != nil {
		return err
	}
	if err := r.ended(); err != nil {
		return err
	}
	r.judged = true
	if r.err != nil {
		return fmt.Errorf("ended with: %w", r.err)
	}
	if got := r.gotWelcome.Capabilities; !slices.Equal(got, want) {
		return fmt.Errorf("capabilities: got  %q\nwant %q", got, want)
	}
	return nil
}

func (r *run) text(want string) error {
	if err := r.ended(); err != nil {
		return err
	}
	if r.gotWelcome.Text != want {
		return fmt.Errorf("text: got %q, want %q", r.gotWelcome.Text, want)
	}
	return nil
}

func (r *run) attempt(rest string) error {
	synctest.Wait()
	all := r.auth.Attempts()
	if len(all) <= r.checked {
		return errors.New("no further attempt was made")
	}
	a := all[r.checked]
	r.checked++
	want, err := fields(rest)
	if err != nil {
		return err
	}
	for _, pair := range want {
		key, value, ok := strings.Cut(pair, "=")
		if !ok {
			return fmt.Errorf("%q is not key=value", pair)
		}
		got, err := attemptField(a, key)
		if err != nil {
			return err
		}
		if got != value {
			return fmt.Errorf("attempt: %s is %q, want %q", key, got, value)
		}
	}
	return nil
}

func attemptField(a authcore.Attempt, key string) (string, error) {
	p, _ := a.Credential.(authcore.Password)
	switch key {
	case "door":
		return a.Door, nil
	case "mechanism":
		return a.Mechanism, nil
	case "name":
		return p.UnverifiedName, nil
	case "secret":
		return p.Secret.Reveal(), nil
	case "authzid":
		return p.AuthorizeAs, nil
	case "helo":
		return a.Conn.Helo, nil
	case "agent":
		return a.Conn.Agent, nil
	case "tls":
		return a.Conn.TLSVersion, nil
	case "sni":
		return a.Conn.ServerName, nil
	}
	return "", fmt.Errorf("%q is not a key of ATTEMPT", key)
}

func (r *run) no(rest string) error {
	if rest != "ATTEMPT" {
		return fmt.Errorf("NO %s is not a step", rest)
	}
	synctest.Wait()
	if n := len(r.auth.Attempts()) - r.checked; n != 0 {
		return fmt.Errorf("%d attempts were made", n)
	}
	return nil
}

func wasReset(err error) bool { return errors.Is(err, syscall.ECONNRESET) }
