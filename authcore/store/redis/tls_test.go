package redis

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"latchkey/authcore/store"
	"latchkey/authcore/store/redistest"
	"latchkey/authcore/store/storetest"
)

// A server that speaks TLS and asks for a certificate: records, values and messages go that way, and nobody else's do.
func TestPeersTLS(t *testing.T) {
	needTLS(t)
	ours, others := certificate(t), certificate(t)
	at := speaksTLS(t, ours)
	o := Options{Mode: Standalone, Addresses: []string{at}}
	o.TLS = &tls.Config{RootCAs: ours.pool, Certificates: []tls.Certificate{ours.pair}, MinVersion: tls.VersionTLS12}
	db := mustOpen(t, o)
	mustApply(t, db.Records(), "p", storetest.PutNew("a", "v"))
	messages, err := db.Bus().Subscribe(t.Context(), "topic")
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Bus().Publish(t.Context(), "topic", []byte("m")); err != nil {
		t.Fatal(err)
	}
	if m := <-messages; string(m) != "m" {
		t.Errorf("got %q, want m", m)
	}
	for name, conf := range map[string]*tls.Config{
		"in the clear":       nil,
		"unknown authority":  {RootCAs: others.pool, Certificates: []tls.Certificate{ours.pair}, MinVersion: tls.VersionTLS12},
		"another name":       {RootCAs: ours.pool, Certificates: []tls.Certificate{ours.pair}, ServerName: "of.another.test", MinVersion: tls.VersionTLS12},
		"no certificate":     {RootCAs: ours.pool, MinVersion: tls.VersionTLS12},
		"others certificate": {RootCAs: ours.pool, Certificates: []tls.Certificate{others.pair}, MinVersion: tls.VersionTLS12},
	} {
		t.Run(name, func(t *testing.T) {
			o := o
			o.TLS, o.StateDir = conf, filepath.Join(t.TempDir(), "state")
			db, err := Open(t.Context(), o)
			if err == nil {
				db.Close()
			}
			if !errors.Is(err, store.ErrUnavailable) {
				t.Errorf("got %v, want store.ErrUnavailable", err)
			}
		})
	}
}

// needTLS skips where Debian's server is built without.
func needTLS(t *testing.T) {
	t.Helper()
	redistest.Need(t, "redis-server", "redis-cli")
	help, _ := exec.Command("redis-cli", "--help").CombinedOutput()
	if !strings.Contains(string(help), "--tls") {
		t.Skip("needs a redis-server built with TLS")
	}
}

type issued struct {
	cert, key string // files
	pool      *x509.CertPool
	pair      tls.Certificate
}

// certificate makes one of 127.0.0.1 that signs itself.
func certificate(t *testing.T) issued {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	i := issued{cert: filepath.Join(t.TempDir(), "cert.pem"), key: filepath.Join(t.TempDir(), "key.pem"), pool: x509.NewCertPool()}
	for file, block := range map[string]*pem.Block{i.cert: {Type: "CERTIFICATE", Bytes: der}, i.key: {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if i.pair, err = tls.LoadX509KeyPair(i.cert, i.key); err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	i.pool.AddCert(leaf)
	return i
}

// speaksTLS starts a server and answers where it speaks TLS: at the port of a Cluster's bus, which it has none of.
func speaksTLS(t *testing.T, i issued) string {
	t.Helper()
	s := redistest.Own(t, "redis-server", redistest.Account{}, func(s *redistest.Server) string {
		return strings.Join([]string{
			"bind 127.0.0.1", "port " + s.Port(), "dir " + s.Dir, "appendonly yes", "appendfsync always", `save ""`,
			fmt.Sprintf("tls-port %d", s.BusPort()), "tls-cert-file " + i.cert, "tls-key-file " + i.key,
			"tls-ca-cert-file " + i.cert, "tls-auth-clients yes",
		}, "\n")
	})
	return fmt.Sprintf("127.0.0.1:%d", s.BusPort())
}
