package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Small clients of the doors. They answer what the server said to the sign-in, or an error of the connection.

func itoa(n int) string { return strconv.Itoa(n) }

// door is where a client goes: the address of a TLS listener, and whom it trusts.
type door struct {
	protocol string // imap, smtp, pop3, dav
	addr     string // host:port; the name is localhost
	ca       string
}

func trust(t testing.TB, ca string) *tls.Config {
	t.Helper()
	pem, err := os.ReadFile(ca)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		t.Fatalf("no certificate in %s", ca)
	}
	return &tls.Config{RootCAs: pool, ServerName: "localhost"}
}

// talk is a connection on which lines are said.
type talk struct {
	net.Conn
	r *bufio.Reader
}

func (d door) dial(conf *tls.Config) (*talk, error) {
	c, err := (&net.Dialer{Timeout: patience}).Dial("tcp", d.addr)
	if err != nil {
		return nil, err
	}
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	return newTalk(tls.Client(c, conf)), nil
}

func newTalk(c net.Conn) *talk { return &talk{Conn: c, r: bufio.NewReader(c)} }

func (k *talk) say(line string) error {
	_, err := k.Write([]byte(line + "\r\n"))
	return err
}

// hear reads one line.
func (k *talk) hear() (string, error) {
	line, err := k.r.ReadString('\n')
	return strings.TrimRight(line, "\r\n"), err
}

// hearTo reads until a line begins with one of the words, and answers it.
func (k *talk) hearTo(words ...string) (string, error) {
	for {
		line, err := k.hear()
		if err != nil {
			return line, err
		}
		for _, w := range words {
			if strings.HasPrefix(line, w) {
				return line, nil
			}
		}
	}
}

// ask says a line and reads to the answer.
func (k *talk) ask(line string, words ...string) (string, error) {
	if err := k.say(line); err != nil {
		return "", err
	}
	return k.hearTo(words...)
}

func quoted(s string) string { return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"` }

// enter signs in and leaves the connection open.
func (d door) enter(conf *tls.Config, user, password string) (k *talk, answer string, err error) {
	if k, err = d.dial(conf); err != nil {
		return nil, "", err
	}
	switch d.protocol {
	case "imap":
		if _, err = k.hearTo("* OK"); err == nil {
			answer, err = k.ask("a LOGIN "+quoted(user)+" "+quoted(password), "a ")
		}
	case "pop3":
		if _, err = k.hearTo("+OK"); err == nil {
			if _, err = k.ask("USER "+user, "+OK", "-ERR"); err == nil {
				answer, err = k.ask("PASS "+password, "+OK", "-ERR")
			}
		}
	case "smtp":
		plain := base64.StdEncoding.EncodeToString([]byte("\x00" + user + "\x00" + password))
		if _, err = k.hearTo("220 "); err == nil {
			if _, err = k.ask("EHLO client.example", "250 "); err == nil {
				answer, err = k.ask("AUTH PLAIN "+plain, "2", "4", "5")
			}
		}
	default:
		err = fmt.Errorf("no client for %s", d.protocol)
	}
	if err != nil {
		_ = k.Close()
		return nil, answer, fmt.Errorf("%s at %s: after %q: %w", d.protocol, d.addr, answer, err)
	}
	return k, answer, nil
}

// signIn answers what is said to name and password.
func (d door) signIn(conf *tls.Config, user, password string) (string, error) {
	if d.protocol == "dav" {
		return d.propfind(conf, user, password)
	}
	k, answer, err := d.enter(conf, user, password)
	if err != nil {
		return "", err
	}
	return answer, k.Close()
}

func (d door) propfind(conf *tls.Config, user, password string) (string, error) {
	_, port, _ := net.SplitHostPort(d.addr)
	req, err := http.NewRequest("PROPFIND", "https://localhost:"+port+"/"+user+"/", nil)
	if err != nil {
		return "", err
	}
	req.SetBasicAuth(user, password)
	req.Header.Set("Depth", "0")
	tr := &http.Transport{TLSClientConfig: conf, DisableKeepAlives: true}
	defer tr.CloseIdleConnections()
	resp, err := (&http.Client{Transport: tr, Timeout: patience}).Do(req)
	if err != nil {
		return "", err
	}
	return itoa(resp.StatusCode), resp.Body.Close()
}

// good is how the answer to a sign-in begins that was let in.
var good = map[string]string{"imap": "a OK", "smtp": "235 ", "pop3": "+OK", "dav": "207"}

// temporary is how the answer begins that says: later.
var temporary = map[string]string{"imap": "a NO [UNAVAILABLE]", "smtp": "454 4.7.0", "pop3": "-ERR [SYS/TEMP]", "dav": "503"}

// wrong is how the answer begins that says: name or password.
var wrong = map[string]string{"imap": "a NO [AUTHENTICATIONFAILED]", "smtp": "535 5.7.8", "pop3": "-ERR [AUTH]", "dav": "401"}
