package upstream

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// Health is how an upstream is, as its probes saw it. The private listener shows it under these names.
type Health struct {
	Upstream string    `json:"upstream"`
	Protocol string    `json:"protocol"`
	Well     bool      `json:"well"`
	Since    time.Time `json:"since,omitzero"`  // when it became so; zero: never probed
	Probed   time.Time `json:"probed,omitzero"` // the last time; zero: never
	// Problem says what the last probe failed at, for operators; empty: nothing. It holds no secret.
	Problem            string    `json:"problem,omitempty"`
	CertificateExpires time.Time `json:"certificate_expires,omitzero"` // as last seen; zero: none was
	// Addresses are how each of its addresses is.
	Addresses []AddressHealth `json:"addresses,omitempty"`
}

// Run probes every upstream again and again until ctx ends, and keeps connections warm; it returns when all of that has ended.
func (p *Pool) Run(ctx context.Context) {
	var probes sync.WaitGroup
	for _, name := range p.names {
		probes.Go(func() { p.watch(ctx, name) })
		probes.Go(func() { p.revive(ctx, p.servers[name]) })
		for _, a := range p.warmed(name) {
			probes.Go(func() { p.keepWarm(ctx, p.servers[name], a) })
		}
	}
	probes.Wait()
}

func (p *Pool) watch(ctx context.Context, name string) {
	for ctx.Err() == nil {
		_, _ = p.Probe(ctx, name) // noted and logged by Probe
		select {
		case <-ctx.Done():
		case <-time.After(jittered(p.o.ProbeEvery)):
		}
	}
}

// jittered answers d, give or take a fifth, so that the nodes of a fleet do not knock together.
func jittered(d time.Duration) time.Duration {
	return d*4/5 + rand.N(d*2/5+1)
}

// Health answers how every upstream is, in the order of the configuration.
func (p *Pool) Health() []Health {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make([]Health, 0, len(p.names))
	for _, name := range p.names {
		h := p.health[name]
		for _, a := range p.servers[name].addresses {
			h.Addresses = append(h.Addresses, a.health())
		}
		all = append(all, h)
	}
	return all
}

// note remembers a probe, and logs a change.
func (p *Pool) note(s *server, r Report, err error) {
	before, now := p.remember(s, r, err)
	switch {
	case now.Well && !before.Well:
		p.o.Log.Info("upstream is well", "upstream", s.Name)
	case !now.Well && (before.Well || before.Since.IsZero()):
		p.o.Log.Error("upstream is not well", "upstream", s.Name, "err", err)
	}
}

func (p *Pool) remember(s *server, r Report, err error) (before, now Health) {
	p.mu.Lock()
	defer p.mu.Unlock()
	before = p.health[s.Name]
	now = before
	now.Well, now.Probed, now.Problem = err == nil, r.At, ""
	if err != nil {
		now.Problem = err.Error()
	} else {
		p.good[s.Name] = r
	}
	if now.Well != before.Well || before.Since.IsZero() {
		now.Since = r.At
	}
	if !r.CertificateExpires.IsZero() {
		now.CertificateExpires = r.CertificateExpires
	}
	p.health[s.Name] = now
	return before, now
}
