package sasl

import (
	"bytes"
	"context"
	"fmt"
)

// plain is PLAIN, RFC 4616: one message, the client's.
type plain struct{ done bool }

func (m *plain) Next(_ context.Context, response []byte) (Step, error) {
	switch {
	case m.done:
		return Step{}, fmt.Errorf("%w: the exchange is over", ErrMalformed)
	case response == nil:
		return Step{Challenge: []byte{}}, nil
	}
	m.done = true
	// RFC 4616 section 2: message = [authzid] UTF8NUL authcid UTF8NUL passwd
	parts := bytes.Split(response, []byte{0})
	if len(parts) != 3 {
		return Step{}, fmt.Errorf("%w: PLAIN has two NULs", ErrMalformed)
	}
	c, err := Password(string(parts[0]), string(parts[1]), string(parts[2]))
	if err != nil {
		return Step{}, err
	}
	return Step{Credential: c}, nil
}
