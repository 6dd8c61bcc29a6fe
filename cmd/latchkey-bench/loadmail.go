package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"strings"
)

// one answers the i-th login, around.
func (j job) one(i int) login { return j.Logins[i%len(j.Logins)] }

// signIn is LOGIN at a fresh connection.
func (l *line) signIn(who login) error {
	if err := l.expect("* ", "* OK"); err != nil {
		return err
	}
	return l.ask("a LOGIN "+who.User+" "+who.Password+"\r\n", "a ", "a OK")
}

// signinLoad: connect, TLS, greeting, LOGIN, LOGOUT, the end.
func signinLoad(ctx context.Context, j job) (measurement, error) {
	return loop(ctx, j, func(i int) (worker, error) {
		return worker{end: func() {}, once: func() error {
			l, err := j.Door.knock(i)
			if err != nil {
				return err
			}
			defer l.leave()
			if err := l.signIn(j.one(i)); err != nil {
				return err
			}
			return l.ask("b LOGOUT\r\n", "b ", "b OK")
		}}, nil
	})
}

// pop3Load is the same at POP3.
func pop3Load(ctx context.Context, j job) (measurement, error) {
	return loop(ctx, j, func(i int) (worker, error) {
		who := j.one(i)
		return worker{end: func() {}, once: func() error {
			l, err := j.Door.knock(i)
			if err != nil {
				return err
			}
			defer l.leave()
			if err := l.expect("", "+OK"); err != nil {
				return err
			}
			for _, command := range []string{"USER " + who.User, "PASS " + who.Password, "QUIT"} {
				if err := l.ask(command+"\r\n", "", "+OK"); err != nil {
					return err
				}
			}
			return nil
		}}, nil
	})
}

// noopLoad: commands in sessions that stand.
func noopLoad(ctx context.Context, j job) (measurement, error) {
	return loop(ctx, j, func(i int) (worker, error) {
		l, err := j.Door.knock(i)
		if err != nil {
			return worker{}, err
		}
		if err := l.signIn(j.one(i)); err != nil {
			l.leave()
			return worker{}, err
		}
		return worker{end: l.leave, once: func() error {
			l.extend()
			return l.ask("n NOOP\r\n", "n ", "n OK")
		}}, nil
	})
}

// message is 10 KB, as it goes over the wire.
var message = "Subject: bench\r\n\r\n" + strings.Repeat("A line of a message that has sixty-two letters and then an end\r\n", 160) + ".\r\n"

// messageLoad sends one message per connection, as mail programs do.
func messageLoad(ctx context.Context, j job) (measurement, error) {
	return loop(ctx, j, func(i int) (worker, error) {
		who := j.one(i)
		initial := base64.StdEncoding.EncodeToString([]byte("\x00" + who.User + "\x00" + who.Password))
		return worker{end: func() {}, once: func() error {
			l, err := j.Door.knock(i)
			if err != nil {
				return err
			}
			defer l.leave()
			if err := l.reply("220"); err != nil {
				return err
			}
			for _, step := range [][2]string{
				{"EHLO client.example\r\n", "250"}, {"AUTH PLAIN " + initial + "\r\n", "235"}, {"MAIL FROM:<" + who.User + ">\r\n", "250"},
				{"RCPT TO:<somebody@elsewhere.example>\r\n", "250"}, {"DATA\r\n", "354"}, {message, "250"}, {"QUIT\r\n", "221"},
			} {
				if err := l.say(step[0]); err != nil {
					return err
				}
				if err := l.reply(step[1]); err != nil {
					return err
				}
			}
			return nil
		}}, nil
	})
}

// reply reads a whole reply of SMTP: RFC 5321 section 4.2.1.
func (l *line) reply(code string) error {
	for {
		got, err := l.r.ReadSlice('\n')
		switch {
		case err != nil:
			return err
		case !bytes.HasPrefix(got, []byte(code)) || len(got) < len(code)+1:
			return fmt.Errorf("%w: %.80q, not %s", errAnswer, got, code)
		case got[len(code)] != '-':
			return nil
		}
	}
}
