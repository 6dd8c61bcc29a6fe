package redistest

import (
	"encoding/json"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/Shopify/toxiproxy/v2/toxics"
	"github.com/rs/zerolog"
)

// A Proxy stands before a server and breaks connections, those that are open too. Faults add up until Heal. Its
// goroutines are of this process: who counts goroutines counts those of the package under test.
type Proxy struct {
	Addr string
	t    testing.TB
	p    *toxiproxy.Proxy
}

// NewProxy stands before the server at addr until the test ends.
func NewProxy(t testing.TB, addr string) *Proxy {
	t.Helper()
	return newProxy(t, takePorts(t).addr(0), addr)
}

func newProxy(t testing.TB, listen, addr string) *Proxy {
	t.Helper()
	registerOurs()
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	p := &Proxy{Addr: listen, t: t, p: toxiproxy.NewProxy(server, listen, listen, addr)}
	p.Accept()
	t.Cleanup(p.p.Stop)
	return p
}

// Latency delays each answer by d.
func (p *Proxy) Latency(d time.Duration) {
	p.t.Helper()
	p.add("latency", "downstream", "latency", d.Milliseconds())
}

// Slow lets answers through at so many kilobytes a second.
func (p *Proxy) Slow(kilobytes int) {
	p.t.Helper()
	p.add("bandwidth", "downstream", "rate", int64(kilobytes))
}

// Hang holds back what either side says; Heal lets it through, as when a stopped server goes on.
func (p *Proxy) Hang() { p.t.Helper(); p.both("latency", "latency", time.Hour.Milliseconds()) }

// Partition drops what either side says. Connections stay open until Heal, which closes them.
func (p *Proxy) Partition() { p.t.Helper(); p.both("timeout", "timeout", 0) }

// Reset resets each connection at the first byte of a request.
func (p *Proxy) Reset() { p.t.Helper(); p.add("reset_peer", "upstream", "timeout", 0) }

// CutAnswers closes the next n connections at the first byte of an answer: the server has done what was asked, and
// nobody hears of it. Those after them go through.
func (p *Proxy) CutAnswers(n int) { p.t.Helper(); p.add("cut_answers", "downstream", "left", int64(n)) }

// Refuse closes all connections and refuses new ones, until Accept.
func (p *Proxy) Refuse() { p.p.Stop() }

// Accept ends Refuse.
func (p *Proxy) Accept() {
	p.t.Helper()
	if err := p.p.Start(); err != nil {
		p.t.Fatalf("proxy at %s: %v", p.Addr, err)
	}
}

// Drop closes all connections once, and accepts new ones.
func (p *Proxy) Drop() { p.t.Helper(); p.Refuse(); p.Accept() }

// Heal ends all faults but Refuse.
func (p *Proxy) Heal() { p.p.Toxics.ResetToxics(p.t.Context()) }

func (p *Proxy) both(kind, attribute string, value int64) {
	p.t.Helper()
	p.add(kind, "upstream", attribute, value)
	p.add(kind, "downstream", attribute, value)
}

// add speaks JSON because the library's one public way to add a fault does.
func (p *Proxy) add(kind, direction, attribute string, value int64) {
	p.t.Helper()
	fault, err := json.Marshal(map[string]any{
		"type": kind, "stream": direction, "attributes": map[string]int64{attribute: value},
	})
	if err == nil {
		_, err = p.p.Toxics.AddToxicJson(strings.NewReader(string(fault)))
	}
	if err != nil {
		p.t.Fatalf("proxy at %s: add %s: %v", p.Addr, kind, err)
	}
}

// cutAnswers is the fault behind CutAnswers; all connections of a proxy share one.
type cutAnswers struct {
	Left int64 `json:"left"` // atomic once added
}

// Pipe keeps toxics.Toxic.
func (c *cutAnswers) Pipe(stub *toxics.ToxicStub) {
	for {
		select {
		case <-stub.Interrupt:
			return
		case chunk := <-stub.Input:
			if chunk == nil || atomic.AddInt64(&c.Left, -1) >= 0 {
				stub.Close()
				return
			}
			stub.Output <- chunk
		}
	}
}

// registerOurs tells the library of our fault, once in a process: its registry is global. Its log speaks on stderr
// about each connection, whatever logger it is given.
var registerOurs = sync.OnceFunc(func() {
	toxics.Register("cut_answers", new(cutAnswers))
	zerolog.SetGlobalLevel(zerolog.Disabled)
})
