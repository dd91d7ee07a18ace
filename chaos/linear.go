package chaos

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"

	"farm/tasks"
)

// linearLimit is how long the check of one namespace may take.
const linearLimit = 2 * time.Minute

// model is a namespace with one variable, a number.
var model = porcupine.Model{
	Init: func() any { return 0 },
	Step: func(state, input, output any) (bool, any) {
		s, in, out := state.(int), input.(Op), output.(int)
		switch in.Kind {
		case opRead, opGet, opBigGet:
			return out == s, s
		case opSet:
			return true, in.Arg
		case opBig:
			return true, in.Arg
		case opSwap:
			if s == in.Expected {
				s = in.Arg
			}
			return out == s, s
		default:
			return out == s+1, s + 1
		}
	},
	Equal: func(a, b any) bool { return a.(int) == b.(int) },
	DescribeOperation: func(input, output any) string {
		in := input.(Op)
		switch in.Kind {
		case opSet, opBig:
			return fmt.Sprintf("%s %d", in.Kind, in.Arg)
		case opSwap:
			return fmt.Sprintf("swap %d by %d: %d", in.Expected, in.Arg, output)
		}
		return fmt.Sprintf("%s: %d", in.Kind, output)
	},
	DescribeState: func(s any) string { return fmt.Sprint(s) },
}

// checkLinearizable looks, in every namespace, for an order of all calls that
// explains every answer. A call that was not answered may have its effect at any
// time after it, when its task says that it has one.
func (x *run) checkLinearizable(ops []*Op, ends map[string]*tasks.Info) error {
	spaces := map[string][]porcupine.Operation{}
	end := int64(x.h.now())
	for _, o := range ops {
		if p, ok := operation(o, ends[o.Task], end); ok {
			spaces[o.Namespace] = append(spaces[o.Namespace], p)
		}
	}
	n := 0
	for ns, list := range spaces {
		n += len(list)
		result, info := porcupine.CheckOperationsVerbose(model, list, linearLimit)
		if result == porcupine.Ok {
			continue
		}
		path := filepath.Join(x.dir, "linearizability-"+ns+".html")
		if err := porcupine.VisualizePath(model, info, path); err != nil {
			return err
		}
		if result == porcupine.Unknown {
			x.violate(promiseReads, "no order was found within %v for the %d calls on %s; see %s", linearLimit, len(list), ns, path)
		} else {
			x.violate(promiseReads, "no order explains the answers of the %d calls on %s; see %s", len(list), ns, path)
		}
	}
	x.checked("%d calls on %d namespaces are linearizable", n, len(spaces))
	return nil
}

// operation is a call as the model sees it; false when it says nothing to it.
func operation(o *Op, i *tasks.Info, end int64) (porcupine.Operation, bool) {
	kinds := []string{opAdd, opLong, opDelayed, opTwice, opRead, opSet, opGet, opSwap, opBig, opBigGet}
	p := porcupine.Operation{ClientId: o.Client, Input: *o, Call: int64(o.Call), Output: o.Value, Return: int64(o.Return)}
	if !slices.Contains(kinds, o.Kind) || strings.HasPrefix(o.Namespace, "queue-") {
		return p, false
	}
	if o.Outcome == answered {
		return p, true
	}
	p.Return = end
	if o.Kind == opSet && o.Outcome == unknown {
		return p, true // it may have been done, or be done last, which nobody sees
	}
	if i == nil || i.State != tasks.Succeeded {
		return p, false
	}
	value, err := number(i.Value)
	p.Output = value
	return p, err == nil
}
