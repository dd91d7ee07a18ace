package worker

import (
	"io"
	"os"
	"syscall"
)

// pipe is this end of a pipe to or from a child. Its calls never wait in the kernel, so the
// runtime is not told of them (see readNow). One goroutine reads or writes at a time.
type pipe struct {
	*os.File
	raw   syscall.RawConn
	buf   []byte // that is read or written
	n     int
	errno syscall.Errno
	try   struct{ read, write func(fd uintptr) bool } // made once
}

func newPipe(f *os.File) (*pipe, error) {
	p := &pipe{File: f}
	var err error
	p.raw, err = f.SyscallConn()
	p.try.read = func(fd uintptr) bool {
		p.n, p.errno = readNow(int(fd), p.buf)
		return p.errno != syscall.EAGAIN
	}
	p.try.write = func(fd uintptr) bool {
		p.n, p.errno = writeNow(int(fd), p.buf)
		return p.errno != syscall.EAGAIN
	}
	return p, err
}

// Read implements io.Reader.
func (p *pipe) Read(b []byte) (int, error) {
	n, err := p.do(b, p.raw.Read, p.try.read)
	if n == 0 && err == nil && len(b) > 0 {
		err = io.EOF
	}
	return n, err
}

// Write implements io.Writer.
func (p *pipe) Write(b []byte) (done int, err error) {
	for done < len(b) && err == nil {
		var n int
		n, err = p.do(b[done:], p.raw.Write, p.try.write)
		done += n
	}
	return done, err
}

// do tries until something was done, or failed. A deadline that is over is an error.
func (p *pipe) do(b []byte, when func(func(fd uintptr) bool) error, try func(fd uintptr) bool) (int, error) {
	p.buf = b
	defer func() { p.buf = nil }()
	for {
		if err := when(try); err != nil {
			return 0, err
		}
		switch p.errno {
		case 0:
			return p.n, nil
		case syscall.EINTR:
		default:
			return 0, p.errno
		}
	}
}
