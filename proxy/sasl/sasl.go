// Package sasl turns what a client says in a SASL exchange (RFC 4422) into a credential, and speaks SASL itself toward
// an upstream.
//
//	mechanism     source                     client signs in here  we sign in upstream
//	PLAIN         RFC 4616                   yes                   yes, with authorization identity
//	LOGIN         draft-murchison-sasl-login yes                   no: PLAIN is everywhere
//	OAUTHBEARER   RFC 7628                   no                    yes
//
// It decides nothing: a name is unverified and a secret is unproven until the core has seen them. It refuses what two
// readers could read differently: base64 that is not canonical, octets that are not UTF-8, control characters in a name
// or a secret, a PLAIN message without exactly two NULs, a name that is empty, and all that is over its bound.
package sasl

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"latchkey/authcore"
)

var (
	// ErrMalformed: what the client sent is no message of the mechanism. Nothing was tried; answer BAD, 501 or -ERR.
	ErrMalformed = errors.New("malformed response")
	// ErrCancelled: the client ended the exchange with "*". Nothing was tried; answer as to a malformed one.
	ErrCancelled = errors.New("exchange cancelled")
)

// Mechanism is the server's side of one exchange. It is used for one exchange, by one goroutine.
type Mechanism interface {
	// Next takes the client's response, already decoded; nil: the client sent none, which differs from an empty one.
	// Any error ends the exchange. It keeps nothing of response.
	Next(ctx context.Context, response []byte) (Step, error)
}

// Step is what follows from a response: a credential if there is one, else a challenge.
type Step struct {
	Challenge  []byte              // to be sent, an empty one too
	Credential authcore.Credential // nil: the exchange goes on
}

// Names lists the mechanisms that New knows, the preferred first. Every one of them sends the secret itself: offer them
// under TLS alone.
func Names() []string { return []string{"PLAIN", "LOGIN"} }

// New begins an exchange by the name of its mechanism, in any letter case. The answer's name is as Names has it.
func New(name string) (canonical string, m Mechanism, ok bool) {
	switch {
	case !ascii(name):
	case strings.EqualFold(name, "PLAIN"):
		return "PLAIN", &plain{}, true
	case strings.EqualFold(name, "LOGIN"):
		return "LOGIN", &login{}, true
	}
	return "", nil, false
}

// ascii keeps letters out that Unicode folds to English ones.
func ascii(s string) bool { return !strings.ContainsFunc(s, func(r rune) bool { return r > 0x7e }) }

// Run leads m to its credential. initial is the response that came with the command, as it stood there; nil: none came.
// ask sends a challenge, in base64, and answers the client's line; an error of ask is handed back as it is.
func Run(ctx context.Context, m Mechanism, initial []byte, ask func(challenge string) ([]byte, error)) (authcore.Credential, error) {
	response, err := decodeInitial(initial)
	for err == nil {
		var step Step
		step, err = m.Next(ctx, response)
		clear(response)
		if err != nil || step.Credential != nil {
			return step.Credential, err
		}
		var line []byte
		if line, err = ask(base64.StdEncoding.EncodeToString(step.Challenge)); err == nil {
			response, err = decode(line)
		}
	}
	return nil, err
}

// maxResponse bounds a decoded response: a PLAIN message of three longest parts.
const maxResponse = 3*maxPart + 2

// strict refuses bits that are lost in decoding.
var strict = base64.StdEncoding.Strict()

// decodeInitial reads the response that came with the command: RFC 4422 section 4, item 2; "=" is an empty one by
// RFC 4959 section 3, RFC 4954 section 4 and RFC 5034 section 4.
func decodeInitial(p []byte) ([]byte, error) {
	switch {
	case p == nil:
		return nil, nil
	case len(p) == 0:
		return nil, fmt.Errorf("%w: an empty initial response is written =", ErrMalformed)
	case string(p) == "=":
		return []byte{}, nil
	}
	return decode(p)
}

// decode reads a response line; the answer is never nil without an error.
func decode(line []byte) ([]byte, error) {
	if string(line) == "*" {
		return nil, ErrCancelled
	}
	if len(line) > base64.StdEncoding.EncodedLen(maxResponse) {
		return nil, fmt.Errorf("%w: too long", ErrMalformed)
	}
	for _, b := range line {
		if b == '\r' || b == '\n' { // encoding/base64 skips them
			return nil, fmt.Errorf("%w: not base64", ErrMalformed)
		}
	}
	p := make([]byte, strict.DecodedLen(len(line)))
	n, err := strict.Decode(p, line)
	if err != nil { // its text would name an octet of the secret
		clear(p)
		return nil, fmt.Errorf("%w: not base64", ErrMalformed)
	}
	return p[:n], nil
}
