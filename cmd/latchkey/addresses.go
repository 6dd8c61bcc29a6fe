package main

import "github.com/prometheus/client_golang/prometheus"

// addressesUp shows which addresses of the upstreams are well; those of a new configuration after a reload.
type addressesUp struct{ h *house }

var addressUp = prometheus.NewDesc(prometheus.BuildFQName("latchkey", "", "upstream_address_up"), "1: members are led there; 0: it is down, /upstreams says why.", []string{"upstream", "address"}, nil)

func (a addressesUp) Describe(to chan<- *prometheus.Desc) { to <- addressUp }

func (a addressesUp) Collect(to chan<- prometheus.Metric) {
	pool := a.h.snapshot().pool
	if pool == nil {
		return
	}
	for _, u := range pool.Health() {
		for _, x := range u.Addresses {
			up := 0.0
			if x.Well {
				up = 1
			}
			to <- prometheus.MustNewConstMetric(addressUp, prometheus.GaugeValue, up, u.Upstream, x.Address)
		}
	}
}
