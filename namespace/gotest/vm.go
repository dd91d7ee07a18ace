package main

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"runtime/debug"
	"strings"

	"golang.org/x/tools/go/gcexportdata"

	"farm/namespace/vm"
	"farm/namespace/vm/stdlib"
	"farm/namespace/vm/stdlib/more"
)

// exportsVar in the environment names a file with the export data of the standard packages.
const exportsVar = "FARM_GOTEST_EXPORTS"

// importcfgVar is where programs of GOROOT/test that run the compiler look for that list.
const importcfgVar = "STDLIB_IMPORTCFG"

// writeExports lists the files of export data of the standard packages, as the compiler reads such lists.
func writeExports() (file string, err error) {
	out, err := exec.Command("go", "list", "-export", "-f", "{{if .Export}}packagefile {{.ImportPath}}={{.Export}}{{end}}", "std").Output()
	if err != nil {
		return "", fmt.Errorf("go list: %w", err)
	}
	f, err := os.CreateTemp("", "gotest-exports-*")
	if err != nil {
		return "", err
	}
	if _, err := f.Write(out); err != nil {
		return "", err
	}
	return f.Name(), f.Close()
}

// symbols are the tables of all packages.
type symbols struct{ stdlib.Table }

func allSymbols() symbols {
	t := stdlib.Table{}
	for _, list := range []stdlib.Table{stdlib.Std(), more.Table()} {
		for p, x := range list {
			t[p] = x
		}
	}
	return symbols{t}
}

func readExports() (map[string]string, error) {
	b, err := os.ReadFile(os.Getenv(exportsVar))
	if err != nil {
		return nil, err
	}
	files := map[string]string{}
	for l := range strings.Lines(string(b)) {
		if path, file, ok := strings.Cut(strings.TrimPrefix(strings.TrimSpace(l), "packagefile "), "="); ok {
			files[path] = file
		}
	}
	return files, nil
}

// notInTablesError is a package that the machine has no symbols for.
type notInTablesError struct{ path string }

func (e *notInTablesError) Error() string { return "package " + e.path + " is not in the tables" }

// runVM runs a program on the virtual machine.
func runVM(file, src string) error {
	debug.SetGCPercent(200)
	files, err := readExports()
	if err != nil {
		return err
	}
	sources, err := stdlib.Sources()
	if err != nil {
		return err
	}
	fset := token.NewFileSet()
	im, err := vm.NewImporter(fset, func(path string) ([]byte, error) {
		f, ok := files[path]
		if !ok {
			return nil, &notInTablesError{path}
		}
		return exportData(f)
	}, sources)
	if err != nil {
		return err
	}
	f, err := parser.ParseFile(fset, file, src, parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	syms := allSymbols()
	for _, i := range f.Imports {
		path := strings.Trim(i.Path.Value, `"`)
		if _, ok := syms.Table[path]; !ok && sources[path] == nil && path != "unsafe" {
			return &notInTablesError{path}
		}
	}
	info := vm.NewInfo()
	conf := types.Config{Importer: im, GoVersion: vm.GoVersion, Sizes: types.SizesFor("gc", "amd64")}
	pkg, err := conf.Check("main", fset, []*ast.File{f}, info)
	if err != nil {
		return err
	}
	prog, sp := im.Build(pkg, []*ast.File{f}, info)
	m, err := vm.New(prog, vm.Options{Stdout: os.Stdout, Stderr: os.Stderr, Symbols: syms, Fset: fset})
	if err != nil {
		return err
	}
	return m.RunMain(context.Background(), sp)
}

// exportData is what the compiler exports in an archive.
func exportData(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	r, err := gcexportdata.NewReader(f) //nolint:staticcheck // go list gives archives, which the pinned version reads
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

// classOfVM is classOf for the virtual machine.
func classOfVM(err error) string {
	var missing *notInTablesError
	var load *vm.LoadError
	switch {
	case err == nil:
		return Passed
	case errors.As(err, &missing), errors.As(err, &load) && load.Refused:
		return Refused
	}
	return Wrong
}
