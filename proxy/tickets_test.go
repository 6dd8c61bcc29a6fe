package proxy_test

import (
	"crypto/tls"
	"maps"
	"net"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"latchkey/proxy"
	"latchkey/proxy/proxytest"
)

// visitor is a client that keeps its tickets under one key, whatever name it asks for.
type visitor struct {
	cfg *tls.Config
}

func newVisitor(ca *proxytest.CA, version uint16) *visitor {
	cfg := ca.Client("")
	cfg.MaxVersion = version
	cfg.ClientSessionCache = oneTicket{tls.NewLRUClientSessionCache(1)}
	return &visitor{cfg}
}

// oneTicket offers the last ticket everywhere.
type oneTicket struct{ tls.ClientSessionCache }

func (o oneTicket) Get(string) (*tls.ClientSessionState, bool) { return o.ClientSessionCache.Get("") }
func (o oneTicket) Put(_ string, s *tls.ClientSessionState)    { o.ClientSessionCache.Put("", s) }

// visit asks for name and answers whether the session was resumed.
func (v *visitor) visit(t *testing.T, door *tls.Config, name string) bool {
	t.Helper()
	a, b := net.Pipe()
	defer a.Close()
	served := make(chan error, 1)
	go func() {
		s := tls.Server(b, door)
		_, err := s.Write([]byte("x")) // behind the ticket
		served <- err
		b.Close()
	}()
	cfg := v.cfg.Clone()
	cfg.ServerName = name
	c := tls.Client(a, cfg)
	if _, err := c.Read(make([]byte, 1)); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if err := <-served; err != nil {
		t.Fatal(err)
	}
	return c.ConnectionState().DidResume
}

// One ticket is good at every door and clone of one, and only for the name and the certificate that it was given under.
func TestTickets(t *testing.T) {
	for version, of := range map[string]uint16{"TLS 1.2": tls.VersionTLS12, "TLS 1.3": tls.VersionTLS13} {
		t.Run(version, func(t *testing.T) {
			ca, dir := proxytest.NewCA(t), t.TempDir()
			pairs := []proxy.KeyPair{pair(t, ca, dir, "first", "a.example", "b.example"), pair(t, ca, dir, "second", "c.example")}
			certs, _, err := proxy.LoadCertificates(pairs)
			if err != nil {
				t.Fatal(err)
			}
			registry := prometheus.NewRegistry()
			certs.CountTickets(proxy.NewMetrics(registry))
			mail, web := certs.Config(), certs.Config("h2", "http/1.1")
			v := newVisitor(ca, of)
			expect := func(door *tls.Config, name string, want bool) {
				t.Helper()
				if got := v.visit(t, door, name); got != want {
					t.Errorf("%s: resumed %v, want %v", name, got, want)
				}
			}
			expect(mail, "a.example", false)
			expect(mail, "a.example", true)
			expect(web, "A.example", true)
			expect(web.Clone(), "a.example", true)
			expect(mail, "b.example", false) // the same certificate, another name
			expect(mail, "c.example", false)
			expect(mail, "c.example", true)
			pair(t, ca, dir, "second", "c.example") // a new one in its place
			if _, err := certs.Reload(); err != nil {
				t.Fatal(err)
			}
			expect(mail, "c.example", false)
			expect(mail, "c.example", true)

			one, two, three := [32]byte{1}, [32]byte{2}, [32]byte{3}
			certs.SetTicketKeys([][32]byte{one}) // of clones too
			clone := mail.Clone()
			expect(clone, "c.example", false)
			certs.SetTicketKeys([][32]byte{two, one})
			expect(clone, "c.example", true)
			certs.SetTicketKeys([][32]byte{three, two})
			expect(mail, "c.example", true) // the ticket was renewed under the second
			other, _, err := proxy.LoadCertificates(pairs)
			if err != nil {
				t.Fatal(err)
			}
			expect(other.Config(), "c.example", false) // another node
			v = newVisitor(ca, of)
			expect(mail, "c.example", false)
			other.SetTicketKeys([][32]byte{three})
			expect(other.Config(), "c.example", true) // with the same keys
			want := map[string]float64{"accepted": 7, "issued": 13, "refused": 3}
			if got := ticketsCounted(t, registry); !maps.Equal(got, want) {
				t.Errorf("counted %v, want %v", got, want)
			}
			if !mail.DynamicRecordSizingDisabled || !clone.DynamicRecordSizingDisabled {
				t.Error("records begin small")
			}
		})
	}
}

func ticketsCounted(t *testing.T, registry *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	counted := map[string]float64{}
	for _, f := range families {
		if f.GetName() != "latchkey_proxy_tls_tickets_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			counted[m.GetLabel()[0].GetValue()] = m.GetCounter().GetValue()
		}
	}
	return counted
}
