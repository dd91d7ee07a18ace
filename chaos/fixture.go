package chaos

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Folders of single nodes that ran and were stopped, by the oldest farm whose data
// is supported, on either log store. TestWriteFixture made them; later formats get
// folders of their own beside them.
//
//go:embed testdata/*.tar.gz
var fixtures embed.FS

// unpack fills a folder with what an archive of testdata holds.
func unpack(name, dir string) error {
	b, err := fixtures.ReadFile("testdata/" + name + ".tar.gz")
	if err != nil {
		return err
	}
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return err
	}
	for t := tar.NewReader(z); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if !filepath.IsLocal(h.Name) {
			return fmt.Errorf("%s: %q leaves its folder", name, h.Name)
		}
		path := filepath.Join(dir, h.Name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		content := make([]byte, h.Size)
		if _, err := io.ReadFull(t, content); err != nil {
			return err
		}
		if err := os.WriteFile(path, content, 0o600); err != nil {
			return err
		}
	}
}

// What a fixture holds: a namespace with a counter that so many tasks have added
// to, the last of them with a known id, and a function.
const (
	fixtureSpace = "kept"
	fixtureTasks = 20
	fixtureTask  = "kept-task-19"
)

// checkFixture makes sure that what was there is there, and that it works.
func (x *run) checkFixture(ctx context.Context) error {
	cl := x.load.clients[0]
	n := 0
	if err := cl.Namespace(fixtureSpace).Get(ctx, "n", &n); err != nil || n != fixtureTasks {
		x.violate(promiseDurable, "%s.n is %d in data of the oldest format (%v), it was %d", fixtureSpace, n, err, fixtureTasks)
	}
	i, err := cl.Get(ctx, fixtureTask)
	if err != nil || string(i.Value) != fmt.Sprint(fixtureTasks) {
		x.violate(promiseDurable, "task %s is %v in data of the oldest format (%v)", fixtureTask, i, err)
	}
	i, err = cl.Namespace(fixtureSpace).Exec(ctx, "twice(n)")
	if err != nil || string(i.Value) != fmt.Sprint(2*fixtureTasks) {
		x.violate(promiseDurable, "twice(n) is %v in data of the oldest format (%v)", i, err)
	}
	return nil
}
