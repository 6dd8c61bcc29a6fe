//go:build !linux

package upstream

import "syscall"

// bindLate does nothing: other systems choose the port when the address is bound.
func bindLate(_, _ string, _ syscall.RawConn) error { return nil }
