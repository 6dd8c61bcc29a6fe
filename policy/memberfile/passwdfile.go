package memberfile

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// passwdRow reads one line of a passwd-file of Dovecot: user:{SCHEME}hash:uid:gid:gecos:home:shell:extra fields, of which
// the user, the hash and the name in gecos are a member. Whoever could not sign in at Dovecot is not let in here either.
func passwdRow(line, domain string) (Row, error) {
	if strings.HasPrefix(line, "#") {
		return Row{}, errNobody
	}
	f := strings.SplitN(line, ":", 8)
	r := Row{Address: strings.TrimSpace(f[0])}
	if r.Address == "" {
		return Row{}, errors.New("has no user before the first colon")
	}
	if !strings.Contains(r.Address, "@") {
		r.Address += "@" + domain
	}
	if len(f) < 2 || f[1] == "" {
		return r, errors.New("has no password: leave him out, or import him from CSV with a temporary one")
	}
	if strings.HasPrefix(f[1], "!") || strings.HasPrefix(f[1], "*") {
		return r, errors.New("has a locked password: leave him out, or import him from CSV with a temporary one")
	}
	r.Hash = f[1]
	if len(f) > 4 {
		r.Name, _, _ = strings.Cut(f[4], ",") // the rest of gecos are rooms and telephones
	}
	if len(f) == 8 {
		if word := refusing(f[7]); word != "" {
			return r, fmt.Errorf("has %s, so he cannot sign in: leave him out", word)
		}
	}
	return r, nil
}

// refusing names the extra field that keeps somebody out at Dovecot.
func refusing(extra string) string {
	for _, word := range strings.Fields(extra) {
		name, _, _ := strings.Cut(word, "=")
		if slices.Contains([]string{"nologin", "nopassword", "allow_nets"}, name) {
			return name
		}
	}
	return ""
}
