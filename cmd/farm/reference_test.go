package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

//go:generate go test -count=1 -run ^(TestHelp|TestReference|TestFieldsOfJSON)$ . -update

// docs/reference.md is what the command says of itself.
func TestReference(t *testing.T) {
	var b strings.Builder
	b.WriteString("# The command line\n\n<!-- Made from cmd/farm by go generate; change it there. -->\n\n" +
		"`farm VERB [flags] [args]`. Flags come before arguments. `farm help VERB` shows the same.\n\n")
	fmt.Fprintf(&b, "%s\n\nSee also: [the fields of --json and -o](json.md), [getting started](getting-started.md).\n\n", plain(description))
	verbs := leaves((&app{}).cli(nil).Commands, "")
	var paths []string
	writeVerbs := func(commands []*cli.Command, parent string) {}
	writeVerbs = func(commands []*cli.Command, parent string) {
		for _, c := range commands {
			path := strings.TrimSpace(parent + " " + c.Name)
			if verbs[path] != nil {
				paths = append(paths, path)
			}
			writeVerbs(c.Subcommands, path)
		}
	}
	writeVerbs((&app{}).cli(nil).Commands, "")
	for _, path := range paths {
		fmt.Fprintf(&b, "- [farm %s](#farm-%s): %s\n", path, strings.ReplaceAll(path, " ", "-"), verbs[path].Usage)
	}
	for _, path := range paths {
		writeVerb(&b, path, verbs[path])
	}
	golden(t, "../../../docs/reference.md", b.String())
}

// plain leaves the line breaks of terminals out.
func plain(s string) string {
	paragraphs := strings.Split(s, "\n\n")
	for i, p := range paragraphs {
		paragraphs[i] = strings.ReplaceAll(p, "\n", " ")
	}
	return strings.Join(paragraphs, "\n\n")
}

func writeVerb(b *strings.Builder, path string, c *cli.Command) {
	fmt.Fprintf(b, "\n## farm %s\n\n%s.\n\n```\n%s\n```\n\n", path, strings.ToUpper(c.Usage[:1])+c.Usage[1:], c.UsageText)
	text, _, _ := strings.Cut(c.Description, "Example")
	if text = strings.TrimSpace(text); text != "" {
		fmt.Fprintf(b, "%s\n\n", plain(text))
	}
	if len(c.Flags) > 0 {
		b.WriteString("| flag | |\n|---|---|\n")
		for _, f := range c.Flags {
			name, about, _ := strings.Cut(flagText(f), "\t")
			fmt.Fprintf(b, "| `%s` | %s |\n", name, strings.ReplaceAll(about, "|", "\\|"))
		}
		b.WriteString("\n")
	}
	fmt.Fprintf(b, "```sh\n%s\n```\n", strings.Join(examples[path], "\n"))
}

// docs/json.md is what the structs say of themselves; every verb that has --json
// is in it.
func TestFieldsOfJSON(t *testing.T) {
	var b strings.Builder
	b.WriteString("# Fields of --json and -o\n\n<!-- Made from cmd/farm/json.go by go generate; change it there. -->\n\n" +
		"With `--json` a verb prints one JSON object a line. With `-o TEMPLATE` each object goes\n" +
		"through a [Go template](https://pkg.go.dev/text/template) instead, in which the same names are\n" +
		"fields: `farm task ls -o '{{.id}} {{.state}}'`. A field that is marked optional is left out of JSON\n" +
		"while it has nothing to say; in a template it is empty then, and a name that does not exist is an\n" +
		"error. `{{json .value}}` prints anything as JSON, `{{join \", \" .causes}}` a list as text.\n\n" +
		"Names stay as they are; new ones may come. Times are RFC 3339 in UTC, with nanoseconds. JSON values\n" +
		"are themselves, not text. Exit codes are the same with and without.\n")
	covered := map[string]bool{}
	described := map[reflect.Type]bool{}
	for _, s := range schemas {
		for _, v := range s.verbs {
			if covered[v] {
				t.Errorf("farm %s is there twice", v)
			}
			covered[v] = true
		}
		fmt.Fprintf(&b, "\n## farm %s\n\n%s\n", strings.Join(s.verbs, ", "), s.what)
		if s.of != nil {
			writeFields(t, &b, reflect.TypeOf(s.of), described)
		}
	}
	for path, c := range leaves((&app{}).cli(nil).Commands, "") {
		has := slices.ContainsFunc(c.Flags, func(f cli.Flag) bool { return f.Names()[0] == "json" })
		if has != covered[path] {
			t.Errorf("farm %s has --json: %v, is described: %v", path, has, covered[path])
		}
		if template := slices.ContainsFunc(c.Flags, func(f cli.Flag) bool { return f.Names()[0] == "o" }); has != template {
			t.Errorf("farm %s has --json: %v, -o: %v", path, has, template)
		}
	}
	golden(t, "../../../docs/json.md", b.String())
}

func writeFields(t *testing.T, b *strings.Builder, typ reflect.Type, described map[reflect.Type]bool) {
	if described[typ] {
		return
	}
	described[typ] = true
	b.WriteString("\n| field | type | |\n|---|---|---|\n")
	var inner []reflect.Type
	names := map[reflect.Type][]string{}
	for f := range typ.Fields() {
		name := jsonName(f)
		if name == "" {
			continue
		}
		about := f.Tag.Get("about")
		if about == "" && typ.PkgPath() == "farm/cmd/farm" {
			t.Errorf("%s.%s does not say what it means", typ.Name(), f.Name)
		}
		text, of := typeText(f.Type)
		if of != nil && !described[of] {
			if names[of] == nil {
				inner = append(inner, of)
			}
			names[of] = append(names[of], "`"+name+"`")
		}
		if strings.Contains(f.Tag.Get("json"), "omitempty") {
			text += ", optional"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", name, text, about)
	}
	for _, of := range inner {
		fmt.Fprintf(b, "\n%s:\n", strings.Join(names[of], ", "))
		writeFields(t, b, of, described)
	}
}

// typeText is a type in words of JSON, and the struct that it is or has.
func typeText(t reflect.Type) (string, reflect.Type) {
	switch {
	case t == rawType:
		return "JSON", nil
	case t.Kind() == reflect.Pointer:
		return typeText(t.Elem())
	case t.Kind() == reflect.Map:
		text, of := typeText(t.Elem())
		return "object of " + text, of
	case t.Kind() == reflect.Slice:
		text, of := typeText(t.Elem())
		return "list of " + text, of
	case t.Kind() == reflect.Struct:
		return "object", t
	case t.Kind() == reflect.Bool:
		return "boolean", nil
	case t.Kind() == reflect.String:
		return "text", nil
	}
	return cmp.Or(map[reflect.Kind]string{reflect.Float64: "number"}[t.Kind()], "integer"), nil
}

// What is printed has the fields that are described, and no others.
func TestPrintedFieldsAreDescribed(t *testing.T) {
	f := newFakeFarm(t)
	f.vars["c0"] = map[string]string{"x": "[1]"}
	for _, line := range [][]string{{"submit", "--json", "-c", "1"}, {"status", "--json"}, {"job", "ls", "--json"}, {"get", "--json", "c0", "x"},
		{"gather", "--json", "c0", "x"}, {"ns", "show", "--json", "c0"}, {"ns", "history", "--json", "c0"}, {"node", "ls", "--json"}} {
		r := farmCommand(t.Context(), t, f, "", line...)
		verb := strings.Join(line[:slices.Index(line, "--json")], " ")
		i := slices.IndexFunc(schemas, func(s schema) bool { return slices.Contains(s.verbs, verb) })
		for l := range strings.Lines(r.out) {
			checkFields(t, verb, l, reflect.TypeOf(schemas[i].of))
		}
		if r.out == "" || r.code != 0 {
			t.Errorf("%s: %+v", verb, r)
		}
	}
}

func checkFields(t *testing.T, verb, line string, typ reflect.Type) {
	d := json.NewDecoder(strings.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(reflect.New(typ).Interface()); err != nil {
		t.Errorf("farm %s: %v in %s", verb, err, line)
	}
}
