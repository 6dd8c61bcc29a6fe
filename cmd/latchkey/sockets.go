package main

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"latchkey/configs"
)

// sockets are the listening sockets by the names of their listeners; "ops" is the private one. They are never accepted
// from: that is done by copies, which may be closed while the kernel's queue of clients waits for somebody else.
type sockets map[string]net.Listener

const opsSocket = "ops"

// passed are open sockets of others (systemd, the process before) by what addressed finds them under.
type passed map[string][]net.Listener

// unused closes the sockets that were passed for nothing: their clients would wait for ever.
func (h *house) unused(from string, p passed) {
	for name, l := range p {
		for _, ln := range l {
			h.log.Warn(from+" passed a socket that no listener names", "name", name)
			_ = ln.Close()
		}
	}
}

// listen is listenWith where nothing is passed.
func listen(cfg *configs.Config) (sockets, error) { return listenWith(cfg, nil) }

// listenWith opens every socket, or none, and takes out of p what it uses.
func listenWith(cfg *configs.Config, p passed) (sockets, error) {
	s := sockets{}
	var failed []error
	for _, l := range places(cfg) {
		ln, err := p.listen(l)
		if err != nil {
			failed = append(failed, cfg.At(l.key, "%v", err))
			continue
		}
		s[l.Name] = ln
	}
	if err := errors.Join(failed...); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// place is where a listener listens, and which key says so.
type place struct{ Name, Address, key string }

// places are those of every listener, the private one last.
func places(cfg *configs.Config) (all []place) {
	for i, l := range cfg.Listeners {
		all = append(all, place{l.Name, l.Address, fmt.Sprintf("listeners[%d].address", i)})
	}
	return append(all, place{opsSocket, cfg.Ops.Address, "ops.address"})
}

// handedOver is under what a socket of the process before is found: its listener's name and address. One of a listener
// that has another name now is found by its address alone.
func handedOver(name, address string) string { return name + " at " + address }

// listen takes a socket that was passed, or opens one.
func (p passed) listen(l place) (net.Listener, error) {
	if ln := p.take(handedOver(l.Name, l.Address)); ln != nil {
		return ln, nil
	}
	if ln := p.takeAt(l.Address); ln != nil {
		return ln, nil
	}
	name, ok := strings.CutPrefix(l.Address, "systemd:")
	if !ok {
		return net.Listen("tcp", l.Address)
	}
	if ln := p.take(name); ln != nil {
		return ln, nil
	}
	return nil, fmt.Errorf("systemd passed no socket named %q: set FileDescriptorName= in the socket unit", name)
}

func (p passed) take(name string) net.Listener {
	if len(p[name]) == 0 {
		return nil
	}
	ln := p[name][0]
	p[name] = p[name][1:]
	return ln
}

// takeAt finds a socket of the process before by its address, unless that address is none: port 0 means any.
func (p passed) takeAt(address string) net.Listener {
	if strings.HasSuffix(address, ":0") {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(p)) {
		if strings.HasSuffix(name, handedOver("", address)) {
			if ln := p.take(name); ln != nil {
				return ln
			}
		}
	}
	return nil
}

func (s sockets) close() {
	for _, ln := range s {
		_ = ln.Close()
	}
}

// copies answers listeners of their own at the same sockets.
func (s sockets) copies() (sockets, error) {
	all := sockets{}
	for name, ln := range s {
		again, err := copyOf(ln)
		if err != nil {
			all.close()
			return nil, fmt.Errorf("listener %s: copy its socket: %w", name, err)
		}
		all[name] = again
	}
	return all, nil
}

func copyOf(ln net.Listener) (net.Listener, error) {
	fd, err := descriptor(ln)
	if err != nil {
		return nil, err
	}
	return listenerOn(fd)
}

// descriptor answers a new descriptor of ln's socket, with whatever the kernel knows of it left as it is.
func descriptor(ln net.Listener) (fd int, err error) {
	c, ok := ln.(syscall.Conn)
	if !ok {
		return -1, fmt.Errorf("%T has no descriptor", ln)
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return -1, err
	}
	var dup error
	err = raw.Control(func(of uintptr) { fd, dup = unix.FcntlInt(of, unix.F_DUPFD_CLOEXEC, 0) })
	return fd, errors.Join(err, dup)
}

// listenerOn takes fd over.
func listenerOn(fd int) (net.Listener, error) {
	f := os.NewFile(uintptr(fd), "listener")
	defer f.Close()
	return net.FileListener(f)
}
