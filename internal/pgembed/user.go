package pgembed

import (
	"os"
	"os/user"
	"strconv"
	"syscall"
)

// ordinaryUser puts the keeper in a process group of its own and, where this process is
// root's, gives it a user without rights.
func ordinaryUser() (*syscall.SysProcAttr, error) {
	attributes := &syscall.SysProcAttr{Setpgid: true}
	if os.Geteuid() != 0 {
		return attributes, nil
	}
	attributes.Credential = &syscall.Credential{Uid: 65534, Gid: 65534}
	for _, name := range []string{"postgres", "nobody"} {
		found, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.ParseUint(found.Uid, 10, 32)
		if err != nil {
			return nil, err
		}
		gid, err := strconv.ParseUint(found.Gid, 10, 32)
		if err != nil {
			return nil, err
		}
		attributes.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		break
	}
	return attributes, nil
}
