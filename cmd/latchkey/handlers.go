package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"latchkey/configs"
	"latchkey/policy/admin"
	"latchkey/policy/api"
	"latchkey/policy/autoconfig"
	"latchkey/policy/console"
	"latchkey/policy/ops"
	"latchkey/policy/self"
)

// opsHandler is the private listener's.
func (h *house) opsHandler() http.Handler {
	return ops.New(ops.Options{
		Log: h.log, Metrics: h.metrics, Level: h.level, Draining: h.draining.Load,
		Ready: []ops.Check{
			{Name: "records", Check: h.storeReads},
			{Name: "server_keys", Check: func(context.Context) error { return h.core.KeysLacking() }},
			{Name: "upstreams", Check: h.anyUpstreamWell},
			{Name: "upstream addresses", Check: h.addressesWell, Warns: true},
			{Name: "spool", Check: h.spoolHasRoom, Warns: true},
			{Name: "store", Check: h.storeTells, Warns: true},
			{Name: "bus", Check: h.hearsOthers, Warns: true},
			{Name: "revocations", Check: h.revocationsAreRead, Warns: true},
		},
		Upstreams: func(context.Context) any { return h.snapshot().pool.Health() },
		More:      h.more,
	})
}

// apiHandler is the API's.
func (h *house) apiHandler() http.Handler {
	return api.New(api.Options{Core: h.core, Log: h.log, Metrics: api.NewMetrics(h.metrics), JWKS: h.signer.JWKS,
		Rates: api.Rates{PerMember: h.first.Limits.APIPerMember, PerSource: h.first.Limits.APIPerSource}},
		self.Register, admin.Register, console.Register(console.Options{Upstreams: h.consoleUpstreams, Site: h.site, Programs: h.programs}))
}

// programs is what people's programs are told.
func (h *house) programs() console.Programs {
	cfg := h.snapshot().cfg
	return console.Programs{Services: servicesOf(cfg), Pages: cfg.Pages(), Signer: func() (*autoconfig.Signer, error) { return signerOf(cfg) }}
}

// site is how the pages show themselves.
func (h *house) site() console.Site {
	cfg := h.snapshot().cfg
	return console.Site{Contacts: cfg.Console.SecurityContacts, Policy: cfg.Console.SecurityPolicy, Pages: cfg.Pages(),
		HSTS: time.Duration(cfg.Console.HSTSDays) * 24 * time.Hour}
}

func servicesOf(cfg *configs.Config) (l autoconfig.Services) {
	for _, d := range cfg.ProgramDoors() {
		l = append(l, autoconfig.Service{Door: d.Door, Host: d.Host, Port: d.Port, StartTLS: d.TLS == configs.StartTLS, Path: d.Path})
	}
	return l
}

// signerOf reads the certificate that signs profiles whenever one is made, so that a renewed one is taken; nil: none.
func signerOf(cfg *configs.Config) (*autoconfig.Signer, error) {
	chain, key, err := cfg.Programs.Signing()
	if err != nil || chain == nil {
		return nil, err
	}
	return &autoconfig.Signer{Chain: chain, Key: key}, nil
}

// consoleUpstreams is the health of the upstreams; the pages show addresses and problems to operators alone.
func (h *house) consoleUpstreams() (l []console.Upstream) {
	for _, u := range h.snapshot().pool.Health() {
		v := console.Upstream{Name: u.Upstream, Protocol: u.Protocol, Well: u.Well, Since: u.Since, Trouble: u.Problem}
		for _, a := range u.Addresses {
			v.Addresses = append(v.Addresses, console.UpstreamAddress{Address: a.Address, Well: a.Well, Since: a.Since, Trouble: a.Problem})
		}
		l = append(l, v)
	}
	return l
}

// anyUpstreamWell: with one of several upstreams down this node still serves the others' members, and another node would
// serve no more; with none it is of no use. Each one's health stands at /upstreams.
func (h *house) anyUpstreamWell(context.Context) error {
	ill := false
	for _, u := range h.snapshot().pool.Health() {
		if u.Well || u.Probed.IsZero() {
			return nil
		}
		ill = true
	}
	if ill {
		return &ops.Trouble{Sentence: "No upstream is well: /upstreams says what is wrong with each address."}
	}
	return nil
}

// addressesWell names what is down while others stand in for it.
func (h *house) addressesWell(context.Context) error {
	var down []string
	for _, u := range h.snapshot().pool.Health() {
		for _, a := range u.Addresses {
			if !a.Well {
				down = append(down, fmt.Sprintf("%s of upstream %s since %s", a.Address, u.Upstream, a.Since.UTC().Format(time.RFC3339)))
			}
		}
	}
	if len(down) == 0 {
		return nil
	}
	more := ""
	if n := len(down) - 5; n > 0 {
		down, more = down[:5], fmt.Sprintf(", and %d more", n)
	}
	return &ops.Trouble{Sentence: "Not well: " + strings.Join(down, ", ") + more + ". /upstreams says why."}
}
