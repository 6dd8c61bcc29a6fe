package upstream

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// bindLate lets bind take the address and leave the port to connect: ip(7), IP_BIND_ADDRESS_NO_PORT. A kernel without it
// binds a port early, which works as well until ports are scarce.
func bindLate(_, _ string, c syscall.RawConn) error {
	return c.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
	})
}
