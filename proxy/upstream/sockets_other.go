//go:build !linux

package upstream

import (
	"syscall"
	"time"

	"latchkey/proxy/wire"
)

// bindLate does nothing: other systems choose the port when the address is bound.
func bindLate(_, _ string, _ syscall.RawConn) error { return nil }

// canWarm: connections are warm on Linux alone.
const canWarm = false

func silent(*wire.Conn) bool { return false }

func hurry(*wire.Conn, time.Duration) {}
