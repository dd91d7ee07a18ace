package prompt

import "golang.org/x/sys/unix"

// quiet makes a terminal keep what is typed, without showing it, until somebody
// reads; Ctrl-C is still a signal, and drops it.
func quiet(fd int) error {
	t, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return err
	}
	t.Lflag &^= unix.ECHO | unix.ICANON
	t.Lflag |= unix.ISIG
	t.Cc[unix.VMIN], t.Cc[unix.VTIME] = 1, 0
	return unix.IoctlSetTermios(fd, unix.TCSETS, t)
}
