package namespace

import (
	"slices"
	"strings"

	"farm/namespace/cell"
	"farm/namespace/internal/item"
)

// UnusedLiterals lists the keys of the declarations of function literals that no variable will hold when the
// delta has been applied to the items, sorted. The delta should delete them: what a namespace has does not
// hang on how it came about. It returns ErrCorrupt.
func UnusedLiterals(items Items, d Delta) ([]string, error) {
	gone := map[string]bool{}
	for _, k := range d.Delete {
		gone[k] = true
	}
	unused := map[string]bool{}
	each := func(prefix string, f func(k string, b []byte) error) error {
		for k, b := range items {
			if _, again := d.Put[k]; !again && !gone[k] && strings.HasPrefix(k, prefix) {
				if err := f(k, b); err != nil {
					return err
				}
			}
		}
		for k, b := range d.Put {
			if strings.HasPrefix(k, prefix) {
				if err := f(k, b); err != nil {
					return err
				}
			}
		}
		return nil
	}
	_ = each(item.DeclPrefix+cell.LiteralPrefix, func(k string, _ []byte) error { // without an error
		unused[k] = true
		return nil
	})
	if len(unused) == 0 {
		return nil, nil
	}
	err := each(item.VarPrefix, func(k string, b []byte) error {
		if !item.HoldsFuncs(b) {
			return nil
		}
		v, err := item.ParseVar(k, b)
		for _, f := range v.Funcs {
			delete(unused, item.DeclPrefix+f)
		}
		return err
	})
	out := make([]string, 0, len(unused))
	for k := range unused {
		out = append(out, k)
	}
	slices.Sort(out)
	return out, err
}

// literalHolders lists the variables outside gone that hold a function literal, sorted.
func literalHolders(items Items, literal string, gone map[string]bool) (out []string, err error) {
	for k, b := range items {
		if gone[k] || !strings.HasPrefix(k, item.VarPrefix) || !item.HoldsFuncs(b) {
			continue
		}
		v, err := item.ParseVar(k, b)
		if err != nil {
			return nil, err
		}
		if slices.Contains(v.Funcs, literal) {
			out = append(out, k[len(item.VarPrefix):])
		}
	}
	slices.Sort(out)
	return out, nil
}
