package session

import (
	"bytes"
	"encoding/json"
	"errors"
	"time"
	"unicode/utf8"

	"latchkey/authcore/member"
	"latchkey/authcore/store"
)

// In a fleet the sessions of one member at one door are a set that all nodes see: each member of the set is a seat, and
// tells of one session what is listed. So counting, listing and giving back cost one command each. A set may be lost:
// then every node tells its own again.

// SeatFor is how long a seat is remembered without being told again. A node tells each of its sessions anew long before;
// that of a node that died does not count from the moment on that its heartbeat is missing.
const SeatFor = time.Hour

// Seat is a session as the fleet knows it.
type Seat struct {
	Process string // the run of a node that has it
	Door    Door
}

// seat is what is written: short names, for there are many.
type seat struct {
	ID         ID        `json:"i"`
	Process    string    `json:"p"`
	Credential string    `json:"c"`
	Name       string    `json:"n,omitempty"`
	From       string    `json:"f,omitempty"`
	Agent      string    `json:"a,omitempty"`
	Since      time.Time `json:"s"`
	Until      time.Time `json:"u,omitzero"`
	Shared     bool      `json:"d,omitempty"`
}

// SeatsKey names the set of a member's seats at a door.
func SeatsKey(d member.DomainID, id member.ID, door string) store.Key {
	return store.Key{Partition: member.Partition(d), Name: "seats/" + door + "/" + string(id)}
}

// SeatOf is the text of d's seat. It is the same as often as it is asked for, and at most store.MaxName bytes long: a long
// name of a program is cut, for the end of one.
func SeatOf(process string, d Door) string {
	s := seat{ID: d.ID, Process: process, Credential: d.Credential, Name: d.CredentialName, From: d.From, Agent: d.Agent,
		Since: d.Since.UTC().Truncate(time.Millisecond), Until: d.Until.UTC().Truncate(time.Second), Shared: d.Share != ""}
	for {
		p := s.text()
		over := len(p) - store.MaxName
		switch {
		case over <= 0:
			return p
		case s.Agent != "":
			s.Agent = shorter(s.Agent, over)
		default:
			s.Name = shorter(s.Name, over)
		}
	}
}

// text is what json.Marshal makes of s, but for <, > and &, which stay as they are. It is made for every sign-in.
func (s seat) text() string {
	p := make([]byte, 0, 256)
	p = appendText(append(p, `{"i":`...), string(s.ID))
	p = appendText(append(p, `,"p":`...), s.Process)
	p = appendText(append(p, `,"c":`...), s.Credential)
	p = appendSet(p, `,"n":`, s.Name)
	p = appendSet(p, `,"f":`, s.From)
	p = appendSet(p, `,"a":`, s.Agent)
	p = append(s.Since.AppendFormat(append(p, `,"s":"`...), time.RFC3339Nano), '"')
	if !s.Until.IsZero() {
		p = append(s.Until.AppendFormat(append(p, `,"u":"`...), time.RFC3339Nano), '"')
	}
	if s.Shared {
		p = append(p, `,"d":true`...)
	}
	return string(append(p, '}'))
}

// appendSet appends a text that is not empty.
func appendSet(p []byte, key, s string) []byte {
	if s == "" {
		return p
	}
	return appendText(append(p, key...), s)
}

// appendText appends s as JSON.
func appendText(p []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			return appendAny(p, s)
		}
	}
	return append(append(append(p, '"'), s...), '"')
}

func appendAny(p []byte, s string) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // a string never fails
	return append(p, bytes.TrimRight(b.Bytes(), "\n")...)
}

// shorter takes at least one character off the end of s, and about n bytes.
func shorter(s string, n int) string {
	s = s[:max(0, len(s)-max(1, n/6))] // six bytes at most stand for one
	for s != "" && !utf8.ValidString(s) {
		s = s[:len(s)-1]
	}
	return s
}

var errSeat = errors.New("not a seat")

// ParseSeat reads what SeatOf wrote for a session of the member at the door.
func ParseSeat(text string, d member.DomainID, id member.ID, door string) (Seat, error) {
	var s seat
	if json.Unmarshal([]byte(text), &s) != nil || s.ID == "" || s.Process == "" {
		return Seat{}, errSeat
	}
	v := Door{ID: s.ID, Domain: d, Member: id, Door: door, Credential: s.Credential, CredentialName: s.Name, From: s.From, Agent: s.Agent,
		Since: s.Since, Until: s.Until}
	if s.Shared {
		v.Share = "elsewhere" // known to its own node alone
	}
	return Seat{Process: s.Process, Door: v}, nil
}

// EndedKey names the record that says that somebody ended one session, on whatever node it is.
func EndedKey(d member.DomainID, id ID) store.Key {
	return store.Key{Partition: member.Partition(d), Name: "ended/" + string(id)}
}
