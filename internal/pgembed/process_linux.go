package pgembed

import "syscall"

// endWithParent makes the server stop at once when its keeper is killed.
func endWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGQUIT}
}
