package worker

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The rights that each version of Landlock added, all of which children lose.
const (
	landlockFS1 = unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_READ_FILE |
		unix.LANDLOCK_ACCESS_FS_READ_DIR | unix.LANDLOCK_ACCESS_FS_REMOVE_DIR | unix.LANDLOCK_ACCESS_FS_REMOVE_FILE |
		unix.LANDLOCK_ACCESS_FS_MAKE_CHAR | unix.LANDLOCK_ACCESS_FS_MAKE_DIR | unix.LANDLOCK_ACCESS_FS_MAKE_REG |
		unix.LANDLOCK_ACCESS_FS_MAKE_SOCK | unix.LANDLOCK_ACCESS_FS_MAKE_FIFO | unix.LANDLOCK_ACCESS_FS_MAKE_BLOCK |
		unix.LANDLOCK_ACCESS_FS_MAKE_SYM
	landlockFS2  = unix.LANDLOCK_ACCESS_FS_REFER
	landlockFS3  = unix.LANDLOCK_ACCESS_FS_TRUNCATE
	landlockNet4 = unix.LANDLOCK_ACCESS_NET_BIND_TCP | unix.LANDLOCK_ACCESS_NET_CONNECT_TCP
	landlockFS5  = unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
)

// Files that a child's runtime opens when it starts, beside its program, and
// how.
var startFiles = map[string]uint64{
	// By the Go runtime.
	"/sys/kernel/mm/transparent_hugepage/hpage_pmd_size": unix.LANDLOCK_ACCESS_FS_READ_FILE,
	os.DevNull: unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_WRITE_FILE,
	// By the dynamic linker, for a binary that uses C.
	"/etc/ld.so.cache": unix.LANDLOCK_ACCESS_FS_READ_FILE,
}

// landlock takes from the calling thread, and from every process and thread it
// starts from now on, all files but the program's own, and TCP. The thread must
// have no_new_privs. Scoping of signals is left out: the thread belongs to the
// worker, whose runtime sends signals from every thread to every other.
func landlock(program string) error {
	abi, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return fmt.Errorf("landlock: %w", errno)
	}
	attr := unix.LandlockRulesetAttr{Handled_access_fs: landlockFS1}
	size := unsafe.Sizeof(attr.Handled_access_fs)
	if abi >= 2 {
		attr.Handled_access_fs |= landlockFS2
	}
	if abi >= 3 {
		attr.Handled_access_fs |= landlockFS3
	}
	if abi >= 4 {
		attr.Handled_access_net = landlockNet4
		size += unsafe.Sizeof(attr.Handled_access_net)
	}
	if abi >= 5 {
		attr.Handled_access_fs |= landlockFS5
	}
	rules, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), size, 0)
	if errno != 0 {
		return fmt.Errorf("landlock: %w", errno)
	}
	defer func() { _ = unix.Close(int(rules)) }()
	if err := allowStart(int(rules), program); err != nil {
		return err
	}
	if _, _, errno := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, rules, 0, 0); errno != 0 {
		return fmt.Errorf("landlock: %w", errno)
	}
	return nil
}

// allowStart allows what it takes to start the program: its file, startFiles,
// and the libraries of this process, the same build. Those are allowed by their
// folder, so that children still start when a library was replaced by its next
// version.
func allowStart(rules int, program string) error {
	mapped, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return fmt.Errorf("landlock: %w", err)
	}
	self, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return fmt.Errorf("landlock: %w", err)
	}
	const start = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_EXECUTE
	allowed := maps.Clone(startFiles)
	for line := range strings.Lines(string(mapped)) {
		// address, permissions, offset, device, inode, path
		if f := strings.Fields(line); len(f) == 6 && strings.Contains(f[1], "x") && strings.HasPrefix(f[5], "/") && f[5] != self {
			allowed[filepath.Dir(f[5])] = start
		}
	}
	allowed[program] = start
	for path, access := range allowed {
		if err := allowFile(rules, path, access); err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("landlock: %s: %w", path, err)
		}
	}
	return nil
}

// allowFile allows access to a file, or to what is beneath a folder.
func allowFile(rules int, path string, access uint64) error {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	rule := unix.LandlockPathBeneathAttr{Allowed_access: access, Parent_fd: int32(fd)}
	_, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(rules), unix.LANDLOCK_RULE_PATH_BENEATH, uintptr(unsafe.Pointer(&rule)), 0, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// landlocked tells whether this process has lost the file system: it cannot
// list its root, which everybody may.
func landlocked() bool {
	fd, err := unix.Open("/", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err == nil {
		_ = unix.Close(fd)
	}
	return errors.Is(err, unix.EACCES)
}
