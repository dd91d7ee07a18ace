package cell

import (
	"embed"
	"go/ast"
	"go/token"
	"go/types"
	"sync"

	"farm/namespace/typeinfo"
)

// The generic standard functions have no symbols in the engine; here is their source for cells.
//
//go:embed lib/slices.go.txt lib/maps.go.txt lib/cmp.go.txt
var libFiles embed.FS

type libPackage struct {
	pkg   *types.Package
	info  *types.Info
	funcs map[string]*ast.FuncDecl
}

var libImporter = typeinfo.New()

// library is shared by all compilers and only read.
var library = sync.OnceValue(func() map[string]*libPackage {
	out := map[string]*libPackage{}
	imp := libImporter
	for _, path := range []string{"cmp", "slices", "maps"} {
		src, err := libFiles.ReadFile("lib/" + path + ".go.txt")
		if err != nil {
			panic(err) // embedded
		}
		fset := token.NewFileSet()
		files := mustParse(fset, path, string(src))
		p := &libPackage{funcs: map[string]*ast.FuncDecl{}, info: newInfo()}
		conf := types.Config{Importer: imp, GoVersion: goVersion}
		if p.pkg, err = conf.Check(path, fset, files, p.info); err != nil {
			panic(err) // embedded
		}
		for _, d := range files[0].Decls {
			if fd, ok := d.(*ast.FuncDecl); ok {
				p.funcs[fd.Name.Name] = fd
			}
		}
		out[path] = p
	}
	return out
})

// inLibrary says that a member the engine lacks is provided, or is only used in types that are gone
// when code reaches the engine.
func inLibrary(path, name string) bool {
	switch path + "." + name {
	case "iter.Seq", "iter.Seq2", "cmp.Ordered":
		return true
	}
	p := library()[path]
	return p != nil && p.funcs[name] != nil
}
