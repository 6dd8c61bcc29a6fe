package api_test

import (
	"strings"
	"testing"
	"time"

	"latchkey/authcore/authtest"
	"latchkey/authcore/member"
	"latchkey/authcore/notify"
	"latchkey/authcore/store"
)

// The inbox over HTTP: messages in the member's language, read and unread, deleted, and nobody else's.
func TestInboxOverHTTP(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	token, other := h.token(t, "app-only"), h.token(t, "opted-in")
	h.call(t, token, "PUT", "/me/language", m{"language": "fr"}).is(422, "invalid")
	for i, want := range []struct{ language, subject string }{
		{"en", "A third-party app password was created"}, {"ja", "外部アプリパスワードが作成されました"}, {"ko", "외부 앱 비밀번호가 생성되었습니다"},
	} {
		h.call(t, token, "PUT", "/me/language", m{"language": want.language}).is(200)
		h.call(t, token, "POST", "/me/app-passwords", m{"name": "Phone " + want.language}).is(201)
		h.clock.pass(time.Second)
		l := h.call(t, token, "GET", "/me/messages", nil).is(200).items()
		if l[0]["subject"] != want.subject || l[0]["read"] != false {
			t.Errorf("%d: %v", i, l[0])
		}
	}
	id := h.call(t, token, "GET", "/me/messages", nil).items()[0]["id"].(string)
	h.call(t, other, "PUT", "/me/messages/"+id+"/read", m{"read": true}).is(404, "not_found")
	h.call(t, other, "DELETE", "/me/messages/"+id, nil).is(404, "not_found")
	for _, read := range []bool{true, false, true} {
		h.call(t, token, "PUT", "/me/messages/"+id+"/read", m{"read": read}).is(204)
		if got := h.call(t, token, "GET", "/me/messages", nil).items()[0]; got["read"] != read || got["id"] != id {
			t.Errorf("%v", got)
		}
	}
	h.call(t, token, "DELETE", "/me/messages/"+id, nil).is(204)
	h.call(t, token, "DELETE", "/me/messages/"+id, nil).is(404, "not_found")
	h.call(t, token, "PUT", "/me/messages/"+id+"/read", m{"read": true}).is(404, "not_found")
	for _, bad := range []string{"..%2F..%2Fmember%2Fx", strings.Repeat("x", 2000), "%00"} {
		if a := h.call(t, token, "DELETE", "/me/messages/"+bad, nil); a.status != 404 && a.status != 422 {
			t.Errorf("%.20q: %d", bad, a.status)
		}
	}
}

// A message with a code is there for sessions that began before it alone: neither a newer one nor an API token reads,
// marks or deletes it.
func TestCodeInTheInboxIsForOlderSessions(t *testing.T) {
	t.Parallel()
	h := open(t, nil)
	older := h.token(t, "app-only")
	api := h.call(t, older, "POST", "/me/api-tokens", m{"name": "Robot", "scopes": []string{"read", "write"}})
	h.clock.pass(time.Second)
	me := h.call(t, older, "GET", "/me", nil).is(200)
	p, err := h.MemberOf(t.Context(), authtest.Operator(), me.text("address"))
	if err != nil {
		t.Fatal(err)
	}
	op := notify.CodeOp(h.Keys, p.Member.ID, notify.Event{Kind: notify.SignInCode, At: h.clock.now(), Code: "482913"}.Message("en"))
	if _, err := h.Records.Apply(t.Context(), member.Partition(p.Domain.ID), op); err != nil {
		t.Fatal(err)
	}
	h.clock.pass(time.Second)
	newer := h.token(t, "app-only")
	code := func(token string) string {
		for _, x := range h.call(t, token, "GET", "/me/messages", nil).is(200).items() {
			if x["kind"] == "sign_in_code" {
				if text, _ := x["text"].(string); !strings.Contains(text, "482913") {
					t.Errorf("%v", x)
				}
				return x["id"].(string)
			}
		}
		return ""
	}
	id := code(older)
	if id == "" {
		t.Fatal("the older session does not see it")
	}
	tokens := map[string]string{"a newer session": newer}
	if api.status == 201 {
		tokens["an API token"] = api.text("token")
	}
	for who, token := range tokens {
		if code(token) != "" {
			t.Errorf("%s reads it", who)
		}
		for _, a := range []answer{h.call(t, token, "PUT", "/me/messages/"+id+"/read", m{"read": true}), h.call(t, token, "DELETE", "/me/messages/"+id, nil)} {
			if a.status != 404 && a.status != 403 {
				t.Errorf("%s: %d", who, a.status)
			}
		}
	}
	h.call(t, older, "PUT", "/me/messages/"+id+"/read", m{"read": true}).is(204)
	if code(older) != id || code(newer) != "" {
		t.Error("marked as read, it is another message")
	}
	if rec, err := h.Records.List(t.Context(), member.Partition(p.Domain.ID), store.Query{Prefix: "message/"}); err != nil || strings.Contains(string(rec[len(rec)-1].Value), "482913") {
		t.Errorf("the code lies open: %v", err)
	}
}
