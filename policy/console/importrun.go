package console

import (
	"bytes"
	"encoding/csv"
	"errors"
	"net/http"
	"strings"
	"time"

	"latchkey/authcore"
	"latchkey/authcore/secret"
	"latchkey/policy/api"
	"latchkey/policy/memberfile"
)

// An import is answered by a page that grows: its head, how far it is every now and then, and what it came to. Every row is
// a batch of its own. When the connection breaks, what is done stays done and the rest is not begun; the same form sent
// again makes the missing ones, and shows the temporary passwords of the others once more, for each row is a creation
// under a key of the form's value and its address (page.once). Another form with the same file leaves who is there alone.

const (
	tellEvery = 500 * time.Millisecond
	busyFor   = 200 * time.Millisecond // until a row is tried again that found no place among the hashes
)

// importing is a page that is being sent.
type importing struct {
	Domain                  string
	Done, All               int
	Marker                  string // where the page grows; its text is importMark
	Created, There, Refused int
	Made                    []madeRow
	Told                    []importTold
	More                    int
	Broken                  string // why it ended before its end
	tail                    []byte
	page                    *page
	CSV                     string
	Members, Again          string
	once                    string
	seen                    memberfile.Seen
	last                    time.Time
	failed                  error
}

// madeRow is a member who was made, with his temporary password if he has one.
type madeRow struct {
	Line                  int
	Address, Name, Secret string
}

func (p *page) importRun(domain, once string, rows []importRow) error {
	i := &importing{Domain: domain, All: len(rows), page: p, once: once, seen: memberfile.Seen{}, Marker: importMark, Members: domainPath(domain, "members"), Again: domainPath(domain, "members", "import"), last: time.Now()}
	if err := i.begin(); err != nil {
		return err
	}
	for _, r := range rows {
		if err := i.take(r); err != nil {
			i.broke(err)
			break
		}
		i.Done++
		if time.Since(i.last) >= tellEvery && !i.tell("importprogress") {
			return nil // nobody reads on: the rest is not begun
		}
	}
	i.tell("importprogress")
	i.CSV = i.csv()
	i.tell("importresult")
	_, _ = p.w.Write(i.tail) // whether it arrives is the client's
	return nil
}

// importMark stands in the page where it grows.
const importMark = "⁂"

// begin sends the head of the page, and keeps its tail.
func (i *importing) begin() error {
	p := i.page
	var b bytes.Buffer
	if err := p.lang.pages["importing.html"]().ExecuteTemplate(&b, "layout.html", &view{p: p, Name: "importing.html", Data: i}); err != nil {
		return err
	}
	head, tail, ok := bytes.Cut(b.Bytes(), []byte(importMark))
	if !ok {
		return errors.New("the page of an import has no place for its progress")
	}
	i.tail = bytes.Clone(tail)
	api.Streams(p.w)
	p.w.Header().Set("Content-Type", "text/html; charset=utf-8")
	p.w.WriteHeader(http.StatusOK)
	_, _ = p.w.Write(head)
	i.tell("importprogress")
	return nil
}

// tell sends a piece of the page; false when nobody takes it.
func (i *importing) tell(piece string) bool {
	i.last = time.Now()
	var b bytes.Buffer
	if i.failed = i.page.lang.pages["importing.html"]().ExecuteTemplate(&b, piece, &view{p: i.page, Data: i}); i.failed == nil {
		_, i.failed = i.page.w.Write(b.Bytes())
	}
	api.Push(i.page.ctx)
	return i.failed == nil
}

// take makes the member of a row. An error is one that ends the import.
func (i *importing) take(r importRow) error {
	n, err := r.wanted()
	if err == nil {
		err = i.seen.Take(r.row, r.line) // as a check says: the second would be answered as the first
	}
	if err == nil {
		var temporary secret.String
		if temporary, err = i.make(n); err == nil {
			i.Created++
			i.Made = append(i.Made, madeRow{r.line, n.Address, n.Name, temporary.Reveal()})
			return nil
		}
	}
	told := importTold{Line: r.line, Address: r.row.Address}
	switch {
	case deniedFor(err, authcore.AddressTaken):
		i.There++
		told.Words = i.page.t("There already: left alone.")
	default:
		if told.Words = i.page.rowWords(err); told.Words == "" {
			return err
		}
		i.Refused++
	}
	if len(i.Told) == maxTold {
		i.More++
		return nil
	}
	i.Told = append(i.Told, told)
	return nil
}

// make makes one, as long as whoever asked may: he is looked at before each row. When the hashes are busy, which attempts to
// sign in come before, it waits.
func (i *importing) make(n authcore.NewMember) (secret.String, error) {
	p := i.page
	for {
		a, err := p.core.StillSignedIn(p.ctx, p.actor)
		if err != nil {
			return secret.String{}, err
		}
		_, temporary, err := p.core.ImportMember(p.onceFor(i.once+"\n"+strings.ToLower(n.Address)), a, i.Domain, n)
		if !deniedFor(err, authcore.DenialReason(authcore.Throttled)) {
			return temporary, err
		}
		select {
		case <-p.ctx.Done():
			return secret.String{}, p.ctx.Err()
		case <-time.After(busyFor):
		}
	}
}

// broke ends the import before its end: the page says so, the cause goes into the request's event.
func (i *importing) broke(err error) {
	problem := api.Explain(i.page.ctx, err)
	i.Broken = i.page.lang.sentence(problem)
}

// Temporaries says whether any member got a temporary password.
func (i *importing) Temporaries() bool { return i.CSV != "" }

// csv are the temporary passwords for whoever hands them out; nothing when there are none.
func (i *importing) csv() string {
	var b strings.Builder
	w := csv.NewWriter(&b)
	_ = w.Write([]string{"address", "temporary_password"}) // a builder takes everything
	any := false
	for _, m := range i.Made {
		if m.Secret != "" {
			any = true
			_ = w.Write([]string{inert(m.Address), m.Secret})
		}
	}
	w.Flush()
	if !any {
		return ""
	}
	return b.String()
}

// inert keeps a spreadsheet from running an address that begins like a formula.
func inert(s string) string {
	if strings.ContainsAny(s[:min(1, len(s))], "=+-@") {
		return "'" + s
	}
	return s
}
