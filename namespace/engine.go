package namespace

import (
	"fmt"
	"slices"
	"strings"

	"farm/namespace/cell"
	"farm/namespace/internal/item"
)

// The engines that run cells. A namespace has one for good, chosen with its first cell.
const (
	EngineSSA   = "ssa"   // farm's own machine, of package vm
	EngineYaegi = "yaegi" // an interpreter of source
	// DefaultEngine runs what asks for none: private tasks and the first cell of a namespace.
	DefaultEngine = EngineSSA
)

// EngineItem is the key of the item that names the engine of a namespace.
const EngineItem = item.EngineKey

// Engines are the names of all engines, the default first.
func Engines() []string { return []string{EngineSSA, EngineYaegi} }

// KnownEngine says that this farm has an engine of that name, or that the name is empty and so leaves the
// choice to others.
func KnownEngine(name string) bool { return name == "" || slices.Contains(Engines(), name) }

// EngineOf is the name of the engine of a namespace, the default one where any may still be chosen. It
// returns *EngineError for one that this farm does not have, and ErrCorrupt.
func EngineOf(items Items) (string, error) {
	name, _, err := engineOf(items)
	return name, err
}

// engineOf is EngineOf, and tells whether the engine is chosen for good. It is in a namespace that names
// it, and in one with code that does not: cells for yaegi did not name it once. Variables alone, as they
// are when they were only set, suit every engine.
func engineOf(items Items) (name string, chosen bool, err error) {
	b, named := items[item.EngineKey]
	switch {
	case !named && hasCode(items):
		return EngineYaegi, true, nil
	case !named:
		return DefaultEngine, false, nil
	}
	if name, err = item.ParseEngine(b); err != nil {
		return "", true, err
	}
	if !slices.Contains(Engines(), name) {
		return "", true, &EngineError{Has: name}
	}
	return name, true, nil
}

func hasCode(items Items) bool {
	for k := range items {
		if !strings.HasPrefix(k, item.VarPrefix) {
			return true
		}
	}
	return false
}

// EngineError is returned when a cell cannot run because of the engine that it or its namespace names.
type EngineError struct {
	Has   string // the engine of the namespace, "" when that does not matter
	Asked string // what the cell asked for, "" when it did not
}

func (e *EngineError) Error() string {
	switch {
	case e.Has == "":
		return fmt.Sprintf("there is no engine %q: there are %s", e.Asked, strings.Join(Engines(), ", "))
	case e.Asked == "":
		return fmt.Sprintf("the namespace is for the engine %q, which this farm does not have", e.Has)
	}
	return fmt.Sprintf("the namespace is for the engine %s and not for %s: it is chosen with the first cell of a namespace", e.Has, e.Asked)
}

// ChooseEngine is the engine for a cell in the namespace: that of the namespace, or the one asked for, if
// any, when none is chosen yet. It returns *EngineError and ErrCorrupt.
func ChooseEngine(items Items, asked string) (string, error) {
	has, chosen, err := engineOf(items)
	switch {
	case err != nil:
		return "", err
	case asked == "" || asked == has:
		return has, nil
	case !KnownEngine(asked):
		return "", &EngineError{Asked: asked}
	case chosen:
		return "", &EngineError{Has: has, Asked: asked}
	}
	return asked, nil
}

// Target is what cells for an engine are compiled to.
func Target(engine string) cell.Target {
	if engine == EngineSSA {
		return cell.Machine
	}
	return cell.Interpreter
}

// compilerFor makes a compiler for the cells of a namespace.
func compilerFor(items Items) (*cell.Compiler, error) {
	e, err := EngineOf(items)
	if err != nil {
		return nil, err
	}
	return cell.NewCompilerTo(Target(e)), nil
}
