package fsm

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"testing"
)

// TestApplyPathIsPure: what decides the state reads no clock, random number,
// file or network, and starts no goroutine. (The package scheduler has the same
// test for what it decides, map order included.)
func TestApplyPathIsPure(t *testing.T) {
	allowed := []string{"bytes", "crypto/sha256", "encoding/binary", "errors", "fmt", "hash/crc32", "runtime/debug", "slices", "strings",
		"github.com/hashicorp/raft", "farm/internal/wire", "farm/scheduler"}
	for _, name := range []string{"apply.go", "entry.go", "meta.go", "overlay.go", "sum.go"} {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range f.Imports {
			if path, _ := strconv.Unquote(i.Path.Value); !slices.Contains(allowed, path) {
				t.Errorf("%s imports %s", name, path)
			}
		}
		ast.Inspect(f, func(n ast.Node) bool {
			switch n.(type) {
			case *ast.GoStmt, *ast.SelectStmt, *ast.SendStmt, *ast.ChanType:
				t.Errorf("%s: a %T", name, n)
			}
			return true
		})
	}
}
