package proxy_test

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"latchkey/proxy"
	"latchkey/proxy/proxytest"
)

// pair writes a certificate for these names under a file name.
func pair(t *testing.T, ca *proxytest.CA, dir, file string, names ...string) proxy.KeyPair {
	t.Helper()
	cert, key := proxytest.Files(t, dir, file, ca.Leaf(t, names...))
	return proxy.KeyPair{CertFile: cert, KeyFile: key}
}

// served answers the certificate that a client gets who asks for name.
func served(t *testing.T, cfg *tls.Config, name string) *x509.Certificate {
	t.Helper()
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	go func() { _ = tls.Server(b, cfg).Handshake() }()
	c := tls.Client(a, &tls.Config{ServerName: name, InsecureSkipVerify: true, NextProtos: cfg.NextProtos}) // which one, not whether
	if err := c.Handshake(); err != nil {
		t.Fatalf("handshake for %q: %v", name, err)
	}
	state := c.ConnectionState()
	if len(cfg.NextProtos) > 0 && state.NegotiatedProtocol != cfg.NextProtos[0] {
		t.Errorf("protocol: got %q, want %q", state.NegotiatedProtocol, cfg.NextProtos[0])
	}
	return state.PeerCertificates[0]
}

func TestCertificateByName(t *testing.T) {
	ca, dir := proxytest.NewCA(t), t.TempDir()
	certs, warnings, err := proxy.LoadCertificates([]proxy.KeyPair{
		pair(t, ca, dir, "first", "first.example", "127.0.0.1"),
		pair(t, ca, dir, "second", "Second.example", "*.wild.example"),
	})
	if err != nil || len(warnings) != 0 {
		t.Fatalf("load: %v, %v", warnings, err)
	}
	cfg := certs.Config("h2", "http/1.1")
	for asked, want := range map[string]string{
		"first.example":    "first.example",
		"second.example":   "Second.example",
		"SECOND.example":   "Second.example",
		"a.wild.example":   "Second.example",
		"a.b.wild.example": "first.example",
		"wild.example":     "first.example",
		"other.example":    "first.example",
		"":                 "first.example",
		"127.0.0.1":        "first.example",
	} {
		if got := served(t, cfg, asked).Subject.CommonName; got != want {
			t.Errorf("asked for %q: got the certificate of %s, want %s", asked, got, want)
		}
	}
	if got, want := certs.Names(), []string{"*.wild.example", "first.example", "second.example"}; !slices.Equal(got, want) {
		t.Errorf("names: got %q, want %q", got, want)
	}
	if cfg.MinVersion != tls.VersionTLS12 {
		t.Errorf("least version: %x", cfg.MinVersion)
	}
}

func TestReload(t *testing.T) {
	ca, dir := proxytest.NewCA(t), t.TempDir()
	pairs := []proxy.KeyPair{pair(t, ca, dir, "a", "a.example"), pair(t, ca, dir, "b", "b.example")}
	certs, _, err := proxy.LoadCertificates(pairs)
	if err != nil {
		t.Fatal(err)
	}
	cfg := certs.Config()
	before := served(t, cfg, "a.example")

	// One file broken: the old ones stay, all of them, and the error names it.
	pair(t, ca, dir, "a", "a.example")
	if err := os.WriteFile(pairs[1].CertFile, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := certs.Reload(); err == nil || !strings.Contains(err.Error(), pairs[1].CertFile) {
		t.Errorf("reload with a broken file: got %v, want an error that names %s", err, pairs[1].CertFile)
	}
	if !served(t, cfg, "a.example").Equal(before) {
		t.Error("a failed reload has changed a certificate")
	}

	// A key that belongs to another certificate.
	pair(t, ca, dir, "b", "b.example")
	mixed, _, err := proxy.LoadCertificates([]proxy.KeyPair{{CertFile: pairs[0].CertFile, KeyFile: pairs[1].KeyFile}})
	if err == nil || !strings.Contains(err.Error(), pairs[1].KeyFile) || mixed != nil {
		t.Errorf("load with another's key: got %v", err)
	}

	if _, err := certs.Reload(); err != nil {
		t.Fatalf("reload: %v", err)
	}
	if served(t, cfg, "a.example").Equal(before) {
		t.Error("a reload has not changed the certificate")
	}
}

func TestCertificateWarnings(t *testing.T) {
	ca, dir := proxytest.NewCA(t), t.TempDir()
	for name, tt := range map[string]struct {
		until time.Duration
		want  string
	}{
		"expired": {-time.Hour, "expired on"},
		"soon":    {13 * 24 * time.Hour, "expires on"},
		"fine":    {15 * 24 * time.Hour, ""},
	} {
		t.Run(name, func(t *testing.T) {
			cert, key := proxytest.Files(t, dir, name, ca.LeafUntil(t, time.Now().Add(tt.until), "a.example"))
			_, warnings, err := proxy.LoadCertificates([]proxy.KeyPair{{CertFile: cert, KeyFile: key}})
			if err != nil {
				t.Fatal(err)
			}
			if tt.want == "" {
				if len(warnings) != 0 {
					t.Errorf("warnings: %v", warnings)
				}
				return
			}
			if len(warnings) != 1 || warnings[0].File != cert || !strings.Contains(warnings[0].Text, tt.want) {
				t.Errorf("warnings: got %v, want one of %s with %q", warnings, cert, tt.want)
			}
		})
	}
}

func TestNoCertificates(t *testing.T) {
	if _, _, err := proxy.LoadCertificates(nil); err == nil {
		t.Error("no certificates were loaded without an error")
	}
}
