package main

import (
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// askWithin is what a process that was started to take over has until it asks: it has only to read its configuration.
const askWithin = 15 * time.Second

// renewal is the start of a process that takes over from this one, at SIGUSR2.
type renewal struct {
	underway atomic.Bool // a process was started and has not ended
	asked    atomic.Bool // some process has asked for the sockets since
}

// start starts the program that lies at this one's path now. It takes over, or the log says why not. It stays in the unit's
// cgroup, and systemd hears that it is the main process once it serves.
func (r *renewal) start(h *house) {
	if !r.underway.CompareAndSwap(false, true) {
		h.log.Warn("no other process is started to take over: one is on its way already")
		return
	}
	r.asked.Store(false)
	args := os.Args[1:]
	if !slices.ContainsFunc(args, func(a string) bool { return strings.TrimLeft(a, "-") == "takeover" }) {
		args = append(slices.Clone(args), "-takeover")
	}
	cmd := exec.Command(h.program, args...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr // files, not pipes of this process: it outlives it
	if err := cmd.Start(); err != nil {
		r.underway.Store(false)
		h.log.Error("start the process that takes over", "error", err)
		return
	}
	log := h.log.With("pid", cmd.Process.Pid)
	log.Info("started the process that takes over")
	go r.watch(cmd, log) // ends with that process or with this one: whoever has handed over waits for nothing
}

// watch says how a process that was to take over has ended, and ends one that never asks.
func (r *renewal) watch(cmd *exec.Cmd, log *slog.Logger) {
	late := time.AfterFunc(askWithin, func() {
		if !r.asked.Load() {
			log.Error("the process that was to take over did not ask for the listening sockets: it is ended", "within", askWithin)
			_ = cmd.Process.Signal(syscall.SIGKILL) // or it has just ended
		}
	})
	err := cmd.Wait()
	late.Stop()
	r.underway.Store(false)
	switch {
	case err != nil:
		log.Error("the process that was to take over has ended", "error", err)
	case !r.asked.Load():
		log.Error("the process that was to take over has ended and never asked for the listening sockets")
	}
}
