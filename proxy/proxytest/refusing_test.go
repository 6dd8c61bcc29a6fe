package proxytest

import (
	"errors"
	"net"
	"syscall"
	"testing"
	"time"
)

func TestRefusing(t *testing.T) {
	address := Refusing(t)
	for range 3 {
		if c, err := net.DialTimeout("tcp", address, 10*time.Second); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("got %v, %v, want that it is refused", c, err)
		}
	}
	if ln, err := net.Listen("tcp", address); err == nil {
		_ = ln.Close()
		t.Errorf("somebody else listens at %s", address)
	}
}
