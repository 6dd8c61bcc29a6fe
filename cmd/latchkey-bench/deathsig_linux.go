package main

import "syscall"

// endWithUs has the kernel end a child when we are gone.
func endWithUs(a *syscall.SysProcAttr) { a.Pdeathsig = syscall.SIGTERM }
