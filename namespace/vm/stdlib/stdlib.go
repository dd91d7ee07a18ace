// Package stdlib has the packages of compiled Go that programs of the virtual machine may use: their
// types, functions and variables, and the source of those that are generic.
//
// All of it is generated from the Go version in go.mod; "make check-generate" fails when it is not what
// that gives. It links the packages, no more: nothing runs and no table is built before something is asked
// for.
package stdlib

//go:generate go run ./gen

import (
	"bufio"
	"bytes"
	"compress/flate"
	_ "embed"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"reflect"
	"sync"
)

// Package is the exported members of a package of compiled Go, by name. Each function gives an invalid
// or nil result for a name it does not know.
type Package struct {
	Type func(name string) reflect.Type
	Func func(name string) any // a function
	Var  func(name string) any // the address of a variable
}

// Table is a set of packages by path. It is the machine's Symbols.
type Table map[string]Package

// Std are the packages a cell may import.
func Std() Table { return std }

// Type is an exported type that is not generic, or nil.
func (t Table) Type(pkg, name string) reflect.Type {
	if p, ok := t[pkg]; ok {
		return p.Type(name)
	}
	return nil
}

// Func is an exported function that is not generic.
func (t Table) Func(pkg, name string) reflect.Value {
	if p, ok := t[pkg]; ok {
		return reflect.ValueOf(p.Func(name))
	}
	return reflect.Value{}
}

// Var is the address of an exported variable.
func (t Table) Var(pkg, name string) reflect.Value {
	if p, ok := t[pkg]; ok {
		return reflect.ValueOf(p.Var(name))
	}
	return reflect.Value{}
}

//go:embed sources.bin
var blob []byte

// maxString bounds one string of the embedded data, in bytes.
const maxString = 4 << 20

// Sources are the packages that are made from source: path, file name, text.
var Sources = sync.OnceValues(func() (map[string]map[string]string, error) { return parse(blob) })

func parse(blob []byte) (map[string]map[string]string, error) {
	r := bufio.NewReader(flate.NewReader(bytes.NewReader(blob)))
	next := func() (string, error) {
		n, err := binary.ReadUvarint(r)
		if err != nil {
			return "", err
		}
		if n > maxString {
			return "", fmt.Errorf("stdlib: string of %d bytes", n)
		}
		b := make([]byte, n)
		_, err = io.ReadFull(r, b)
		return string(b), err
	}
	out := map[string]map[string]string{}
	for {
		var s [3]string
		for i := range s {
			var err error
			if s[i], err = next(); i == 0 && errors.Is(err, io.EOF) {
				return out, nil
			} else if err != nil {
				return nil, err
			}
		}
		if out[s[0]] == nil {
			out[s[0]] = map[string]string{}
		}
		out[s[0]][s[1]] = s[2]
	}
}
