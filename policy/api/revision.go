package api

import (
	"net/http"
	"strconv"

	"latchkey/authcore"
	"latchkey/authcore/store"
)

// Tagged is an output with a body and its revision as an entity tag.
type Tagged[T any] struct {
	ETag string `header:"ETag" doc:"The revision, for If-Match"`
	Body T
}

// IfMatch is the condition of a change.
type IfMatch struct {
	Match string `header:"If-Match" maxLength:"100" doc:"The ETag that was read; * takes whatever is there"`
}

// Tag is the entity tag of a revision (RFC 9110 section 8.8.3).
func Tag(revision int64) string { return strconv.Quote(strconv.FormatInt(revision, 10)) }

// Revision answers the revision over which the change is meant. * is any (RFC 9110 section 13.1.1). A tag that is none of
// ours, a weak one or a list matches nothing. Without a header it asks for one: what is not read is overwritten unseen.
func (m IfMatch) Revision() (int64, error) {
	switch m.Match {
	case "":
		return 0, newProblem(http.StatusPreconditionRequired, reasonPrecondition, "Say with If-Match which ETag you have read.")
	case "*":
		return store.AnyRevision, nil
	}
	n, err := strconv.ParseInt(trimQuotes(m.Match), 10, 64)
	if err != nil || n < 0 || Tag(n) != m.Match {
		return 0, &authcore.Denial{Reason: authcore.RevisionMismatch}
	}
	return n, nil
}

// RevisionIfAny is Revision where a condition may be left out: 0 is none.
func (m IfMatch) RevisionIfAny() (int64, error) {
	if m.Match == "" || m.Match == "*" {
		return 0, nil
	}
	return m.Revision()
}

func trimQuotes(s string) string {
	if len(s) >= 2 && s[0] == '"' && s[len(s)-1] == '"' {
		return s[1 : len(s)-1]
	}
	return s
}
