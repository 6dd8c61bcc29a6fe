package peers

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"net"
	"strings"
	"time"
)

// answerSASL is one connection of a client of Dovecot's authentication protocol (its document auth-protocol.txt),
// as far as Postfix uses it: PLAIN and LOGIN, with or without an initial response.
func answerSASL(c net.Conn) {
	r := bufio.NewReader(c)
	say := func(format string, args ...any) error {
		_, err := fmt.Fprintf(c, format, args...)
		return err
	}
	if say("VERSION\t1\t1\nMECH\tPLAIN\tplaintext\nMECH\tLOGIN\tplaintext\nSPID\t1\nCUID\t1\nCOOKIE\t0123456789abcdef0123456789abcdef\nDONE\n") != nil {
		return
	}
	pending := map[string]*saslExchange{} // by request
	for c.SetDeadline(time.Now().Add(10*time.Minute)) == nil {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		words := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(words) < 3 || words[0] != "AUTH" && words[0] != "CONT" {
			continue // VERSION and CPID of the client
		}
		id := words[1]
		response, sent := saslResponse(words)
		if words[0] == "AUTH" {
			pending[id] = &saslExchange{login: words[2] == "LOGIN"}
		}
		x := pending[id]
		if x == nil {
			return
		}
		if sent {
			x.responses = append(x.responses, response)
		}
		if challenge, more := x.challenge(); more {
			if say("CONT\t%s\t%s\n", id, base64.StdEncoding.EncodeToString([]byte(challenge))) != nil {
				return
			}
			continue
		}
		delete(pending, id)
		user, ok := x.verdict()
		reply := fmt.Sprintf("FAIL\t%s\tuser=%s\n", id, user)
		if ok {
			reply = fmt.Sprintf("OK\t%s\tuser=%s\n", id, user)
		}
		if say("%s", reply) != nil {
			return
		}
	}
}

// saslResponse takes the client's bytes out of AUTH … resp=… or CONT … ….
func saslResponse(words []string) (string, bool) {
	encoded, sent := words[2], words[0] == "CONT"
	if !sent {
		encoded, sent = strings.CutPrefix(words[len(words)-1], "resp=")
	}
	b, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return "", sent
	}
	return string(b), sent
}

type saslExchange struct {
	login     bool // LOGIN asks twice, PLAIN once
	responses []string
}

func (x *saslExchange) challenge() (string, bool) {
	switch {
	case x.login && len(x.responses) == 0:
		return "Username:", true
	case x.login && len(x.responses) == 1:
		return "Password:", true
	case !x.login && len(x.responses) == 0:
		return "", true
	}
	return "", false
}

func (x *saslExchange) verdict() (user string, ok bool) {
	if x.login {
		return x.responses[0], x.responses[1] == UserPassword
	}
	parts := strings.Split(x.responses[0], "\x00")
	if len(parts) != 3 {
		return "", false
	}
	return parts[1], parts[2] == UserPassword
}
