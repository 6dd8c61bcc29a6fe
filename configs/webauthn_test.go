package configs

import (
	"slices"
	"testing"
)

func TestWebAuthn(t *testing.T) {
	for name, c := range map[string]struct {
		w    WebAuthn
		want []string
	}{
		"left out":      {WebAuthn{Name: "Latchkey"}, nil},
		"whole":         {WebAuthn{RPID: "example.com", Name: "Mail", Origins: []string{"https://example.com", "https://mail.example.com:8443"}, AppOrigins: []string{"android:apk-key-hash:2jmj7l5rSw0yVb-vlWAYkK-YBwk"}}, nil},
		"an address":    {WebAuthn{RPID: "192.0.2.1", Name: "Mail"}, []string{"webauthn.rp_id"}},
		"a URL":         {WebAuthn{RPID: "https://example.com", Name: "Mail"}, []string{"webauthn.rp_id"}},
		"no name":       {WebAuthn{}, []string{"webauthn.name"}},
		"without TLS":   {WebAuthn{Name: "Mail", Origins: []string{"http://mail.example.com"}}, []string{"webauthn.origins[0]"}},
		"with a path":   {WebAuthn{Name: "Mail", Origins: []string{"https://mail.example.com/"}}, []string{"webauthn.origins[0]"}},
		"with 443":      {WebAuthn{Name: "Mail", Origins: []string{"https://mail.example.com:443"}}, []string{"webauthn.origins[0]"}},
		"another host":  {WebAuthn{Name: "Mail", Origins: []string{"https://mail.example.com", "https://evil.example"}}, []string{"webauthn.origins[1]"}},
		"ends alike":    {WebAuthn{Name: "Mail", Origins: []string{"https://evilmail.example.com"}}, []string{"webauthn.origins[0]"}},
		"an app's name": {WebAuthn{Name: "Mail", AppOrigins: []string{"com.example.mail"}}, []string{"webauthn.app_origins[0]"}},
	} {
		cfg := &Config{Hostname: "mail.example.com", WebAuthn: c.w}
		var got []string
		cfg.validateWebAuthn(func(key, _ string, _ ...any) { got = append(got, key) })
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestPartyIsFilledIn(t *testing.T) {
	c := &Config{Hostname: "mail.example.com", Listeners: []Listener{{Protocol: API, Address: ":8443"}, {Protocol: IMAP, Address: ":993"}, {Protocol: API, Address: ":443"}}}
	if p := c.Party(); p.RPID != "mail.example.com" || !slices.Equal(p.Origins, []string{"https://mail.example.com:8443", "https://mail.example.com"}) {
		t.Errorf("%+v", p)
	}
}
