// Package typeinfo gives go/types the packages a cell may import, those of the standard library and of gonum,
// from export data embedded in the binary: no Go toolchain and no GOROOT are needed where cells are checked.
//
// It also knows which members of those packages the engine has no symbol for. It never reads files.
//
// The data is std.bin and gonum.bin, made by go generate with the Go version of their header; a test fails
// when they are not what this Go version and the gonum of go.mod give. Neither is looked at before a package
// of it is asked for. With the build tag nogonum the second is left out. Form: flate over a stream of strings (uvarint length, bytes): the Go
// version, then for each package in sorted order its path, its export data and the space-separated
// names of its exported members that the engine lacks.
package typeinfo

//go:generate go run ./gen

import (
	"bufio"
	"bytes"
	"compress/flate"
	_ "embed"
	"encoding/binary"
	"errors"
	"fmt"
	"go/token"
	"go/types"
	"io"
	"strings"
	"sync"

	"golang.org/x/tools/go/gcexportdata"

	"farm/namespace/typeinfo/packages"
)

//go:embed std.bin
var stdBlob []byte

// ErrNotAllowed is returned by Import for a package that is in no list of package packages, or that the binary
// was built without.
var ErrNotAllowed = errors.New("package is not allowed in a cell")

// maxBlobString bounds one string of the embedded data, in bytes.
const maxBlobString = 16 << 20

type pkgData struct {
	export []byte
	lacks  map[string]bool
}

// std and gonum are the inflated data, shared by all importers.
var (
	std   = sync.OnceValues(func() (map[string]pkgData, error) { return parse(stdBlob) })
	gonum = sync.OnceValues(func() (map[string]pkgData, error) { return parse(gonumBlob) })
)

// HasGonum says that the binary was built with gonum.
func HasGonum() bool { return len(gonumBlob) > 0 }

// find gives the data of a package. It returns ErrNotAllowed.
func find(path string) (pkgData, error) {
	from := std
	if packages.OfGonum(path) {
		from = gonum
	}
	all, err := from()
	if err != nil {
		return pkgData{}, err
	}
	d, ok := all[path]
	if !ok {
		return pkgData{}, ErrNotAllowed
	}
	return d, nil
}

func parse(blob []byte) (map[string]pkgData, error) {
	if len(blob) == 0 {
		return nil, nil
	}
	r := bufio.NewReader(flate.NewReader(bytes.NewReader(blob)))
	next := func() ([]byte, error) {
		n, err := binary.ReadUvarint(r)
		if err != nil {
			return nil, err
		}
		if n > maxBlobString {
			return nil, fmt.Errorf("typeinfo: string of %d bytes", n)
		}
		b := make([]byte, n)
		_, err = io.ReadFull(r, b)
		return b, err
	}
	if _, err := next(); err != nil { // the Go version
		return nil, err
	}
	pkgs := map[string]pkgData{}
	for {
		path, err := next()
		if errors.Is(err, io.EOF) {
			return pkgs, nil
		}
		if err != nil {
			return nil, err
		}
		export, err := next()
		if err != nil {
			return nil, err
		}
		names, err := next()
		if err != nil {
			return nil, err
		}
		d := pkgData{export: export, lacks: map[string]bool{}}
		for _, n := range strings.Fields(string(names)) {
			d.lacks[n] = true
		}
		pkgs[string(path)] = d
	}
}

// Importer is a types.Importer for the allowed packages. Safe for concurrent use. Packages imported by
// one Importer are identical objects; do not mix importers in one check.
type Importer struct {
	mu    sync.Mutex
	fset  *token.FileSet
	pkgs  map[string]*types.Package
	extra map[string]*types.Package
}

// New makes an importer; extra packages (by path) come beside the allowed ones.
func New(extra ...*types.Package) *Importer {
	im := &Importer{fset: token.NewFileSet(), pkgs: map[string]*types.Package{}, extra: map[string]*types.Package{}}
	for _, p := range extra {
		im.extra[p.Path()] = p
	}
	return im
}

// Import gives the package with the path, also unsafe: callers judge its members. It returns ErrNotAllowed.
func (im *Importer) Import(path string) (*types.Package, error) {
	im.mu.Lock()
	defer im.mu.Unlock()
	if p := im.extra[path]; p != nil {
		return p, nil
	}
	if path == "unsafe" { // part of the language, not of a library
		return types.Unsafe, nil
	}
	if p := im.pkgs[path]; p != nil && p.Complete() {
		return p, nil
	}
	d, err := find(path)
	if err != nil {
		return nil, err
	}
	return gcexportdata.Read(bytes.NewReader(d.export), im.fset, im.pkgs, path)
}

// Export gives the export data of a package. It returns ErrNotAllowed.
func Export(path string) ([]byte, error) {
	d, err := find(path)
	return d.export, err
}

// Lacks says that the engine has no symbol for the exported member name of the package.
func Lacks(path, name string) bool {
	d, err := find(path)
	return err == nil && d.lacks[name]
}
