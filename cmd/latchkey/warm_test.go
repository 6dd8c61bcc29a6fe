package main

import (
	"strings"
	"sync"
	"testing"
	"time"

	"latchkey/configs"
	"latchkey/policy"
	"latchkey/proxy/peers"
)

// warmHouse has connections waiting at Dovecot, under TLS, and at Postfix.
func warmHouse(t *testing.T) (*realHouse, *peers.DovecotServer, *peers.PostfixServer) {
	t.Helper()
	d, p := peers.Dovecot(t, peers.DovecotOptions{TLS: true}), peers.Postfix(t, peers.PostfixOptions{})
	up := func(protocol, address, facts string) configs.Upstream {
		u := master(t, protocol, address, facts)
		u.TLS, u.Warm = configs.TLS{Mode: "tls", CAFile: d.CA}, 4
		return u
	}
	r := startHouse(t, map[string]configs.Upstream{
		"imap": up(policy.IMAP, d.IMAPS, "id"), "pop3": up(policy.POP3, d.POP3S, "xclient"),
		"smtp": {Protocol: policy.SMTP, Addresses: []string{p.Submission}, TLS: configs.TLS{Mode: "none"}, SignIn: "xclient", Warm: 4},
	})
	r.untilWarm(t)
	return r, d, p
}

// untilWarm waits until as many wait as shall.
func (r *realHouse) untilWarm(t *testing.T) {
	t.Helper()
	cold := func() string {
		for _, u := range r.h.snapshot().pool.Health() {
			for _, a := range u.Addresses {
				if a.Warm < 4 {
					return a.Address
				}
			}
		}
		return ""
	}
	for deadline := time.Now().Add(patience); cold() != ""; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s never has four connections waiting", cold())
		}
	}
}

// A client sees the same, whether its way was made ahead or not.
func TestPeersWarm(t *testing.T) {
	t.Parallel()
	r, d, p := warmHouse(t)
	plain := func(address string) peers.Endpoint {
		return peers.Endpoint{Addr: address, Security: peers.TLS, CA: d.CA, User: appMember, Password: peers.UserPassword}
	}
	t.Run("imap", func(t *testing.T) { peers.Same(t, peers.IMAPScenarios(), plain(d.IMAPS), r.at("imaps", appMember)) })
	t.Run("pop3", func(t *testing.T) { peers.Same(t, peers.POP3Scenarios(d), plain(d.POP3S), r.at("pop3s", appMember)) })
	t.Run("smtp", func(t *testing.T) {
		direct := peers.Endpoint{Addr: p.Submission, User: appMember, Password: peers.UserPassword}
		peers.Same(t, peers.PostfixScenarios(p.Arrived), direct, r.at("submissions", appMember))
	})
}

// Dovecot goes and comes back while connections wait there: whoever signs in afterwards gets in, at once.
func TestPeersWarmBeforeARestart(t *testing.T) {
	t.Parallel()
	r, d, _ := warmHouse(t)
	for range 3 {
		d.Kill(t)
		d.Restart(t)
		untilWell(t, r.h)
		var all sync.WaitGroup
		for range 6 {
			all.Go(func() {
				c, said := tryLoginAs(t, r, appMember)
				defer c.Close()
				if !strings.HasPrefix(said, "a OK") {
					t.Errorf("a sign-in after the restart: %q", said)
				}
			})
		}
		all.Wait()
		r.untilWarm(t)
	}
}
