package wire_test

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"testing"

	"latchkey/proxy/wire"
)

func TestCloseWrite(t *testing.T) {
	ours, theirs := tcpPair(t)
	if err := wire.CloseWrite(wrapped{ours}); err != nil {
		t.Fatal(err)
	}
	if p, err := io.ReadAll(theirs); len(p) != 0 || err != nil {
		t.Errorf("the peer read %q, %v", p, err)
	}
	if _, err := theirs.Write([]byte("x")); err != nil {
		t.Error(err)
	}
	if n, err := ours.Read(make([]byte, 9)); n != 1 || err != nil {
		t.Errorf("the other half: %d, %v", n, err)
	}
	pipe, _ := net.Pipe()
	if err := wire.CloseWrite(pipe); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("CloseWrite of a pipe = %v", err)
	}
}

// Under TLS the peer sees close_notify, and the TCP stream ends too.
func TestCloseWriteUnderTLS(t *testing.T) {
	ours, theirs := tcpPair(t)
	serverTLS, clientTLS := certificate(t)
	server, client := tls.Server(wrapped{ours}, serverTLS), tls.Client(theirs, clientTLS)
	shaken := make(chan error)
	go func() { shaken <- client.Handshake() }()
	if err := errors.Join(server.Handshake(), <-shaken, wire.CloseWrite(server)); err != nil {
		t.Fatal(err)
	}
	if p, err := io.ReadAll(client); len(p) != 0 || err != nil {
		t.Errorf("the peer read %q, %v", p, err)
	}
	if n, err := theirs.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("below TLS: %d, %v", n, err)
	}
}
