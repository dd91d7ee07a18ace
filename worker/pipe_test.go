package worker

import (
	"bytes"
	"errors"
	"io"
	"os"
	"syscall"
	"testing"
	"time"
)

func pipes(t *testing.T) (r, w *pipe) {
	t.Helper()
	a, b, err := os.Pipe()
	if err == nil {
		r, err = newPipe(a)
	}
	if err == nil {
		w, err = newPipe(b)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeAll([]*os.File{a, b}) })
	return r, w
}

// TestPipe proves that a pipe waits, for data and for room, that it ends with the other end.
func TestPipe(t *testing.T) {
	r, w := pipes(t)
	sent := grown(1 << 20) // many times what a pipe holds
	go func() {
		time.Sleep(10 * time.Millisecond)
		if n, err := w.Write(sent); n != len(sent) || err != nil {
			t.Errorf("%d written, %v", n, err)
		}
		_ = w.Close()
	}()
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, sent) {
		t.Errorf("%d bytes read, %v", len(got), err)
	}
}

// TestPipeDeadline proves that a deadline ends a wait, and that the end of the reader ends a write.
func TestPipeDeadline(t *testing.T) {
	r, w := pipes(t)
	_ = r.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
	if n, err := r.Read(make([]byte, 1)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%d read, %v", n, err)
	}
	sent := grown(1 << 20)
	_ = w.SetWriteDeadline(time.Now().Add(10 * time.Millisecond))
	if n, err := w.Write(sent); n == 0 || n == len(sent) || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%d written, %v", n, err)
	}
	_ = r.Close()
	_ = w.SetWriteDeadline(time.Time{})
	if n, err := w.Write([]byte{1}); n != 0 || !errors.Is(err, syscall.EPIPE) {
		t.Errorf("%d written, %v", n, err)
	}
}
