package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// attach makes the program's standard error a terminal, and returns what reads all that it
// shows, once the program is started.
func attach(t *testing.T, command *exec.Cmd) func() string {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil && os.Getenv("CI") == "true" {
		t.Fatal("no terminal can be made here:", err)
	}
	if err != nil {
		t.Skip("no terminal can be made here:", err)
	}
	t.Cleanup(func() { _ = master.Close() })
	var number, locked int32
	ioctl := func(request uintptr, value *int32) {
		if _, _, failed := unix.Syscall(unix.SYS_IOCTL, master.Fd(), request, uintptr(unsafe.Pointer(value))); failed != 0 {
			t.Fatal(failed)
		}
	}
	ioctl(unix.TIOCSPTLCK, &locked)
	ioctl(unix.TIOCGPTN, &number)
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	command.Stderr = slave
	return func() string {
		_ = slave.Close() // the program has its own
		var seen bytes.Buffer
		_, _ = io.Copy(&seen, master) // it ends with an error, when the program does
		return seen.String()
	}
}
