package value

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/big"
	"reflect"
	"strings"
	"testing"
	"time"
)

func view1(t *testing.T, ptr any) string {
	t.Helper()
	return viewOf(t, mustEncode(t, root("v", ptr))[0].Data, ViewLimits{})
}

func viewOf(t *testing.T, data []byte, lim ViewLimits) string {
	t.Helper()
	j, err := JSON(data, 0, lim)
	if err != nil {
		t.Fatal(err)
	}
	if !json.Valid(j) {
		t.Fatalf("not JSON: %s", j)
	}
	return string(j)
}

func ptrTo(v any) any {
	p := reflect.New(reflect.TypeOf(v))
	p.Elem().Set(reflect.ValueOf(v))
	return p.Interface()
}

func TestJSON(t *testing.T) {
	shared := &point{X: 1, y: -2, note: "n"}
	loop := &node{Val: 1}
	loop.Left = loop
	loop.Kids = []*node{loop, {Val: 2}}
	backing := []int{1, 2, 3, 4}
	for _, c := range []struct {
		v    any
		want string
		typ  string
	}{
		{20, `20`, "int"}, {"x", `"x"`, "string"}, {[]int{1, 2}, `[1,2]`, "[]int"}, {true, `true`, "bool"},
		{map[string]int{"b": 1, "a": 2, "long": 3}, `{"a":2,"b":1,"long":3}`, "map[string]int"},
		{map[int]bool{10: true, 9: false, -1: true}, `{"-1":true,"9":false,"10":true}`, "map[int]bool"},
		{map[point]int{{X: 1}: 5}, `[[{"X":1,"y":0,"note":""},5]]`, "map[main.point]int"},
		{[]byte("hi"), `"aGk="`, "[]uint8"}, {[]int(nil), `null`, "[]int"}, {[]int{}, `[]`, "[]int"},
		{[]float64{math.NaN(), math.Inf(1), math.Inf(-1), 1, 0.5}, `["NaN","+Inf","-Inf",1,0.5]`, "[]float64"},
		{complex(1, -2), `"(1-2i)"`, "complex128"}, {[]*point{shared, shared, nil}, `[{"X":1,"y":-2,"note":"n"},{"$ref":"$[0]"},null]`, "[]*main.point"},
		{loop, `{"Val":1,"Left":{"$ref":"$"},"Right":null,"Kids":[{"$ref":"$"},{"Val":2,"Left":null,"Right":null,"Kids":null,"Index":null,"Any":null,"Err":null,"F":null}],"Index":null,"Any":null,"Err":null,"F":null}`, "*main.node"},
		{[][]int{backing[1:3], backing, backing[1:3]}, `[[2,3],[1,2,3,4],{"$ref":"$[0]"}]`, "[][]int"},
		{[]any{1, "s", nil, time.Second, map[string]any{"k": []string{"v"}}}, `[1,"s",null,1000000000,{"k":["v"]}]`, "[]any"},
		{time.Unix(1, 5).UTC(), `"1970-01-01T00:00:01.000000005Z"`, "time.Time"}, {big.NewInt(123), `123`, "*big.Int"},
		{[]error{io.EOF, errors.New("x"), fmt.Errorf("w: %w", io.EOF)}, `["EOF","x","w: EOF"]`, "[]error"}, {ident(3), `3`, "main.ident"},
		{struct{ p *int }{&backing[2]}, `{"p":3}`, "struct{p *int}"}, {"\xff", `"` + "\\ufffd" + `"`, "string"},
		{[2]uint8{1, 2}, `"AQI="`, "[2]uint8"}, {[]struct{}{{}, {}}, `[{},{}]`, "[]struct{}"},
	} {
		if got := view1(t, ptrTo(c.v)); got != c.want {
			t.Errorf("%T: got %s, want %s", c.v, got, c.want)
		}
		data := mustEncode(t, root("v", ptrTo(c.v)))[0].Data
		if typ, err := TypeString(data, 0); err != nil || typ != c.typ {
			t.Errorf("%T: type %q, %v, want %q", c.v, typ, err, c.typ)
		}
	}
}

func TestJSONOfSharedVariables(t *testing.T) {
	x := 5
	px := &x
	data := mustEncode(t, root("a", &px), root("b", &x))[0].Data
	for i, want := range []string{"5", "5"} {
		if j, err := JSON(data, i, ViewLimits{}); err != nil || string(j) != want {
			t.Errorf("root %d: %s, %v", i, j, err)
		}
	}
	if _, err := JSON(data, 2, ViewLimits{}); err == nil {
		t.Error("there is no root 2")
	}
}

func TestJSONLimits(t *testing.T) {
	var deep any = "end"
	for range 40 {
		deep = []any{deep}
	}
	huge := make([]int, 100000)
	m := map[string]int{}
	for i := range 10000 {
		m[fmt.Sprint(i)] = i
	}
	keys := map[point]int{}
	for i := range 10000 {
		keys[point{X: i}] = i
	}
	for _, v := range []any{deep, huge, strings.Repeat("é", 100000), make([]byte, 100000), m, keys, []string{strings.Repeat("a", 90000), "b"}, [][]int{huge, huge}} {
		data := mustEncode(t, root("v", ptrTo(v)))[0].Data
		for _, lim := range []ViewLimits{{}, {MaxBytes: 100}, {MaxDepth: 3, MaxBytes: 1000}} {
			got := viewOf(t, data, lim)
			if !strings.Contains(got, `$truncated":true`) {
				t.Errorf("%T: no mark of truncation in %.80s", v, got)
			}
			if max := 2*lim.withDefaults().MaxBytes + 1000; len(got) > max {
				t.Errorf("%T: %d bytes for a limit of %d", v, len(got), lim.MaxBytes)
			}
		}
	}
}

type tagged struct {
	Name  string `json:"name"`
	Count int    `json:"n,omitempty"`
	Sub   *tagged
	at    time.Time
}

func TestFromJSON(t *testing.T) {
	for _, c := range []struct {
		sample any
		json   string
		want   any // nil: refused
	}{
		{0, `20`, 20}, {0, `1e3`, 1000}, {0, `2.5`, nil}, {0, `"x"`, nil}, {0, `null`, nil}, {0, `99999999999999999999`, nil}, {0, `1 2`, nil}, {0, `1e1000000000`, nil},
		{int8(0), `-128`, int8(-128)}, {int8(0), `128`, nil}, {uint8(0), `-1`, nil}, {uint64(0), `18446744073709551615`, uint64(math.MaxUint64)},
		{int64(0), `9007199254740993`, int64(9007199254740993)}, {1.5, `1`, 1.0}, {1.5, `"+Inf"`, math.Inf(1)}, {1.5, `1e999`, nil}, {float32(0), `0.1`, float32(0.1)},
		{"", `"x"`, "x"}, {true, `false`, false}, {[]int{9}, `[1,2]`, []int{1, 2}}, {[]int{9}, `[]`, []int{}}, {[]int{9}, `null`, []int(nil)},
		{[]int{}, `[1,"x"]`, nil}, {[]byte{}, `"aGk="`, []byte("hi")}, {[]byte{}, `[1,2]`, []byte{1, 2}}, {[]byte{}, `"?"`, nil},
		{[2]int{}, `[1,2]`, [2]int{1, 2}}, {[2]int{}, `[1]`, nil}, {map[string]int{}, `{"b":1,"a":2,"ccc":3}`, map[string]int{"b": 1, "a": 2, "ccc": 3}},
		{map[int]string{}, `{"1":"a","-2":"b"}`, map[int]string{1: "a", -2: "b"}}, {map[string]int{}, `{"a":1,"a":2}`, nil},
		{map[point]int{}, `[[{"X":1},2]]`, map[point]int{{X: 1}: 2}}, {point{}, `{"X":1,"note":"n"}`, point{X: 1, note: "n"}}, {point{}, `{"Z":1}`, nil},
		{&point{}, `{"X":1}`, &point{X: 1}}, {(*point)(nil), `null`, (*point)(nil)}, {complex(0, 0), `"(1-2i)"`, complex(1, -2)},
		{tagged{}, `{"name":"x","n":3,"Sub":{"Name":"y"},"at":"2024-01-02T03:04:05.000000006Z"}`,
			tagged{"x", 3, &tagged{Name: "y"}, time.Date(2024, 1, 2, 3, 4, 5, 6, time.UTC)}},
		{tagged{}, `{"name":"x","Name":"y"}`, nil},
		{[]any{}, `[1,2.5,"s",null,true,{"a":[1,2]},[],{}]`, []any{1, 2.5, "s", nil, true, map[string]any{"a": []int{1, 2}}, []any{}, map[string]any{}}},
		{map[string]any{"k": 1}, `{"z":{"y":{"x":1}},"a":[[1],[2]]}`, map[string]any{"z": map[string]any{"y": map[string]int{"x": 1}}, "a": []any{[]int{1}, []int{2}}}},
		{big.NewInt(1), `123456789012345678901234567890`, bigInt("123456789012345678901234567890")}, {(func())(nil), `null`, (func())(nil)},
		{(func())(nil), `1`, nil}, {[]error{}, `["x"]`, nil}, {time.Second, `5`, 5 * time.Nanosecond}, {[][]point{}, `[[{"X":1},{}],null]`, [][]point{{{X: 1}, {}}, nil}},
	} {
		sample := mustEncode(t, root("v", ptrTo(c.sample)))[0].Data
		data, err := FromJSON(sample, 0, []byte(c.json))
		live := reflect.New(reflect.TypeOf(c.sample)).Elem()
		liveErr := DecodeJSON(static.of(live.Type()), live, []byte(c.json))
		if c.want == nil {
			var je *JSONError
			if !errors.As(err, &je) || !errors.As(liveErr, &je) || !live.IsZero() {
				t.Errorf("%s for a %T: got %v and %v, want a JSONError", c.json, c.sample, err, liveErr)
			}
			continue
		}
		if err != nil || liveErr != nil {
			t.Errorf("%s for a %T: %v, %v", c.json, c.sample, err, liveErr)
			continue
		}
		if !reflect.DeepEqual(live.Interface(), c.want) {
			t.Errorf("%s for a %T: live %#v", c.json, c.sample, live.Interface())
		}
		roots := []Root{{Name: "v", Type: static.of(live.Type()), Value: live}}
		got := restore(t, []Unit{{Names: []string{"v"}, Data: data}}, roots) // FromJSON writes what Encode would
		if !reflect.DeepEqual(got[0].Value.Interface(), c.want) {
			t.Errorf("%s for a %T: got %#v", c.json, c.sample, got[0].Value.Interface())
		}
	}
}

func bigInt(s string) *big.Int {
	n, _ := new(big.Int).SetString(s, 10)
	return n
}

func TestInferJSON(t *testing.T) {
	for _, c := range []struct {
		json string
		typ  string
		want any
	}{
		{`20`, "int", 20}, {`-1`, "int", -1}, {`2.5`, "float64", 2.5}, {`1e2`, "float64", 100.0}, {`"x"`, "string", "x"}, {`true`, "bool", true},
		{`[1,2]`, "[]int", []int{1, 2}}, {`[1.5,2]`, "[]float64", []float64{1.5, 2}}, {`["a"]`, "[]string", []string{"a"}}, {`[true]`, "[]bool", []bool{true}},
		{`[]`, "[]any", []any{}}, {`[1,"a"]`, "[]any", []any{1, "a"}}, {`[1,null]`, "[]any", []any{1, nil}}, {`[0.5,9007199254740993]`, "[]any", []any{0.5, 9007199254740993}},
		{`{"a":1}`, "map[string]int", map[string]int{"a": 1}}, {`{"a":"x"}`, "map[string]string", map[string]string{"a": "x"}},
		{`{"a":1.5}`, "map[string]float64", map[string]float64{"a": 1.5}}, {`{"a":true}`, "map[string]bool", map[string]bool{"a": true}},
		{`{}`, "map[string]any", map[string]any{}}, {`{"a":[1],"b":{}}`, "map[string]any", map[string]any{"a": []int{1}, "b": map[string]any{}}},
		{`null`, "", nil}, {`99999999999999999999`, "", nil}, {`[99999999999999999999]`, "", nil}, {`{"a":`, "", nil}, {``, "", nil}, {`1 1`, "", nil},
		{strings.Repeat("[", 10000), "", nil},
	} {
		data, typ, err := InferJSON([]byte(c.json))
		if c.want == nil {
			var je *JSONError
			if !errors.As(err, &je) {
				t.Errorf("%s: got %v, want a JSONError", c.json, err)
			}
			continue
		}
		if err != nil || typ != c.typ {
			t.Errorf("%s: type %q, %v", c.json, typ, err)
			continue
		}
		live := reflect.New(reflect.TypeOf(c.want)).Elem()
		roots := []Root{{Name: "v", Type: static.of(live.Type()), Value: live}}
		if got := restore(t, []Unit{{Names: []string{"v"}, Data: data}}, roots)[0].Value.Interface(); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: got %#v", c.json, got)
		}
		if ts, err := TypeString(data, 0); err != nil || ts != typ {
			t.Errorf("%s: TypeString %q, %v", c.json, ts, err)
		}
	}
}

func TestFromGo(t *testing.T) {
	for _, c := range []struct {
		v    any
		want string
	}{
		{nil, "null"}, {5, "5"}, {point{1, 2, "n"}, `{"X":1,"y":2,"note":"n"}`}, {any(&point{X: 1}), `{"X":1,"y":0,"note":""}`},
		{[]any{point{X: 2}, map[string]*point{"k": nil}}, `[{"X":2,"y":0,"note":""},{"k":null}]`}, {time.Unix(0, 0).UTC(), `"1970-01-01T00:00:00Z"`},
	} {
		data, err := FromGo(c.v)
		if err != nil {
			t.Errorf("%T: %v", c.v, err)
			continue
		}
		if got := viewOf(t, data, ViewLimits{}); got != c.want {
			t.Errorf("%T: got %s, want %s", c.v, got, c.want)
		}
	}
	_, err := FromGo(map[string]any{"f": func() {}})
	unserializable(t, err)
}
