package proxytest

import (
	"net"
	"strconv"
	"syscall"
	"testing"
)

// Refusing answers an address of loopback that refuses connections while the test lasts. A socket is bound to it that does not
// listen: the port of a closed listener may be somebody else's at once.
func Refusing(t testing.TB) string {
	t.Helper()
	fd, err := boundSocket()
	if err != nil {
		t.Fatalf("bind a socket: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	at, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatalf("ask where a socket is bound: %v", err)
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(at.(*syscall.SockaddrInet4).Port))
}

func boundSocket() (int, error) {
	syscall.ForkLock.RLock() // no program that is started meanwhile inherits it
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return 0, err
	}
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		_ = syscall.Close(fd)
		return 0, err
	}
	return fd, nil
}
