package sasl

import (
	"context"
	"fmt"
)

// login is LOGIN, obsolete and never an RFC, and what many programs choose first: two questions, two answers. Some
// send the name with the command, as an initial response.
type login struct {
	name  string // as answered
	asked loginQuestion
}

type loginQuestion int

const (
	askedNothing loginQuestion = iota
	askedName
	askedPassword
	askedAll
)

// The prompts are those that programs look for.
const (
	namePrompt     = "Username:"
	passwordPrompt = "Password:"
)

func (m *login) Next(_ context.Context, response []byte) (Step, error) {
	switch {
	case m.asked == askedNothing && response == nil:
		m.asked = askedName
		return Step{Challenge: []byte(namePrompt)}, nil
	case response == nil || m.asked == askedAll:
		return Step{}, fmt.Errorf("%w: the exchange is over", ErrMalformed)
	case m.asked == askedPassword:
		m.asked = askedAll
		c, err := Password("", m.name, string(response))
		if err != nil {
			return Step{}, err
		}
		return Step{Credential: c}, nil
	}
	// The name is judged before it is kept and before a password is asked for.
	if _, err := Password("", string(response), ""); err != nil {
		m.asked = askedAll
		return Step{}, err
	}
	m.name, m.asked = string(response), askedPassword
	return Step{Challenge: []byte(passwordPrompt)}, nil
}
