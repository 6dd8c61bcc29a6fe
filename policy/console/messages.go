package console

import (
	"net/url"
	"slices"
	"strings"

	"latchkey/authcore/notify"
)

func (s *server) messageRoutes() {
	s.signedIn("GET /notifications", (*page).messages)
	s.signedIn("POST /notifications/{id}/read", (*page).messageMarked)
	s.signedIn("POST /notifications/{id}/delete", (*page).messageDeleted)
}

// messagesShown is how many messages stand on a page.
const messagesShown = 20

// Unread is how many of the newest messages the member has not read. A message that cannot be counted does not keep a page
// from being shown.
func (v *view) Unread() int {
	l, _, err := v.p.core.Messages(v.p.ctx, v.p.actor, "", messagesShown)
	if err != nil {
		return 0
	}
	return len(slices.DeleteFunc(l, func(m notify.Message) bool { return m.Read }))
}

// messagesPage is a page of the inbox.
type messagesPage struct {
	Items  []notify.Message
	After  string // what the page begins after
	Paging paging
}

func (p *page) messages() error {
	after := p.startOf(p.r.URL.Query().Get("after"))
	l, next, err := p.core.Messages(p.ctx, p.actor, after, messagesShown)
	if err != nil {
		return err
	}
	return p.show("messages.html", messagesPage{Items: l, After: after, Paging: p.paging("after", next)})
}

func (p *page) messageMarked() error {
	read := p.form("read") == "yes"
	if err := p.core.MarkMessage(p.ctx, p.actor, p.r.PathValue("id"), read); err != nil {
		return err
	}
	return p.redirect(backTo("/notifications", p.startOf(p.form("after"))), "")
}

func (p *page) messageDeleted() error {
	if err := p.core.DeleteMessage(p.ctx, p.actor, p.r.PathValue("id")); err != nil {
		return err
	}
	return p.redirect(backTo("/notifications", p.startOf(p.form("after"))), "message_deleted")
}

// maxStart bounds where a page may begin in bytes: names of entries and messages are far shorter.
const maxStart = 200

// startOf is where a page begins, as a link said; the first page for what no page ended with.
func (p *page) startOf(said string) string {
	if len(said) > maxStart || strings.ContainsFunc(said, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return ""
	}
	return said
}

// backTo is the page of a list that begins after; the first one without it.
func backTo(path, after string) string {
	if after == "" {
		return path
	}
	return path + "?" + url.Values{"after": {after}}.Encode()
}
