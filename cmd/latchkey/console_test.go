package main

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"

	"latchkey/proxy/peers"
)

// walk is somebody with a browser before the demo.
type walk struct {
	t     *testing.T
	d     *runningDemo
	b     *peers.Browser
	watch *peers.Watch
	shots string // folder of the pictures; empty: none is taken
	heavy int64  // bytes of the heaviest page
}

// picturesOf is where pictures are kept when they are asked for (make pictures).
const picturesOf = "LATCHKEY_PICTURES"

func newWalk(t *testing.T, d *runningDemo) *walk {
	t.Helper()
	peers.Need(t, "chromium", "axe-core")
	pair, err := tls.LoadX509KeyPair(filepath.Join(filepath.Dir(d.CA), "server.pem"), filepath.Join(filepath.Dir(d.CA), "server.key"))
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	w := &walk{t: t, d: d, b: peers.Chromium(t, leaf), shots: os.Getenv(picturesOf)}
	w.watch = w.b.Watch(t)
	w.b.Size(t, 1280, 900)
	return w
}
