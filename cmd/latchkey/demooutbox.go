package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"latchkey/authcore/notify"
)

// demoOutbox keeps what the demo sends, so that codes can be read without a mail server and a telephone.
type demoOutbox struct {
	mu   sync.Mutex
	sent []notify.Outgoing // the oldest first; guarded by mu
}

const demoKept = 200 // messages: as many as somebody looks through

// Send keeps one.
func (b *demoOutbox) Send(_ context.Context, o notify.Outgoing) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sent = append(b.sent, o)
	b.sent = b.sent[max(0, len(b.sent)-demoKept):]
	return nil
}

func (b *demoOutbox) ways() waysOut {
	return waysOut{senders: map[notify.Channel]notify.Sender{notify.ByEmail: b, notify.BySMS: b}}
}

// demoOutboxPath is where the private listener shows them.
const demoOutboxPath = "/demo/outbox"

// shown is one message as the page shows it.
type shownMessage struct {
	ID      string    `json:"id"`
	Time    time.Time `json:"time"`
	Kind    string    `json:"kind"`
	Channel string    `json:"channel"`
	To      string    `json:"to"`
	Subject string    `json:"subject"`
	Text    string    `json:"text"`
}

// ServeHTTP lists them, the newest first: as text, or as JSON with ?format=json. ?to= chooses those to one address.
func (b *demoOutbox) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l := []shownMessage{}
	b.mu.Lock()
	for _, o := range slices.Backward(b.sent) {
		if to := r.FormValue("to"); to == "" || to == o.To {
			l = append(l, shownMessage{ID: o.ID, Time: o.Time, Kind: string(o.Kind), Channel: string(o.Channel), To: o.To, Subject: o.Subject, Text: o.Text})
		}
	}
	b.mu.Unlock()
	w.Header().Set("Cache-Control", "no-store")
	if r.FormValue("format") == "json" {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"items": l}) // whether it arrives is the client's
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if len(l) == 0 {
		fmt.Fprintln(w, "Nothing was sent yet.")
	}
	for _, m := range l {
		fmt.Fprintf(w, "%s  %s to %s: %s\n%s\n\n", m.Time.Format(time.DateTime), m.Channel, m.To, m.Subject, m.Text)
	}
}
