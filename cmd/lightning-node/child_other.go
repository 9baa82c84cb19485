//go:build !linux

package main

import "syscall"

// childAttributes keeps the terminal's Ctrl-C from the children, so that dev stops them in order.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
