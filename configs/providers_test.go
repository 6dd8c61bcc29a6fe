package configs

import (
	"slices"
	"strings"
	"testing"
)

// One issuer stands once, whatever the kinds of the entries: an account there is linked by its issuer, so a member whose
// LINE is denied would come in by the other entry.
func TestProvidersShareNoIssuer(t *testing.T) {
	line := Provider{Name: "line", Kind: LINE}
	corp := Provider{Name: "corp", Kind: OpenID, Issuer: "https://id.example.net"}
	for name, c := range map[string]struct {
		l    []Provider
		want bool
	}{
		"two issuers":              {[]Provider{line, corp}, false},
		"one issuer":               {[]Provider{corp, {Name: "staff", Kind: OpenID, Issuer: corp.Issuer}}, true},
		"of two kinds":             {[]Provider{{Name: "line", Kind: LINE, Issuer: corp.Issuer}, corp}, true},
		"LINE's, left out":         {[]Provider{line, {Name: "line2", Kind: OpenID, Issuer: lineIssuer}}, true},
		"left out, the other way":  {[]Provider{{Name: "line2", Kind: OpenID, Issuer: lineIssuer}, line}, true},
		"none, which is a mistake": {[]Provider{{Name: "a", Kind: OpenID}, {Name: "b", Kind: OpenID}}, false},
	} {
		cfg := &Config{SignIn: SignIn{Providers: c.l}}
		var keys []string
		cfg.validateProviders(func(key, format string, _ ...any) {
			if strings.HasSuffix(key, ".issuer") && strings.HasPrefix(format, "is another") {
				keys = append(keys, key)
			}
		})
		if got := slices.Contains(keys, "sign_in.providers[1].issuer"); got != c.want {
			t.Errorf("%s: %v, want %v", name, keys, c.want)
		}
	}
}
