package live

import (
	"context"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"

	ns "farm/namespace"
	"farm/namespace/cell"
	"farm/namespace/internal/cases"
)

// bare runs cells on engines alone: values stay in the interpreter and are never encoded, so cells can
// keep channels and functions. It is how the language is tested apart from the codec.
type bare struct {
	name string
	comp *cell.Compiler
	env  *cell.Env
	l    *loaded
}

func newBare(t *testing.T, engine string) *bare {
	b := &bare{name: engine, comp: cell.NewCompilerTo(ns.Target(engine))}
	var err error
	if b.env, err = b.comp.Env(nil, nil, nil); err != nil {
		t.Fatal(err)
	}
	b.l = b.engine(t)
	return b
}

func (b *bare) engine(t *testing.T) *loaded {
	l, err := newLoaded(b.name, b.comp, Options{Stdout: io.Discard, Stderr: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func (b *bare) run(t *testing.T, src string) (out string, err error) {
	u, err := b.comp.Compile(b.env, src)
	if err != nil {
		return "", err
	}
	if !b.l.fits(u) { // another engine, with the values moved over as they are
		old := b.l
		b.l = b.engine(t)
		if err := b.l.load(u); err != nil {
			return "", b.l.eng.Explain(err)
		}
		for n, s := range b.l.vars {
			if o := old.vars[n]; o != nil && o.v.Type().ConvertibleTo(s.v.Type()) {
				s.v.Set(o.v.Convert(s.v.Type()))
			}
		}
	}
	if err := b.l.load(u); err != nil {
		return "", b.l.eng.Explain(err)
	}
	before := map[string]reflect.Value{}
	for n, s := range b.l.vars {
		before[n] = reflect.New(s.v.Type()).Elem()
		before[n].Set(s.v)
	}
	defer func() {
		for n, v := range before {
			if err != nil {
				b.l.vars[n].v.Set(v)
			}
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if end := b.l.eng.Run(ctx, u, &ns.TaskInfo{}, nil); end.err != nil {
		return "", end.err
	}
	b.env = u.Env
	var list []any
	for _, v := range u.Out {
		list = append(list, b.l.vars[v.Name].v.Interface())
	}
	if len(list) == 1 {
		return fmt.Sprint(list[0]), nil
	}
	return fmt.Sprint(list), nil
}

func TestEngineCases(t *testing.T) {
	for _, engine := range ns.Engines() {
		t.Run(engine, func(t *testing.T) { engineCases(t, engine) })
	}
}

func engineCases(t *testing.T, engine string) {
	// Values of a type whose methods change cannot be moved to another engine without the codec.
	needCodec := map[string]bool{"method redefinition": true, "method added later": true}
	for name := range cases.Refused {
		needCodec[name] = needCodec[name] || strings.HasPrefix(name, "function literals") // the codec refuses them
	}
	// Only a context ends a run that exits.
	needContext := map[string]bool{"os": true, "log": true}
	for _, c := range cases.For(engine) {
		if needCodec[c.Name] || needContext[c.Name] {
			continue
		}
		t.Run(c.Name, func(t *testing.T) {
			b := newBare(t, engine)
			for i, src := range c.Cells {
				got, err := b.run(t, src)
				if wrong := compare(c.Wants(engine, i), got, err); (wrong != nil) != (cases.Wrong(engine, c.Name, i) != "") {
					t.Errorf("cell %d:\n%s\n%v; known to be wrong: %q", i, src, wrong, cases.Wrong(engine, c.Name, i))
				}
			}
		})
	}
}

func compare(want, got string, err error) error {
	if text, ok := strings.CutPrefix(want, "ERR:"); ok {
		if err == nil {
			return fmt.Errorf("no error, want %q", text)
		}
		if !strings.Contains(err.Error(), text) {
			return fmt.Errorf("error %q, want %q", err.Error(), text)
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("error %w, want %q", err, want)
	}
	if want != "" && got != want {
		return fmt.Errorf("got %q, want %q", got, want)
	}
	return nil
}
