package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"text/template"
)

// errTemplate is a template that does not fit what it is for.
var errTemplate = errors.New("-o")

// parseTemplate reads the template of -o. Besides what Go's templates have, there
// are json, which prints anything as JSON, and join, which puts a text between the
// elements of a list.
func parseTemplate(text string) (*template.Template, error) {
	return template.New("-o").Option("missingkey=error").Funcs(template.FuncMap{
		"json": func(v any) (string, error) {
			b, err := json.Marshal(v)
			return string(b), err
		},
		"join": func(between string, list []any) string {
			parts := make([]string, len(list))
			for i, x := range list {
				parts[i] = fmt.Sprint(x)
			}
			return strings.Join(parts, between)
		},
	}).Parse(text)
}

// execute prints an object through a template, on a line of its own.
func execute(w io.Writer, t *template.Template, v any) error {
	var b strings.Builder
	if err := t.Execute(&b, fieldsOf(reflect.ValueOf(v))); err != nil {
		return fmt.Errorf("%w: %w", errTemplate, err)
	}
	_, err := io.WriteString(w, strings.TrimSuffix(b.String(), "\n")+"\n")
	return err
}

var rawType = reflect.TypeFor[json.RawMessage]()

// fieldsOf is a value as a template sees it: objects by the names of --json. A field
// that JSON leaves out because it is empty is there, so that a name that is wrong can
// be told from one that has nothing to say.
func fieldsOf(v reflect.Value) any {
	if v.IsValid() && v.Type() == rawType {
		var out any
		d := json.NewDecoder(strings.NewReader(string(v.Bytes())))
		d.UseNumber()
		if d.Decode(&out) != nil {
			return nil // an empty one
		}
		return out
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			if v.Kind() == reflect.Pointer {
				return fieldsOf(reflect.Zero(v.Type().Elem()))
			}
			return nil
		}
		return fieldsOf(v.Elem())
	case reflect.Struct:
		out := map[string]any{}
		for f, x := range v.Fields() {
			if name := jsonName(f); name != "" {
				out[name] = fieldsOf(x)
			}
		}
		return out
	case reflect.Slice:
		out := make([]any, v.Len())
		for i := range out {
			out[i] = fieldsOf(v.Index(i))
		}
		return out
	case reflect.Invalid:
		return nil
	}
	return v.Interface()
}

// jsonName is what a field is called in JSON, "" for one that is not there.
func jsonName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	switch {
	case name == "-" || !f.IsExported():
		return ""
	case name == "":
		return f.Name
	}
	return name
}
