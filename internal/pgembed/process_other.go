//go:build !linux

package pgembed

import "syscall"

// endWithParent can do nothing here: only SIGKILL of the keeper itself leaves the server behind.
func endWithParent() *syscall.SysProcAttr { return nil }
