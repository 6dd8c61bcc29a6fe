package peers

import (
	"bufio"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// A Sink is the next mail server: it takes every message and keeps envelope and text exactly as they came.
type Sink struct {
	Addr string

	mu       sync.Mutex
	messages []Message     // guarded by mu
	arrived  chan struct{} // closed and made anew at each message; guarded by mu
}

// A Message is one that arrived: Envelope holds the MAIL and RCPT commands as they were sent, Text everything up to the dot.
type Message struct {
	Envelope []string
	Text     string
}

// sinkPatience ends a connection on which nothing comes; the servers under test keep none open that long.
const sinkPatience = time.Minute

// NewSink starts one until the test ends.
func NewSink(t testing.TB) *Sink {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &Sink{Addr: l.Addr().String(), arrived: make(chan struct{})}
	listenUntilEnd(t, l, s.converse)
	return s
}

// Next waits for a message that is for the address and hands it out once.
func (s *Sink) Next(t testing.TB, recipient string) Message {
	t.Helper()
	timeout := time.After(startWait)
	for {
		m, ok, more := s.take(recipient)
		if ok {
			return m
		}
		select {
		case <-more:
		case <-timeout:
			t.Fatalf("no message for %s arrived within %v", recipient, startWait)
		}
	}
}

// take returns the first message for the recipient, or what to wait for.
func (s *Sink) take(recipient string) (m Message, ok bool, more <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.messages, func(m Message) bool {
		return slices.ContainsFunc(m.Envelope, func(line string) bool {
			return strings.HasPrefix(strings.ToUpper(line), "RCPT TO:") && strings.Contains(line, "<"+recipient+">")
		})
	})
	if i < 0 {
		return Message{}, false, s.arrived
	}
	m = s.messages[i]
	s.messages = slices.Delete(s.messages, i, i+1)
	return m, true, nil
}

func (s *Sink) keep(m Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.messages = append(s.messages, m)
	close(s.arrived)
	s.arrived = make(chan struct{})
}

// converse is an SMTP server that says yes.
func (s *Sink) converse(c net.Conn) {
	r, w := bufio.NewReader(c), bufio.NewWriter(c)
	say := func(reply string) {
		w.WriteString(reply + "\r\n") // an error stays in w and shows at Flush
	}
	say("220 sink.example ESMTP")
	var m Message
	for {
		if r.Buffered() == 0 && w.Flush() != nil || c.SetDeadline(time.Now().Add(sinkPatience)) != nil {
			return
		}
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		verb, _, _ := strings.Cut(strings.ToUpper(line), " ")
		switch verb {
		case "EHLO":
			say("250-sink.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-DSN\r\n250 XCLIENT ADDR PORT PROTO HELO LOGIN NAME")
		case "XCLIENT":
			say("220 sink.example ESMTP")
		case "MAIL":
			m = Message{Envelope: []string{line}}
			say("250 2.1.0 Ok")
		case "RCPT":
			m.Envelope = append(m.Envelope, line)
			say("250 2.1.5 Ok")
		case "DATA":
			say("354 go ahead")
			if w.Flush() != nil {
				return
			}
			if m.Text, err = untilDot(r); err != nil {
				return
			}
			s.keep(m)
			m = Message{}
			say("250 2.0.0 kept")
		case "QUIT":
			say("221 2.0.0 Bye")
			w.Flush()
			return
		default:
			say("250 2.0.0 Ok")
		}
	}
}

func untilDot(r *bufio.Reader) (string, error) {
	var text strings.Builder
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return "", err
		}
		if line == ".\r\n" {
			return text.String(), nil
		}
		text.WriteString(strings.TrimPrefix(line, "."))
	}
}
