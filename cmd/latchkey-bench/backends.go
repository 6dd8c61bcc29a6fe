package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"time"
)

// The servers behind the doors let everybody in and do as little as they can, so that a measurement sees what stands before
// them. They are the same for all that is compared.

// behind says where they listen.
type behind struct {
	IMAP string `json:"imap"`
	POP3 string `json:"pop3"`
	SMTP string `json:"smtp"`
	HTTP string `json:"http"`
}

// backendsRole serves until its standard input ends.
func backendsRole(_ context.Context, s streams, _ []string) error {
	debug.SetGCPercent(unmeasuredGC)
	var at behind
	for _, b := range []struct {
		addr  *string
		serve func(net.Listener) error
	}{
		{&at.IMAP, each(backendIMAP)}, {&at.POP3, each(backendPOP3)}, {&at.SMTP, each(backendSMTP)}, {&at.HTTP, serveHTTP(backendDAV)},
	} {
		ln, err := net.Listen("tcp", loopback+":0")
		if err != nil {
			return err
		}
		*b.addr = ln.Addr().String()
		go func() { _ = b.serve(ln) }() // until the process ends
	}
	return serveUntilEOF(s, at)
}

// serveUntilEOF tells where a role of ours listens, and returns when whoever started it is gone.
func serveUntilEOF(s streams, at any) error {
	if err := json.NewEncoder(s.out).Encode(at); err != nil {
		return err
	}
	_, err := io.Copy(io.Discard, s.in)
	return err
}

// each answers a server with a goroutine for each connection.
func each(talk func(*bufio.Reader, io.Writer) error) func(net.Listener) error {
	return func(ln net.Listener) error {
		for {
			c, err := ln.Accept()
			if errors.Is(err, net.ErrClosed) {
				return nil
			}
			if err != nil { // out of descriptors: the client's side fails and is counted
				time.Sleep(time.Millisecond)
				continue
			}
			go func() {
				defer c.Close()
				r := readers.Get().(*bufio.Reader)
				defer readers.Put(r)
				r.Reset(c)
				_ = talk(r, c) // a client that is gone is not our business
			}()
		}
	}
}

func serveHTTP(h http.HandlerFunc) func(net.Listener) error {
	s := &http.Server{Handler: h, ReadHeaderTimeout: exchangeTime}
	return s.Serve
}

// nextLine answers a line without its end; it is good until the next.
func nextLine(r *bufio.Reader) ([]byte, error) {
	line, err := r.ReadSlice('\n')
	return bytes.TrimRight(line, "\r\n"), err
}

const backendCapabilities = "IMAP4rev1 LITERAL+ SASL-IR IDLE ID AUTH=PLAIN AUTH=LOGIN"

// mail is what FETCH answers, again and again.
var mail = bytes.Repeat([]byte("A line of a message, as long as lines of messages are wont to be: 77 letters.\r\n"), 3300)

var errLeft = errors.New("the client has left")

func backendIMAP(r *bufio.Reader, w io.Writer) error {
	if _, err := fmt.Fprintf(w, "* OK [CAPABILITY %s] ready\r\n", backendCapabilities); err != nil {
		return err
	}
	for {
		line, err := nextLine(r)
		if err != nil {
			return err
		}
		tag, command, _ := strings.Cut(string(line), " ")
		if err := skipLiterals(r, w, command); err != nil {
			return err
		}
		if err := answerIMAP(r, w, tag, command); err != nil {
			return err
		}
	}
}

// skipLiterals reads what is announced at the end of a line, and the line after it, until nothing more is: nginx says name and
// password so. What they are is nobody's business here.
func skipLiterals(r *bufio.Reader, w io.Writer, command string) error {
	for strings.HasSuffix(command, "}") {
		number := strings.TrimSuffix(command[strings.LastIndexByte(command, '{')+1:], "}")
		octets, atOnce := strings.CutSuffix(number, "+")
		n, err := strconv.Atoi(octets)
		if err != nil || n < 0 {
			return fmt.Errorf("literal %q", number)
		}
		if !atOnce {
			if _, err := io.WriteString(w, "+ go on\r\n"); err != nil {
				return err
			}
		}
		if _, err := r.Discard(n); err != nil {
			return err
		}
		line, err := nextLine(r)
		if err != nil {
			return err
		}
		command = string(line)
	}
	return nil
}

func answerIMAP(r *bufio.Reader, w io.Writer, tag, command string) (err error) {
	verb, rest, _ := strings.Cut(command, " ")
	before := ""
	switch strings.ToUpper(verb) {
	case "CAPABILITY":
		before = "* CAPABILITY " + backendCapabilities + "\r\n"
	case "ID":
		before = "* ID NIL\r\n"
	case "AUTHENTICATE":
		if !strings.Contains(rest, " ") {
			err = askFor(r, w, "+ \r\n")
		}
	case "IDLE":
		err = askFor(r, w, "+ idling\r\n")
	case "FETCH": // FETCH n: n MiB
		err = sendMail(w, rest)
	case "LOGOUT":
		_, _ = fmt.Fprintf(w, "* BYE\r\n%s OK done\r\n", tag)
		return errLeft
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s%s OK done\r\n", before, tag)
	return err
}

// askFor says something and takes one line for it.
func askFor(r *bufio.Reader, w io.Writer, say string) error {
	if _, err := io.WriteString(w, say); err != nil {
		return err
	}
	_, err := nextLine(r)
	return err
}

func sendMail(w io.Writer, rest string) error {
	number, _, _ := strings.Cut(rest, " ")
	mib, err := strconv.Atoi(number)
	if err != nil || mib < 0 || mib > maxMegabytes {
		return fmt.Errorf("FETCH %q", number)
	}
	if _, err := fmt.Fprintf(w, "* 1 FETCH (BODY[] {%d}\r\n", mib<<20); err != nil {
		return err
	}
	for left := mib << 20; left > 0; left -= len(mail) {
		if _, err := w.Write(mail[:min(left, len(mail))]); err != nil {
			return err
		}
	}
	_, err = io.WriteString(w, ")\r\n")
	return err
}

func backendPOP3(r *bufio.Reader, w io.Writer) error {
	say := "+OK ready\r\n"
	for {
		if _, err := io.WriteString(w, say); err != nil {
			return err
		}
		line, err := nextLine(r)
		if err != nil {
			return err
		}
		say = "+OK\r\n"
		switch f := strings.Fields(strings.ToUpper(string(line))); {
		case len(f) == 1 && f[0] == "CAPA":
			say = "+OK\r\nUSER\r\nSASL PLAIN\r\n.\r\n"
		case len(f) == 2 && f[0] == "AUTH":
			if err := askFor(r, w, "+ \r\n"); err != nil {
				return err
			}
		case len(f) == 1 && f[0] == "QUIT":
			_, _ = io.WriteString(w, say)
			return errLeft
		}
	}
}

func backendSMTP(r *bufio.Reader, w io.Writer) error {
	say := "220 sink.example ESMTP\r\n"
	for {
		if _, err := io.WriteString(w, say); err != nil {
			return err
		}
		line, err := nextLine(r)
		if err != nil {
			return err
		}
		verb, rest, _ := strings.Cut(string(line), " ")
		say = "250 2.0.0 OK\r\n"
		switch strings.ToUpper(verb) {
		case "EHLO":
			say = "250-sink.example\r\n250-PIPELINING\r\n250-SIZE 50000000\r\n250-AUTH PLAIN LOGIN\r\n250 8BITMIME\r\n"
		case "AUTH":
			say = "235 2.7.0 OK\r\n"
			if !strings.Contains(rest, " ") {
				err = askFor(r, w, "334 \r\n")
			}
		case "DATA":
			err = takeMessage(r, w)
		case "QUIT":
			_, _ = io.WriteString(w, "221 2.0.0 Bye\r\n")
			return errLeft
		}
		if err != nil {
			return err
		}
	}
}

func takeMessage(r *bufio.Reader, w io.Writer) error {
	if _, err := io.WriteString(w, "354 Go on\r\n"); err != nil {
		return err
	}
	for {
		line, err := r.ReadSlice('\n')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
		if string(line) == ".\r\n" {
			return nil
		}
	}
}

// listing is a calendar of six entries.
var listing = []byte(`<?xml version="1.0" encoding="utf-8"?><D:multistatus xmlns:D="DAV:">` + strings.Repeat(`<D:response><D:href>/calendars/u/entry.ics</D:href>`+
	`<D:propstat><D:prop><D:getetag>"0123456789"</D:getetag></D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response>`, 6) + `</D:multistatus>`)

func backendDAV(w http.ResponseWriter, r *http.Request) {
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		return
	}
	w.Header().Set("Content-Type", "application/xml; charset=utf-8")
	w.WriteHeader(http.StatusMultiStatus)
	_, _ = w.Write(listing) // the client sees that it is cut short
}
