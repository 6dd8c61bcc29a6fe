package upstream

import (
	"slices"
	"testing"
)

func TestOffer(t *testing.T) {
	report := func(protocol string, before, after []string) Report {
		return Report{Protocol: protocol, Before: before, After: after}
	}
	good := map[string]Report{
		"imap":    report(IMAP, []string{"AUTH=PLAIN", "ID", "IMAP4REV1", "LITERAL+", "LOGIN-REFERRALS", "STARTTLS"}, nil),
		"after":   report(IMAP, []string{"AUTH=PLAIN", "ID", "IMAP4REV1", "LITERAL+"}, []string{"ID", "IDLE", "IMAP4REV1"}),
		"other":   report(IMAP, []string{"IMAP4REV1", "UNAUTHENTICATE"}, nil),
		"small":   report(SMTP, []string{"AUTH PLAIN", "DSN", "SIZE 100", "XCLIENT NAME LOGIN", "XFORWARD NAME"}, nil),
		"big":     report(SMTP, []string{"8BITMIME", "DSN", "LIMITS RCPTMAX=5", "SIZE 1000"}, nil),
		"endless": report(SMTP, []string{"DSN", "LIMITS RCPTMAX=6", "SIZE"}, nil),
		"zero":    report(SMTP, []string{"DSN", "SIZE 0"}, nil),
		"nosize":  report(SMTP, []string{"8BITMIME", "DSN"}, nil),
		"pop3":    report(POP3, []string{"SASL PLAIN", "STLS", "TOP"}, nil),
	}
	for _, tt := range []struct {
		name, protocol string
		names, want    []string
	}{
		{"one", IMAP, []string{"imap"}, []string{"ID", "IMAP4REV1", "LITERAL+"}},
		{"what holds after the sign-in too", IMAP, []string{"after"}, []string{"ID", "IMAP4REV1"}},
		{"all of two", IMAP, []string{"imap", "other"}, []string{"IMAP4REV1"}},
		{"one is not known", IMAP, []string{"imap", "never probed"}, nil},
		{"another protocol", IMAP, []string{"imap", "pop3"}, nil},
		{"none", IMAP, nil, nil},
		{"smallest SIZE", SMTP, []string{"big", "small"}, []string{"DSN", "SIZE 100"}},
		{"smallest SIZE, the other way", SMTP, []string{"small", "big"}, []string{"DSN", "SIZE 100"}},
		{"SIZE without a limit", SMTP, []string{"endless", "big"}, []string{"DSN", "SIZE 1000"}},
		{"SIZE zero is without a limit", SMTP, []string{"big", "zero"}, []string{"DSN", "SIZE 1000"}},
		{"SIZE without limits", SMTP, []string{"zero", "endless"}, []string{"DSN", "SIZE"}},
		{"SIZE of one", SMTP, []string{"big", "nosize"}, []string{"8BITMIME", "DSN"}},
		{"POP3", POP3, []string{"pop3"}, []string{"TOP"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := &Pool{good: good}
			if got := p.Offer(tt.protocol, tt.names); !slices.Equal(got, tt.want) || (got == nil) != (tt.want == nil) {
				t.Errorf("Offer = %q, want %q", got, tt.want)
			}
		})
	}
}
