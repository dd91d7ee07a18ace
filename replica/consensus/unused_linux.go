package consensus

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// giveBack returns to the file system what a file has allocated behind its last byte
// that is not zero. What is read of it does not change. A file system that cannot do
// that is no error.
func giveBack(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	used, err := contentEnd(f, info.Size())
	if err != nil || used == info.Size() {
		return err
	}
	err = unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, used, info.Size()-used)
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		return nil
	}
	return err
}

// contentEnd is where the zeros begin that a file of this size ends with.
func contentEnd(f io.ReaderAt, size int64) (int64, error) {
	b := make([]byte, 64<<10)
	for end := size; end > 0; {
		from := max(end-int64(len(b)), 0)
		chunk := b[:end-from]
		if _, err := f.ReadAt(chunk, from); err != nil {
			return 0, err
		}
		for i := len(chunk) - 1; i >= 0; i-- {
			if chunk[i] != 0 {
				return from + int64(i) + 1, nil
			}
		}
		end = from
	}
	return 0, nil
}
