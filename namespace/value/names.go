package value

import (
	"reflect"
	"strings"
)

// A struct's fields have in JSON the names that encoding/json gives them: that of the json
// tag, or their own; and those of an embedded struct are among those of the struct it is
// in. Where names would clash that is left out, so that no value is hidden and all that is
// written can be read.

// named is what the names of a field in JSON depend on.
type named struct {
	name, tag string
	inner     []string // of an embedded struct: its names; nil for other fields
}

// jsonNames are the names of a struct's fields in JSON. The name of an embedded struct
// whose fields are among those of this one is empty. all are the names of the object.
func jsonNames(fields []named) (names, all []string) {
	names = make([]string, len(fields))
	taken := map[string]int{}
	for i, f := range fields {
		names[i] = f.name
		taken[f.name]++
		if tag := tagName(f.tag); tag != "" && tag != f.name {
			taken[tag]++
		}
	}
	for i, f := range fields {
		if tag := tagName(f.tag); tag != "" && taken[tag] == 1 {
			names[i] = tag
		}
	}
	for i, f := range fields {
		if tagName(f.tag) == "" {
			for _, n := range f.inner {
				taken[n]++
			}
		} else {
			fields[i].inner = nil
		}
	}
	for i, f := range fields {
		clash := len(f.inner) == 0
		for _, n := range f.inner {
			clash = clash || taken[n] > 1
		}
		if clash {
			all = append(all, names[i])
			continue
		}
		names[i] = ""
		all = append(all, f.inner...)
	}
	return names, all
}

// tagName is the name in a field's json tag, empty when there is none.
func tagName(tag string) string {
	name, _, _ := strings.Cut(reflect.StructTag(tag).Get("json"), ",")
	if name == "-" {
		return ""
	}
	return name
}
