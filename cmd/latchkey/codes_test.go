package main

import (
	"context"
	"log/slog"
	"net/netip"
	"testing"

	"latchkey/authcore"
	"latchkey/authcore/member"
	"latchkey/authcore/notify"
	"latchkey/authcore/otp"
	"latchkey/authcore/store"
	"latchkey/configs"
)

func TestCodeLimitsAreThoseOfTheFile(t *testing.T) {
	defaults := otp.Limits{Source: otp.DefaultSource, Address: otp.DefaultAddress, Prefix: otp.DefaultPrefix, All: otp.DefaultAll}
	if got := codeLimits(configs.Default().SignIn.Codes); got != defaults {
		t.Errorf("by default %+v, want %+v", got, defaults)
	}
	if got, want := codeLimits(configs.Codes{PerSource: 1, PerAddress: 2, PerCountry: 3, PerChannel: 4}), (otp.Limits{Source: 1, Address: 2, Prefix: 3, All: 4}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// takesText stands for a gateway that takes everything.
type takesText struct{}

func (takesText) Send(context.Context, notify.Outgoing) error { return nil }

// A server takes the limits and the country from its file: past a limit of one for each source nothing is
// sent.
func TestCodesOfAServer(t *testing.T) {
	cfg := configs.Default()
	cfg.Hostname, cfg.Data, cfg.Keys = "mail.example.com", t.TempDir(), t.TempDir()+"/keys.json"
	cfg.SignIn.Codes.PerSource, cfg.SignIn.DefaultCountry = 1, "JP"
	h := &house{log: slog.New(slog.DiscardHandler)}
	if err := h.openStore(t.Context(), &cfg, waysOut{senders: map[notify.Channel]notify.Sender{notify.BySMS: takesText{}}}); err != nil {
		t.Fatal(err)
	}
	defer h.db.Close()
	from := authcore.Client{Addr: netip.MustParseAddr("192.0.2.10"), Agent: "test"}
	for _, number := range []string{"090-1234-5678", "090-1234-5679"} {
		if err := h.core.ForgotAddress(t.Context(), from, number); err != nil {
			t.Errorf("a number without its country: %v", err)
		}
	}
	l, err := h.db.List(t.Context(), member.Partition("none"), store.Query{Prefix: notify.OutboxPrefix})
	if err != nil || len(l) != 1 {
		t.Errorf("%d messages wait, want one: %v", len(l), err)
	}
}
