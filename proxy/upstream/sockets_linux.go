package upstream

import (
	"errors"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"latchkey/proxy/wire"
)

// bindLate lets bind take the address and leave the port to connect: ip(7), IP_BIND_ADDRESS_NO_PORT. A kernel without it
// binds a port early, which works as well until ports are scarce.
func bindLate(_, _ string, c syscall.RawConn) error {
	return c.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
	})
}

// canWarm: it can be seen without waiting whether a connection is stale.
const canWarm = true

// silent says whether nothing has come, neither octets nor an end. It asks past any deadline and does not wait.
func silent(c *wire.Conn) bool {
	raw, err := c.SyscallConn()
	if err != nil {
		return false
	}
	nothing := false
	err = raw.Control(func(fd uintptr) {
		var p [1]byte
		_, _, err := unix.Recvfrom(int(fd), p[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		nothing = errors.Is(err, unix.EAGAIN)
	})
	return err == nil && nothing
}

// hurry bounds how long what was sent may stay without an acknowledgement: tcp(7), TCP_USER_TIMEOUT. Zero: as the system
// has it. A socket of another kind needs none.
func hurry(c *wire.Conn, d time.Duration) {
	raw, err := c.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(d.Milliseconds()))
	})
}
