package audit

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"
)

// text is what json.Marshal makes of e. It is made for every sign-in.
func (e Entry) text() []byte {
	p := make([]byte, 0, 640)
	p = appendText(append(p, `{"id":`...), e.ID)
	p = appendTime(append(p, `,"time":`...), e.Time)
	if !e.Last.IsZero() {
		p = appendTime(append(p, `,"last":`...), e.Last)
	}
	p = strconv.AppendInt(append(p, `,"count":`...), int64(e.Count), 10)
	p = appendSet(p, `,"actor":`, e.Actor)
	p = appendSet(p, `,"target":`, e.Target)
	p = appendSet(p, `,"member_id":`, e.MemberID)
	p = appendText(append(p, `,"action":`...), string(e.Action))
	p = appendSet(p, `,"reason":`, e.Reason)
	p = appendSet(p, `,"detail":`, e.Detail)
	p = appendSet(p, `,"door":`, e.Door)
	p = appendSet(p, `,"from":`, e.From)
	p = appendSet(p, `,"agent":`, e.Agent)
	p = appendSet(p, `,"credential_kind":`, e.Kind)
	p = appendSet(p, `,"credential":`, e.Credential)
	p = appendSet(p, `,"credential_name":`, e.Name)
	p = appendSet(p, `,"session":`, e.Session)
	if len(e.Changes) > 0 {
		p = append(append(p, `,"changes":`...), marshalled(e.Changes)...)
	}
	return append(p, '}')
}

// appendSet appends a text that is not empty.
func appendSet(p []byte, key, s string) []byte {
	if s == "" {
		return p
	}
	return appendText(append(p, key...), s)
}

// appendText appends s as JSON. What json.Marshal would write in another way is left to it.
func appendText(p []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' || c >= utf8.RuneSelf {
			return append(p, marshalled(s)...)
		}
	}
	return append(append(append(p, '"'), s...), '"')
}

func appendTime(p []byte, at time.Time) []byte {
	return append(at.AppendFormat(append(p, '"'), time.RFC3339Nano), '"')
}

func marshalled(v any) []byte {
	p, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("audit: an entry cannot be a record: %v", err)) // texts only
	}
	return p
}
