// Package blob makes the data of package typeinfo from the Go toolchain and the symbols of the engine.
// Only the generator and its test import it.
package blob

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"fmt"
	"go/importer"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path"
	"runtime"
	"slices"
	"strings"

	"github.com/traefik/yaegi/stdlib"
	"golang.org/x/tools/go/gcexportdata"

	"farm/namespace/typeinfo/packages"
)

// Make gives the data of a list of packages. The same toolchain and modules give the same bytes.
func Make(list []string) ([]byte, error) {
	files, err := exportFiles(list)
	if err != nil {
		return nil, err
	}
	var raw bytes.Buffer
	put := func(b []byte) {
		raw.Write(binary.AppendUvarint(nil, uint64(len(b))))
		raw.Write(b)
	}
	put([]byte(runtime.Version()))
	from := importer.ForCompiler(token.NewFileSet(), "gc", func(p string) (io.ReadCloser, error) { return os.Open(files[p]) })
	for _, p := range slices.Sorted(slices.Values(list)) {
		pkg, err := from.Import(p)
		if err != nil {
			return nil, err
		}
		var b bytes.Buffer
		// Positions are not needed, and a set of files of its own keeps them out.
		if err := gcexportdata.Write(&b, token.NewFileSet(), pkg); err != nil {
			return nil, err
		}
		put([]byte(p))
		put(b.Bytes())
		put([]byte(strings.Join(lacks(pkg), " ")))
	}
	var z bytes.Buffer
	w, err := flate.NewWriter(&z, flate.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(raw.Bytes()); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return z.Bytes(), nil
}

func exportFiles(pkgs []string) (map[string]string, error) {
	args := append([]string{"list", "-export", "-deps", "-f", "{{.ImportPath}} {{.Export}}"}, pkgs...)
	out, err := exec.Command("go", args...).Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	files := map[string]string{}
	for l := range strings.Lines(string(out)) {
		if f := strings.Fields(l); len(f) == 2 {
			files[f[0]] = f[1]
		}
	}
	return files, nil
}

// lacks are the exported members that the interpreter has no symbol for. It has no package of gonum, and is
// not asked for one.
func lacks(pkg *types.Package) (out []string) {
	if packages.OfGonum(pkg.Path()) {
		return nil
	}
	syms := stdlib.Symbols[pkg.Path()+"/"+path.Base(pkg.Path())]
	if pkg.Path() == "math/rand/v2" {
		syms = stdlib.Symbols["math/rand/v2/rand"]
	}
	for _, n := range pkg.Scope().Names() {
		if token.IsExported(n) && !syms[n].IsValid() {
			out = append(out, n)
		}
	}
	return out
}
