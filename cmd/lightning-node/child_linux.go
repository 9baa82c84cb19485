package main

import "syscall"

// childAttributes keeps the terminal's Ctrl-C from the children, so that dev stops them in
// order, and ends them if dev itself is killed.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}
