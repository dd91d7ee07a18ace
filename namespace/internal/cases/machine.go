package cases

import ns "farm/namespace"

// onMachine is what cells give on farm's own machine where the interpreter cannot do it, by case and
// number of the cell.
var onMachine = map[string]map[int]string{
	"errors that are structs":                  {2: "", 3: "true"},
	"formatting user types":                    {3: "{A:1 b:2}"},
	"defer of a closure in a loop":             {2: ""},
	"json of user types":                       {1: "{\"a\":1,\"X\":3}"},
	"package variables in order of dependence": {0: "ERR:undefined: b", 1: "ERR:undefined"}, // a cell is run from top to bottom
	"reflect.DeepEqual":                        {6: "true", 7: "false"},
	"errors through methods of the cell":       {11: "true"},
}

// Wants is what cell i gives on an engine.
func (c Case) Wants(engine string, i int) string {
	if engine == ns.EngineSSA {
		if w, ok := onMachine[c.Name][i]; ok {
			return w
		}
		if says := goSays[c.Name]; says != nil {
			return says[i]
		}
	}
	return c.Want[i]
}

// Wrong is why cell i of a case is known to be wrong on an engine, "" when it is right.
func Wrong(engine, name string, i int) string {
	if engine == ns.EngineYaegi {
		return wrong[name][i]
	}
	return ""
}
