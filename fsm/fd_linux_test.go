package fsm

import (
	"os"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// replaceFD makes a file descriptor one that cannot be written.
func replaceFD(t *testing.T, name string) {
	t.Helper()
	fd, err := strconv.Atoi(name)
	if err != nil {
		t.Fatal(err)
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	if err := unix.Dup2(int(null.Fd()), fd); err != nil {
		t.Fatal(err)
	}
}
